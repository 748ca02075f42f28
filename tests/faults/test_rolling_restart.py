"""Three gateways behind HAProxy that are restarted one after the other, again and again."""

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.faults.support.cluster import Cluster, cluster, eventually
from tests.faults.support.oracle import judge
from tests.faults.support.publishers import Retry, publishing, several
from tests.faults.support.records import Journal, Outcome
from tests.faults.support.results import is_full, record
from tests.faults.support.subscribers import audience, crowd
from tests.faults.support.timing import interruption_seconds
from tests.faults.support.watching import Watch
from tests.support.balancer import Balancer

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

LISTENERS = 150
PER_SECOND = 200
CHANNELS = [f"room-{n}" for n in range(10)]
# The balancer looks twice a second, and believes what it sees twice.
SETTINGS: dict[str, Any] = {
    "drain_pause_seconds": 1.5,
    "drain_seconds": 2,
    "shutdown_seconds": 3,
}
ENDED_SECONDS_MAX = 1.5 + 2 + 3 + 2
SEEN_SECONDS = 1.5


async def restart(gateways: Cluster, index: int) -> float:
    """As a careful operator does it; return how long the end took."""
    gateway = gateways.gateways[index]
    told_at = gateways.signal(index, signal.SIGTERM)
    await eventually(lambda: not gateway.is_running(), "it has ended", 30)
    ended_seconds = time.monotonic() - told_at
    assert gateway.terminate() == 0, gateway.log
    await gateways.restart(index)
    await asyncio.sleep(SEEN_SECONDS)
    return ended_seconds


async def test_rolling_restarts_under_load_cost_nobody_a_message(directory: Path) -> None:
    """F22"""
    journal = Journal()
    rounds = 3 if is_full() else 1
    async with cluster(directory, **SETTINGS) as gateways:
        balancer = Balancer(directory, gateways.gateways)
        try:
            await asyncio.to_thread(balancer.start)
            listeners = crowd(LISTENERS, CHANNELS, [balancer.port])
            publishers = several(
                4, CHANNELS, [balancer.port], journal,
                per_second=PER_SECOND, retry=Retry.UNTIL_STORED,
            )  # fmt: skip
            async with audience(journal, *listeners) as everybody:
                with Watch(gateways.gateways) as watch:
                    async with publishing(*publishers):
                        await asyncio.sleep(2)
                        began = time.monotonic()
                        ended = [
                            await restart(gateways, index)
                            for _ in range(rounds)
                            for index in range(3)
                        ]
                        await asyncio.sleep(2)
                    await everybody.until_caught_up()
        finally:
            await asyncio.to_thread(balancer.terminate)
        verdict = judge(journal)
    verdict.require_clean()
    assert verdict.announced == 0
    assert max(ended) < ENDED_SECONDS_MAX
    closed = [visit for one in listeners for visit in one.log.visits if not visit.is_open]
    assert len(closed) >= rounds * LISTENERS
    assert {visit.code for visit in closed} == {1012}
    assert not any("Traceback" in gateway.log for gateway in gateways.gateways)
    repeated = [a.why for a in journal.attempts if a.outcome is not Outcome.OK]
    silence = interruption_seconds(journal, began)
    assert silence < 8
    record(
        "F22",
        f"rolling restart of 3 gateways behind HAProxy, {rounds} rounds, {LISTENERS} listeners, "
        f"{PER_SECOND} messages/s",
        verdict.figures(),
        moved=len(closed),
        publishes_repeated=len(repeated),
        slowest_end_seconds=round(max(ended), 2),
        longest_silence_seconds=round(silence, 2),
        lag_p99_ms=round(watch.lag_p99_seconds() * 1000),
    )
