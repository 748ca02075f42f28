"""A Redis that is there and does not answer: frozen, or behind a network that drops everything."""

import asyncio
import time
from pathlib import Path

import pytest

from tests.faults.support.cluster import Cluster, cluster
from tests.faults.support.oracle import judge
from tests.faults.support.publishers import Retry, publishing, several
from tests.faults.support.records import Journal, Outcome
from tests.faults.support.results import record, seconds
from tests.faults.support.subscribers import Listener, audience, crowd
from tests.faults.support.timing import notice_seconds, recovery_seconds
from tests.faults.support.watching import Watch, untruthful

LISTENERS = 60
PER_SECOND = 100
CHANNELS = ["room-0", "room-1", "room-2"]
MB = 1_000_000

now = time.monotonic


def assert_truthful(
    watch: Watch, broken_at: float, healed_at: float, detect_seconds: float
) -> float:
    """Return when the last gateway said that it is not ready."""
    detected = 0.0
    for index in range(3):
        assert not untruthful(
            watch.of(index),
            broken_at=broken_at,
            healed_at=healed_at,
            detect_seconds=detect_seconds,
            recover_seconds=5,
        )
        first = watch.first(index, broken_at, ready=False)
        assert first is not None
        detected = max(detected, first)
    return detected


def assert_nobody_left(listeners: list[Listener]) -> None:
    assert {len(listener.log.visits) for listener in listeners} == {1}


def growth_mb(before: dict[int, tuple[int, int]], gateways: Cluster) -> float:
    after = gateways.footprint()
    return max((after[index][0] - before[index][0]) / MB for index in before)


@pytest.mark.timeout(120)
async def test_what_is_repeated_with_its_key_is_there_once_when_redis_thaws(
    directory: Path,
) -> None:
    """F07"""
    journal = Journal()
    async with cluster(directory) as gateways:
        listeners = crowd(LISTENERS, CHANNELS, gateways.ports)
        publishers = several(
            6, CHANNELS, gateways.ports, journal, per_second=PER_SECOND, retry=Retry.UNTIL_STORED
        )
        async with audience(journal, *listeners) as everybody:
            with Watch(gateways.gateways) as watch:
                async with publishing(*publishers):
                    await asyncio.sleep(seconds(1.5, 5))
                    broken_at = now()
                    gateways.redis.freeze()
                    await asyncio.sleep(seconds(8, 20))
                    healed_at = now()
                    gateways.redis.thaw()
                    await asyncio.sleep(seconds(4, 10))
                await everybody.until_caught_up()
        verdict = judge(journal)
    verdict.require_clean()
    assert (verdict.sent_fail, verdict.sent_unknown) == (0, 0)
    assert verdict.announced == 0
    assert_nobody_left(listeners)

    # The outcome of what was on its way is unknown, and nobody waits long to be told so.
    cut = [a for a in journal.attempts if a.began < broken_at + 0.5 and a.ended > broken_at]
    assert {a.outcome for a in cut} >= {Outcome.UNKNOWN}
    slowest = max(a.ended - a.began for a in journal.attempts)
    assert slowest < 3
    detected = assert_truthful(watch, broken_at, healed_at, detect_seconds=4)
    recovered = recovery_seconds(journal, healed_at)
    assert recovered < 5
    record(
        "F07",
        f"Redis frozen for {seconds(8, 20)} s; each request repeated with its key",
        verdict.figures(),
        detected_seconds=round(detected, 2),
        slowest_publish_seconds=round(slowest, 2),
        recovered_seconds=round(recovered, 2),
        lag_p99_ms=round(watch.lag_p99_seconds() * 1000),
    )


@pytest.mark.timeout(240)
async def test_a_silent_partition_is_found_told_and_healed(directory: Path) -> None:
    """F11"""
    journal = Journal()
    async with cluster(directory, is_proxied=True) as gateways:
        listeners = crowd(LISTENERS, CHANNELS, gateways.ports)
        publishers = several(4, CHANNELS, gateways.ports, journal, per_second=PER_SECOND)
        async with audience(journal, *listeners) as everybody:
            with Watch(gateways.gateways) as watch:
                async with publishing(*publishers):
                    await asyncio.sleep(seconds(1.5, 10))
                    before = gateways.footprint()
                    broken_at = now()
                    for proxy in gateways.proxies:
                        proxy.black_hole()
                    await asyncio.sleep(seconds(15, 90))
                    grown = growth_mb(before, gateways)
                    healed_at = now()
                    for proxy in gateways.proxies:
                        proxy.heal()
                    await asyncio.sleep(seconds(5, 10))
                await everybody.until_caught_up()
        verdict = judge(journal)
    verdict.require_clean()
    assert verdict.announced == 0  # Redis lost nothing, and its history is long enough
    assert_nobody_left(listeners)
    meanwhile = [a for a in journal.attempts if broken_at < a.began and a.ended < healed_at]
    assert meanwhile
    assert Outcome.OK not in {attempt.outcome for attempt in meanwhile}
    degraded = notice_seconds(journal, "degraded", broken_at)
    restored = notice_seconds(journal, "restored", healed_at)
    assert (len(degraded), len(restored)) == (LISTENERS, LISTENERS)
    detected = assert_truthful(watch, broken_at, healed_at, detect_seconds=10)
    recovered = recovery_seconds(journal, healed_at)
    assert recovered < 5
    assert watch.lag_p99_seconds() < 0.2
    assert grown < 30
    record(
        "F11",
        f"silent partition between the gateways and Redis for {seconds(15, 90)} s",
        verdict.figures(),
        detected_seconds=round(detected, 2),
        told_seconds=round(max(degraded), 2),
        recovered_seconds=round(recovered, 2),
        lag_p99_ms=round(watch.lag_p99_seconds() * 1000),
        grown_mb=round(grown, 1),
    )
