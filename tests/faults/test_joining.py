"""Joining while messages are published: between what is read and what comes live is no seam."""

import asyncio
import random
import time
from pathlib import Path

import pytest

from tests.faults.support.cluster import cluster
from tests.faults.support.oracle import judge
from tests.faults.support.publishers import publishing, several
from tests.faults.support.records import Journal
from tests.faults.support.results import record, seconds
from tests.faults.support.subscribers import Listener, audience, crowd
from tests.faults.support.watching import Watch

pytestmark = [pytest.mark.faults, pytest.mark.busy, pytest.mark.timeout(120)]

CHANNELS = ["room-0", "room-1", "room-2"]
LISTENERS = 45
PER_SECOND = 300
STAY_SECONDS_MAX = 0.5


async def come_and_go(listener: Listener, until: float) -> None:
    """Drop the connection again and again; the listener comes back by itself."""
    while time.monotonic() < until:
        await asyncio.sleep(random.uniform(0, STAY_SECONDS_MAX))
        if listener.is_open and listener.socket is not None:
            listener.socket.abort()


@pytest.mark.parametrize("release_delay_seconds", [0.0, 0.5])
async def test_between_history_and_live_nothing_is_missing_and_nothing_comes_twice(
    directory: Path, release_delay_seconds: float
) -> None:
    """F32: with no delay, the gateways leave and join the channels at Redis all the time, too."""
    journal = Journal()
    async with cluster(directory, release_delay_seconds=release_delay_seconds) as gateways:
        listeners = crowd(LISTENERS, CHANNELS, gateways.ports)
        publishers = several(6, CHANNELS, gateways.ports, journal, per_second=PER_SECOND)
        async with audience(journal, *listeners) as everybody:
            with Watch(gateways.gateways) as watch:
                async with publishing(*publishers):
                    until = time.monotonic() + seconds(8, 20)
                    async with asyncio.TaskGroup() as group:
                        for listener in listeners:
                            group.create_task(come_and_go(listener, until))
                await everybody.until_caught_up()
        verdict = judge(journal)
    verdict.require_clean()
    assert (verdict.sent_fail, verdict.sent_unknown, verdict.announced) == (0, 0, 0)
    # Everybody has heard everything, once, over all of its visits.
    assert verdict.delivered == verdict.sent_ok * LISTENERS // len(CHANNELS)
    joins = sum(len(listener.log.visits) for listener in listeners)
    assert joins > LISTENERS * 10
    assert watch.lag_p99_seconds() < 0.2
    record(
        "F32" if release_delay_seconds else "F32b",
        f"{LISTENERS} listeners that come and go while {PER_SECOND} messages/s are published"
        + ("" if release_delay_seconds else "; channels released at once"),
        verdict.figures(),
        joins=joins,
        lag_p99_ms=round(watch.lag_p99_seconds() * 1000),
    )
