"""A master that Sentinel watches dies, or stands still, while many publish and listen."""

import asyncio
import contextlib
import time
from pathlib import Path

import pytest

from tests.faults.support.cluster import eventually
from tests.faults.support.oracle import judge
from tests.faults.support.publishers import Retry, publishing, several
from tests.faults.support.records import Journal
from tests.faults.support.results import record, seconds
from tests.faults.support.subscribers import audience, crowd
from tests.faults.support.timing import publishing_recovery_seconds, recovery_seconds
from tests.faults.support.watching import Watch
from tests.support.redis_sets import DOWN_AFTER_SECONDS, SentinelSet, sentinel_set
from tests.support.servers import GatewayProcess, replicas

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

LISTENERS = 90
PER_SECOND = 200
CHANNELS = [f"room-{n}" for n in range(6)]
DEAF_SECONDS_MAX = DOWN_AFTER_SECONDS + 5


def started(
    stack: contextlib.ExitStack, directory: Path
) -> tuple[SentinelSet, list[GatewayProcess]]:
    redis = stack.enter_context(sentinel_set(directory))
    gateways = replicas(
        directory,
        3,
        redis_url=redis.url,
        database_url=f"sqlite:///{directory / 'accounts.db'}",
        history_messages=10_000,
        drain_seconds=0,
    )
    return redis, stack.enter_context(gateways)


@pytest.mark.parametrize("is_frozen", [False, True], ids=["killed", "frozen"])
async def test_a_failover_costs_seconds_and_nothing_in_silence(
    directory: Path, is_frozen: bool
) -> None:
    """F08, F09: one that is frozen keeps its connections, and comes back as the master it was."""
    journal = Journal()
    with contextlib.ExitStack() as stack:
        redis, gateways = await asyncio.to_thread(started, stack, directory)
        ports = [gateway.port for gateway in gateways]
        listeners = crowd(LISTENERS, CHANNELS, ports)
        publishers = several(
            5, CHANNELS, ports, journal, per_second=PER_SECOND, retry=Retry.UNTIL_STORED
        )
        async with audience(journal, *listeners) as everybody:
            with Watch(gateways) as watch:
                async with publishing(*publishers):
                    await asyncio.sleep(seconds(2, 5))
                    broken_at = time.monotonic()
                    if is_frozen:
                        redis.master.freeze()
                    else:
                        redis.master.kill()
                    await asyncio.sleep(seconds(10, 20))
                    assert redis.role(redis.replica) == "master"
                    if is_frozen:
                        redis.master.thaw()
                        await eventually(
                            lambda: redis.role(redis.master) == "slave",
                            "the old master learns that it is none",
                            20,
                        )
                    await asyncio.sleep(seconds(3, 10))
                await everybody.until_caught_up()
        verdict = judge(journal)
    verdict.require_clean()
    assert {len(listener.log.visits) for listener in listeners} == {1}  # sockets stay open
    deaf_seconds = recovery_seconds(journal, broken_at)
    refusing_seconds = publishing_recovery_seconds(journal, broken_at)
    assert deaf_seconds < DEAF_SECONDS_MAX
    red = [watch.first(index, broken_at, ready=False) for index in range(len(gateways))]
    detected = [moment for moment in red if moment is not None]
    assert len(detected) == len(gateways)
    assert watch.lag_p99_seconds() < 0.2
    record(
        "F09" if is_frozen else "F08",
        f"{'SIGSTOP' if is_frozen else 'kill -9'} of the master that Sentinel watches, "
        f"down-after {DOWN_AFTER_SECONDS} s",
        verdict.figures(),
        detected_seconds=round(max(detected), 2),
        refusing_seconds=round(refusing_seconds, 2),
        deaf_seconds=round(deaf_seconds, 2),
        lag_p99_ms=round(watch.lag_p99_seconds() * 1000),
    )
