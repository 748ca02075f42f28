"""A Redis that ends from one moment to the next, and comes back with nothing, or with most."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from tests.faults.support.cluster import cluster
from tests.faults.support.oracle import judge
from tests.faults.support.publishers import Retry, publishing, several
from tests.faults.support.records import Journal, Outcome
from tests.faults.support.results import record, seconds
from tests.faults.support.subscribers import audience, crowd
from tests.faults.support.timing import (
    notice_seconds,
    publishing_recovery_seconds,
    recovery_seconds,
)
from tests.faults.support.watching import Watch, untruthful

LISTENERS = 60
PER_SECOND = 100
CHANNELS = ["room-0", "room-1", "room-2"]
APPEND_ONLY = ("--save", "", "--appendonly", "yes", "--appendfsync", "everysec")


@pytest.mark.timeout(120)
async def test_a_redis_that_comes_back_empty_is_a_new_epoch_for_everybody(directory: Path) -> None:
    """F05"""
    journal = Journal()
    async with cluster(directory) as gateways:
        listeners = crowd(LISTENERS, CHANNELS, gateways.ports)
        publishers = several(4, CHANNELS, gateways.ports, journal, per_second=PER_SECOND)
        publishers += several(
            2, CHANNELS, gateways.ports, journal, per_second=20, retry=Retry.UNTIL_STORED
        )
        async with audience(journal, *listeners) as everybody:
            with Watch(gateways.gateways) as watch:
                async with publishing(*publishers):
                    await asyncio.sleep(seconds(1.5, 10))
                    broken_at = time.monotonic()
                    gateways.redis.kill()
                    await asyncio.sleep(5)
                    healed_at = time.monotonic()
                    await asyncio.to_thread(gateways.redis.start)
                    await asyncio.sleep(seconds(4, 10))
                await everybody.until_caught_up()
        verdict = judge(journal)
    verdict.require_clean()
    assert {len(listener.log.visits) for listener in listeners} == {1}

    meanwhile = [a for a in journal.attempts if broken_at + 0.1 < a.began and a.ended < healed_at]
    assert meanwhile
    assert Outcome.OK not in {attempt.outcome for attempt in meanwhile}
    for listener in listeners:
        (visit,) = listener.log.visits
        epochs = {heard.place.epoch for heard in visit.heard()}
        assert len(epochs) == 2
        (gap,) = visit.told("gap")
        assert gap.fields["reason"] == "epoch_changed"
    degraded = notice_seconds(journal, "degraded", broken_at)
    restored = notice_seconds(journal, "restored", healed_at)
    assert (len(degraded), len(restored)) == (LISTENERS, LISTENERS)

    published, heard = (
        publishing_recovery_seconds(journal, healed_at),
        recovery_seconds(journal, healed_at),
    )
    assert published < 4
    assert heard < 4
    detected = []
    for index in range(3):
        assert not untruthful(
            watch.of(index),
            broken_at=broken_at,
            healed_at=healed_at,
            detect_seconds=3,
            recover_seconds=4,
        )
        detected.append(watch.first(index, broken_at, ready=False) or 0.0)
    record(
        "F05",
        "Redis killed without persistence, empty again after 5 s",
        verdict.figures(),
        detected_seconds=round(max(detected), 2),
        recovered_seconds=round(heard, 2),
    )


@pytest.mark.faults
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "lost_bytes",
    [0, 20_000],
)
async def test_a_redis_that_kept_its_log_goes_on_in_the_same_epoch(
    directory: Path, lost_bytes: int
) -> None:
    """F06: killed alone, it has everything; with its machine, it lacks the last moment."""
    journal = Journal()
    async with cluster(directory, redis_options=APPEND_ONLY) as gateways:
        listeners = crowd(LISTENERS, CHANNELS, gateways.ports)
        publishers = several(
            5, CHANNELS, gateways.ports, journal, per_second=PER_SECOND, retry=Retry.UNTIL_STORED
        )
        async with audience(journal, *listeners) as everybody:
            async with publishing(*publishers):
                await asyncio.sleep(seconds(4, 10))
                gateways.redis.kill()
                if lost_bytes:
                    forget_the_end(directory, lost_bytes)
                await asyncio.sleep(2)
                await asyncio.to_thread(gateways.redis.start)
                healed_at = time.monotonic()
                await asyncio.sleep(seconds(4, 10))
            await everybody.until_caught_up()
        verdict = judge(journal)
    if not lost_bytes:
        epochs = {(a.channel, a.place.epoch) for a in journal.attempts if a.place is not None}
        assert len(epochs) == len(CHANNELS)
    record(
        "F06" if not lost_bytes else "F06b",
        "Redis with an append-only file killed, back after 2 s"
        + (f" without the last {lost_bytes} bytes of it" if lost_bytes else ""),
        verdict.figures(),
        recovered_seconds=round(recovery_seconds(journal, healed_at), 2),
    )
    verdict.require_clean()
    # Nobody can tell whether something is missing, so everybody is told that something may be.
    assert all(listener.log.visits[-1].told("gap") for listener in listeners)
    assert lost_bytes or not verdict.announced


def forget_the_end(directory: Path, lost_bytes: int) -> None:
    """What a machine that lost its power had not written to its disk yet."""
    (log,) = directory.glob("appendonlydir/*.incr.aof")
    assert log.stat().st_size > 2 * lost_bytes
    os.truncate(log, log.stat().st_size - lost_bytes)
