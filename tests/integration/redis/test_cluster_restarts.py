"""A node of a Redis Cluster that comes back by itself, with less than it had."""

import asyncio
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.domain.history import HistoryQuery
from gateway.domain.messages import Position, Receipt
from tests.support.brokers import Replica, assemble, publication, running
from tests.support.redis_cluster import RedisCluster, redis_cluster
from tests.support.servers import wait_until

ROOM = "room"
LEAP = 1_000_000_000

pytestmark = pytest.mark.long


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RedisCluster]:
    with redis_cluster(tmp_path) as started:
        yield started


async def published(replica: Replica) -> Position:
    (outcome,) = await replica.broker.publish([publication(ROOM)])
    assert isinstance(outcome, Receipt), outcome
    return outcome.position


async def test_offsets_leap_when_a_node_comes_back_without_the_end(cluster: RedisCluster) -> None:
    """And not when the channel moves to another one afterwards."""
    made = assemble(cluster.url, f"gw:{secrets.token_hex(4)}")
    async with running(made.broker) as replica:
        await replica.broker.subscribe(ROOM)
        first = await published(replica)
        node = cluster.node_of(ROOM)
        node.ask("SAVE")
        lost = await published(replica)
        node.kill()
        await asyncio.to_thread(node.start)
        await asyncio.to_thread(wait_until, cluster.is_whole, "the cluster is up")
        deadline = time.monotonic() + 20
        while made.broker.troubles:
            assert time.monotonic() < deadline, made.broker.troubles
            await asyncio.sleep(0.02)

        leapt = await published(replica)
        assert leapt == first._replace(offset=first.offset + LEAP + 1)
        assert lost == first._replace(offset=first.offset + 1)
        history = await replica.broker.history(ROOM, HistoryQuery(None, 10))
        assert [message.position for message in history.messages] == [first, leapt]
        cluster.move(ROOM)
        assert await published(replica) == leapt._replace(offset=leapt.offset + 1)
