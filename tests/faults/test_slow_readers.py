"""Clients that stop reading, among others who do read."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from tests.faults.support.cluster import cluster, eventually
from tests.faults.support.oracle import judge
from tests.faults.support.publishers import Publisher, publishing, several
from tests.faults.support.records import Journal
from tests.faults.support.results import record, seconds
from tests.faults.support.subscribers import Listener, audience, crowd
from tests.faults.support.timing import latency_p99_seconds
from tests.faults.support.watching import Watch
from tests.support.clients import RawClient, make_token

LISTENERS = 100
PER_SECOND = 200
OUTBOX_BYTES = 300_000
PING_SECONDS = 6
CHANNELS = ["calm-0", "calm-1"]
MB = 1_000_000


@pytest.mark.busy
@pytest.mark.timeout(120)
async def test_who_never_reads_is_closed_and_nobody_else_notices(directory: Path) -> None:
    """F17: one on a loud channel, whose outbox fills, and one on a silent channel."""
    journal = Journal()
    settings: dict[str, Any] = {
        "outbox_bytes_max": OUTBOX_BYTES,
        "ping_interval_seconds": PING_SECONDS,
        "ping_timeout_seconds": PING_SECONDS,
    }
    async with cluster(directory, 1, **settings) as gateways:
        ports = gateways.ports
        listeners = [*crowd(LISTENERS, CHANNELS, ports), Listener("patient", "loud", ports)]
        publishers = several(2, CHANNELS, ports, journal, per_second=PER_SECOND, batch=5)
        # What the kernel takes for a deaf client, some three megabytes, is soon full.
        loud = Publisher(
            "loud", ["loud"], ports, journal, per_second=80, batch=10, data_bytes=20_000
        )
        async with audience(journal, *listeners) as everybody:
            with Watch(gateways.gateways) as watch:
                async with publishing(*publishers, loud):
                    await asyncio.sleep(seconds(2, 10))
                    alone_until = time.monotonic()
                    before = watch.of(0)[-1]
                    with (
                        RawClient(ports[0], receive_buffer=4096).listen("loud", make_token("deaf")),
                        RawClient(ports[0], receive_buffer=4096).listen("mute", make_token("mute")),
                    ):
                        began = time.monotonic()
                        await eventually(
                            lambda: gateways.health(0)["sockets_slow_closed"] == 1,
                            "the deaf one is closed",
                        )
                        slow_seconds = time.monotonic() - began
                        await eventually(
                            lambda: gateways.health(0)["sockets_dead_closed"] == 1,
                            "the mute one is closed",
                        )
                        dead_seconds = time.monotonic() - began
                        await eventually(
                            lambda: gateways.connected(0).keys().isdisjoint({"deaf", "mute"}),
                            "neither is among the connected users",
                        )
                        await eventually(
                            lambda: gateways.health(0)["sockets_open"] == len(listeners),
                            "neither has a socket any more",
                        )
                        await asyncio.sleep(seconds(0, 20))
                await everybody.until_caught_up()
        verdict = judge(journal)
    verdict.require_clean()
    assert {len(listener.log.visits) for listener in listeners} == {1}
    assert dead_seconds < 2 * PING_SECONDS + 3
    grown_mb = (max(s.rss_bytes for s in watch.of(0, alone_until)) - before.rss_bytes) / MB
    # The history of the loud channel is Redis'; what is kept here is bounded by the outbox.
    assert grown_mb < OUTBOX_BYTES / MB + 20
    assert watch.lag_p99_seconds() < 0.2
    before_them = latency_p99_seconds(journal, until=alone_until)
    with_them = latency_p99_seconds(journal, since=alone_until)
    assert with_them < max(3 * before_them, 0.3)
    record(
        "F17",
        f"one client that never reads, and one that never answers, among {LISTENERS}",
        verdict.figures(),
        closed_slow_seconds=round(slow_seconds, 2),
        closed_dead_seconds=round(dead_seconds, 2),
        latency_p99_before_ms=round(before_them * 1000),
        latency_p99_ms=round(with_them * 1000),
        grown_mb=round(grown_mb, 1),
    )
