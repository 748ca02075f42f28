"""A gateway that is told to stop while everybody is busy."""

import asyncio
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.faults.support.cluster import cluster, eventually
from tests.faults.support.oracle import judge
from tests.faults.support.publishers import Publisher, Retry, publishing, several
from tests.faults.support.records import Journal
from tests.faults.support.results import record, seconds
from tests.faults.support.subscribers import Listener, audience, crowd
from tests.faults.support.timing import interruption_seconds
from tests.faults.support.watching import Watch
from tests.support.clients import RawClient, make_token

LISTENERS = 300
PER_SECOND = 500
CHANNELS = [f"room-{n}" for n in range(10)]
PAUSE_SECONDS = 1.0
DRAIN_SECONDS = 2.0
GRACE_SECONDS = 3


@pytest.mark.busy
@pytest.mark.timeout(120)
async def test_a_drain_under_load_costs_nobody_a_message(directory: Path) -> None:
    """F02"""
    journal = Journal()
    settings: dict[str, Any] = {
        "drain_pause_seconds": PAUSE_SECONDS,
        "drain_seconds": seconds(DRAIN_SECONDS, 10),
        "shutdown_seconds": GRACE_SECONDS,
    }
    async with cluster(directory, **settings) as gateways:
        listeners = crowd(LISTENERS, CHANNELS, gateways.ports)
        publishers = several(
            5, CHANNELS, gateways.ports, journal,
            per_second=PER_SECOND, batch=5, retry=Retry.UNTIL_STORED,
        )  # fmt: skip
        async with audience(journal, *listeners) as everybody:
            with Watch(gateways.gateways) as watch:
                async with publishing(*publishers):
                    await asyncio.sleep(seconds(1.5, 10))
                    stopped_at = gateways.signal(0, signal.SIGTERM)
                    await eventually(
                        lambda: not gateways.gateways[0].is_running(), "it has ended", 30
                    )
                    ended_at = time.monotonic()
                    await asyncio.sleep(seconds(2, 10))
                await everybody.until_caught_up()
            code = gateways.gateways[0].terminate()
        verdict = judge(journal)
    verdict.require_clean()
    assert verdict.announced == 0
    assert code == 0, gateways.gateways[0].log
    grace = PAUSE_SECONDS + seconds(DRAIN_SECONDS, 10) + GRACE_SECONDS
    assert ended_at - stopped_at < grace + 2

    port = str(gateways.ports[0])
    closed = [
        visit
        for listener in listeners
        for visit in listener.log.visits
        if visit.replica == port and not visit.is_open
    ]
    assert len(closed) >= LISTENERS / 3
    assert {visit.code for visit in closed} == {1012}
    assert all(re.search(r"retry_ms=\d+", visit.reason) for visit in closed)
    first, last = min(v.closed for v in closed), max(v.closed for v in closed)
    red = watch.first(0, stopped_at, ready=False)
    assert red is not None
    assert stopped_at + red < first
    # Spread over the window, and not all of them in one moment of it.
    assert last - first > seconds(DRAIN_SECONDS, 10) / 2
    record(
        "F02",
        f"SIGTERM to one of 3 gateways, {LISTENERS} listeners, {PER_SECOND} messages/s",
        verdict.figures(),
        not_ready_seconds=round(red, 2),
        first_close_seconds=round(first - stopped_at, 2),
        last_close_seconds=round(last - stopped_at, 2),
        ended_seconds=round(ended_at - stopped_at, 2),
        longest_silence_seconds=round(interruption_seconds(journal, stopped_at), 2),
    )


@pytest.mark.faults
@pytest.mark.timeout(120)
async def test_a_client_that_never_reads_does_not_hold_up_the_end(directory: Path) -> None:
    """F03"""
    journal = Journal()
    settings: dict[str, Any] = {
        "drain_pause_seconds": 0,
        "drain_seconds": DRAIN_SECONDS,
        "shutdown_seconds": GRACE_SECONDS,
        "outbox_bytes_max": 50_000_000,  # so that it is not closed before for being slow
    }
    async with cluster(directory, 1, **settings) as gateways:
        port = gateways.ports[0]
        listener = Listener("patient", "loud", [port], reconnects=False)
        loud = Publisher("loud", ["loud"], [port], journal, per_second=50, data_bytes=50_000)
        async with audience(journal, listener):
            with RawClient(port, receive_buffer=4096).listen("loud", make_token("deaf")):
                async with publishing(loud):
                    await asyncio.sleep(4)
                # Ten megabytes wait for it, here and in the kernel.
                stopped_at = gateways.signal(0, signal.SIGTERM)
                # A second signal would end it at once.
                await eventually(lambda: not gateways.gateways[0].is_running(), "it has ended", 30)
                ended_seconds = time.monotonic() - stopped_at
                code = gateways.gateways[0].terminate()
        verdict = judge(journal)
    verdict.require_clean()
    assert code == 0, gateways.gateways[0].log
    assert ended_seconds < DRAIN_SECONDS + GRACE_SECONDS + 2
    record(
        "F03",
        "SIGTERM with a client that never reads and ten megabytes that wait for it",
        verdict.figures(),
        ended_seconds=round(ended_seconds, 2),
    )
