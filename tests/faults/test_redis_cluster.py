"""A Redis Cluster that loses a node, and one whose slots move, under load."""

import asyncio
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.faults.support.cluster import eventually
from tests.faults.support.oracle import judge
from tests.faults.support.records import Journal, Outcome
from tests.faults.support.results import record
from tests.faults.support.timing import interruption_seconds
from tests.faults.support.traffic import all_heard_since, delays, epochs_of, traffic
from tests.faults.support.watching import Watch
from tests.support.redis_cluster import NODE_TIMEOUT_MS, RedisCluster, RedisNode, redis_cluster
from tests.support.servers import GatewayProcess, replicas

pytestmark = [pytest.mark.faults, pytest.mark.timeout(200)]

CHANNELS = [f"room-{n}" for n in range(60)]
# It takes the time-out to suspect a node, some more to agree on it, and a second to elect.
FAILOVER_SECONDS_MAX = NODE_TIMEOUT_MS / 1000 * 2 + 5
LATE_SECONDS = 1.0
SLOTS = 2000


@pytest.fixture
def nodes(directory: Path) -> Iterator[RedisCluster]:
    with redis_cluster(directory / "redis", masters=3, replicas=1) as started:
        yield started


@pytest.fixture
def gateways(nodes: RedisCluster, directory: Path) -> Iterator[list[GatewayProcess]]:
    with replicas(directory, 3, redis_url=nodes.url, history_messages=10_000) as started:
        yield started


def kill(node: RedisNode) -> None:
    node.kill()


def freeze(node: RedisNode) -> None:
    node.freeze()


@pytest.mark.parametrize("fault", [kill, freeze])
async def test_a_master_that_is_gone_concerns_nobody_but_its_own_channels(
    nodes: RedisCluster, gateways: list[GatewayProcess], fault: Callable[[RedisNode], None]
) -> None:
    """F30"""
    journal = Journal()
    owners = dict(zip(CHANNELS, nodes.ports_of(CHANNELS), strict=True))
    victim = nodes.node_of(CHANNELS[0])
    lost = [channel for channel, port in owners.items() if port == victim.port]
    others = [channel for channel in CHANNELS if channel not in lost]
    with Watch(gateways) as watch:
        async with traffic(gateways, journal, lost, others):
            await asyncio.sleep(3)
            broken_at = time.monotonic()
            fault(victim)
            await eventually(
                lambda: all_heard_since(journal, broken_at), "everybody hears again", 25
            )
            back = time.monotonic() - broken_at
            await asyncio.sleep(5)
    if fault is freeze:
        victim.thaw()
    verdict = judge(journal)
    verdict.require_clean()
    assert back < FAILOVER_SECONDS_MAX
    assert [delay for delay in delays(journal, others) if delay > LATE_SECONDS] == []
    assert {a.channel for a in journal.attempts if a.outcome is not Outcome.OK} <= set(lost)
    # Whoever takes over may lack the end of it: a new epoch says so, and only where it is so.
    assert {len(epochs_of(journal, channel)) for channel in others} == {1}
    assert {len(epochs_of(journal, channel)) for channel in lost} == {2}
    told = {log.channel for log in journal.listeners if log.visits[-1].told("gap")}
    assert told == set(lost)
    assert {len(log.visits) for log in journal.listeners} == {1}
    assert watch.lag_p99_seconds() < 0.2
    record(
        "F30" if fault is kill else "F30b",
        f"one of 3 masters of a Redis Cluster {'killed' if fault is kill else 'frozen'}",
        verdict.figures(),
        back_seconds=round(back, 2),
        longest_silence_seconds=round(interruption_seconds(journal, broken_at), 2),
        slowest_of_the_others_seconds=round(max(delays(journal, others)), 2),
        lag_p99_ms=round(watch.lag_p99_seconds() * 1000),
    )


async def test_channels_that_move_take_everything_with_them(
    nodes: RedisCluster, gateways: list[GatewayProcess]
) -> None:
    """F30: there, and back again."""
    journal = Journal()
    moved = 0
    with Watch(gateways) as watch:
        async with traffic(gateways, journal, CHANNELS):
            began = time.monotonic()
            for source, target in ((0, 1), (1, 2), (2, 0)):
                before = nodes.ports_of(CHANNELS)
                await asyncio.to_thread(
                    nodes.reshard, nodes.nodes[source], nodes.nodes[target], SLOTS
                )
                after = nodes.ports_of(CHANNELS)
                moved += sum(a != b for a, b in zip(before, after, strict=True))
                moved_at = time.monotonic()
                await eventually(
                    partial(all_heard_since, journal, moved_at), "everybody hears again", 25
                )
            ended = time.monotonic()
    verdict = judge(journal)
    verdict.require_clean()
    assert moved > 10
    assert (verdict.announced, verdict.sent_unknown) == (0, 0)
    assert verdict.sent_fail <= verdict.sent_ok / 50
    assert {len(epochs_of(journal, channel)) for channel in CHANNELS} == {1}
    assert {len(log.visits) for log in journal.listeners} == {1}
    assert watch.lag_p99_seconds() < 0.2
    record(
        "F30c",
        f"3 times {SLOTS} slots of a Redis Cluster moved, in {round(ended - began)} s",
        verdict.figures(),
        channels_moved=moved,
        slowest_seconds=round(max(delays(journal, CHANNELS)), 2),
        longest_silence_seconds=round(interruption_seconds(journal, began), 2),
        lag_p99_ms=round(watch.lag_p99_seconds() * 1000),
    )
