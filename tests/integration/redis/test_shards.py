"""Several Redis with no link between them: one is lost, and the other's channels go on."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.adapters.redis.channels.shards import shard_of
from tests.faults.support.oracle import judge
from tests.faults.support.publishers import publishing, several
from tests.faults.support.records import Journal
from tests.faults.support.subscribers import audience, crowd
from tests.faults.support.timing import recovery_seconds
from tests.support.clients import call, closing_of, listen, make_token, publish, receive_json
from tests.support.servers import GatewayProcess, RedisServer, replicas, status_of, wait_until

CHANNELS = [f"room-{n}" for n in range(12)]
HERE = [name for name in CHANNELS if shard_of(name, 2) == 0]
THERE = [name for name in CHANNELS if shard_of(name, 2) == 1]
QUIET = next(name for n in range(100) if shard_of(name := f"quiet-{n}", 2) == 0)
LATE_SECONDS = 1.0


@pytest.fixture
def shards(directory: Path) -> Iterator[list[RedisServer]]:
    with RedisServer(directory) as first, RedisServer(directory) as second:
        yield [first, second]


@pytest.fixture
def gateways(shards: list[RedisServer], directory: Path) -> Iterator[list[GatewayProcess]]:
    url = " ".join(shard.url for shard in shards)
    with replicas(directory, 2, redis_url=url, redis_timeout_seconds=1) as started:
        yield started


def health(gateway: GatewayProcess) -> str:
    return str(call(gateway.http + "/health").json["redis"])


async def test_a_shard_that_is_lost_takes_only_its_own_channels_with_it(
    shards: list[RedisServer], gateways: list[GatewayProcess]
) -> None:
    journal = Journal()
    ports = [gateway.port for gateway in gateways]
    publishers = several(2, HERE, ports, journal, per_second=100)
    async with audience(journal, *crowd(24, CHANNELS, ports)) as everybody:
        async with publishing(*publishers):
            (others,) = several(1, THERE, ports, journal, per_second=50)
            others.name = "others"
            async with publishing(others):
                await asyncio.sleep(0.5)
                shards[1].kill()
                await asyncio.to_thread(
                    wait_until, lambda: {health(g) for g in gateways} == {"partly unreachable"}, ""
                )
                for gateway in gateways:
                    assert status_of(gateway.http + "/readyz") == 200
                    troubles = call(gateway.http + "/health").json["redis_troubles"]
                    assert [str(shards[1].port) in trouble for trouble in troubles] == [True]
                    await closed_and_refused(gateway)
                shards[1].start()
                back_at = time.monotonic()
                await asyncio.to_thread(
                    wait_until, lambda: {health(g) for g in gateways} == {"connected"}, ""
                )
                await asyncio.sleep(0.5)
        await everybody.until_caught_up()
    judge(journal).require_clean()
    assert recovery_seconds(journal, back_at) < 5
    began = {a.id: a.began for a in journal.attempts if a.channel in HERE}
    heard = [event for log in journal.listeners for visit in log.visits for event in visit.heard()]
    delays = [event.time - began[event.id] for event in heard if event.id in began]
    assert len(delays) > 100
    assert max(delays) < LATE_SECONDS
    for log in journal.listeners:
        lost_sight = [bool(visit.told("gap")) for visit in log.visits]
        assert lost_sight == [log.channel in THERE]


async def closed_and_refused(gateway: GatewayProcess) -> None:
    """A channel of the lost shard is refused; one of the other is served."""
    token = make_token("pat", "publisher")
    answer = await publish(gateway.http, THERE[0], 1, token)
    assert (answer.status, "retry-after" in {name.lower() for name in answer.headers}) == (
        503,
        True,
    )
    assert (await publish(gateway.http, QUIET, 1, token)).status == 200
    async with listen(gateway.ws, THERE[0], token) as socket:
        code, reason = await closing_of(socket)
        assert (code, bool(reason)) == (1013, True)
    async with listen(gateway.ws, QUIET, token) as socket:
        assert (await publish(gateway.http, QUIET, 2, token)).status == 200
        assert (await receive_json(socket))["data"] == 2


async def test_without_the_first_shard_a_replica_is_not_ready(
    shards: list[RedisServer], gateways: list[GatewayProcess]
) -> None:
    """It carries what replicas tell each other, revocations among it."""
    shards[0].kill()
    for gateway in gateways:
        await asyncio.to_thread(
            wait_until, lambda gateway=gateway: status_of(gateway.http + "/readyz") == 503, ""
        )
        answer = await publish(gateway.http, THERE[0], 1, make_token("pat", "publisher"))
        assert answer.status == 200  # who is connected already may go on
