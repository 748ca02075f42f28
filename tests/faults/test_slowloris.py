"""Hundreds of connections that never get to the end of what they ask."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.faults.support.cluster import cluster
from tests.faults.support.oracle import judge
from tests.faults.support.publishers import publishing, several
from tests.faults.support.records import Journal
from tests.faults.support.results import record
from tests.faults.support.subscribers import Listener, audience, crowd
from tests.faults.support.timing import latency_p99_seconds
from tests.faults.support.watching import Watch

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]

EACH = 125
REQUEST_SECONDS = 10.0  # what is shipped
SLACK_SECONDS = 2.0
LISTENERS = 60
CHANNELS = ["room-0", "room-1"]
START = b"GET /ws/room-0 HTTP/1.1\r\nHost: x\r\n"


class Kind(NamedTuple):
    first: bytes
    drop: bytes  # sent again and again, twice a second
    answer: int  # the status; 0: closed without one


KINDS = {
    "silent": Kind(b"", b"", 0),
    "half a head": Kind(START, b"", 408),
    "a byte at a time": Kind(START + b"X-Slow: ", b"x", 408),
    "a header too long": Kind(START + b"X-Long: " + b"x" * 9000 + b"\r\n\r\n", b"", 431),
}


class Ended(NamedTuple):
    kind: str
    status: int
    seconds: float


async def attack(port: int, name: str, ended: Callable[[Ended], None]) -> None:
    """One connection; the end that the gateway makes is what we wait for."""
    kind = KINDS[name]
    began = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        writer.write(kind.first)
        reading = asyncio.create_task(reader.read())
        while not reading.done():
            await asyncio.wait([reading], timeout=0.5)
            if kind.drop and not reading.done():
                writer.write(kind.drop)
        answer = reading.result()
    except ConnectionError:
        pass  # a reset is an end, too
    finally:
        writer.transport.abort()
    status = int(answer.split(b" ")[1]) if answer.startswith(b"HTTP/1.1 ") else 0
    ended(Ended(name, status, time.monotonic() - began))


async def test_who_never_finishes_a_request_keeps_nobody_waiting(directory: Path) -> None:
    """F20"""
    journal = Journal()
    ended: list[Ended] = []
    async with cluster(directory, 1, request_timeout_seconds=REQUEST_SECONDS) as gateways:
        ports = gateways.ports
        publishers = several(2, CHANNELS, ports, journal, per_second=100)
        settled = crowd(LISTENERS, CHANNELS, ports)
        async with audience(journal, *settled) as everybody:
            with Watch(gateways.gateways) as watch:
                async with publishing(*publishers):
                    await asyncio.sleep(2)
                    before = watch.of(0)[-1]
                    attacked_at = time.monotonic()
                    async with asyncio.timeout(3 * REQUEST_SECONDS), asyncio.TaskGroup() as group:
                        for name in [*KINDS] * EACH:
                            group.create_task(attack(ports[0], name, ended.append))
                        group.create_task(newcomers(everybody.add, ports))
                    over_at = time.monotonic()
                    await asyncio.sleep(2)
                await everybody.until_caught_up()
        verdict = judge(journal)
    verdict.require_clean()
    assert verdict.sent_fail == verdict.sent_unknown == 0
    slowest = {}
    for name, kind in KINDS.items():
        these = [one for one in ended if one.kind == name]
        assert len(these) == EACH
        assert {one.status for one in these} == {kind.answer}, name
        slowest[name] = max(one.seconds for one in these)
        assert slowest[name] < REQUEST_SECONDS + SLACK_SECONDS, name
    assert slowest["a header too long"] < SLACK_SECONDS
    listeners = everybody.listeners
    assert {len(listener.log.visits) for listener in listeners} == {1}
    assert not any(listener.log.refusals for listener in listeners)
    samples = watch.of(0, attacked_at, over_at)
    assert all(sample.ready == 200 for sample in samples)
    assert max(sample.descriptors for sample in samples) > 2 * EACH  # or nobody was attacked
    assert watch.of(0)[-1].descriptors < before.descriptors + 30
    lag = watch.lag_p99_seconds(attacked_at, over_at)
    assert lag < 0.2
    # Newcomers are given what they missed, which is as old as it is.
    heard = Journal(journal.attempts, [listener.log for listener in settled])
    latency = latency_p99_seconds(heard, attacked_at, over_at)
    assert latency < 0.5
    record(
        "F20",
        f"{EACH} connections each: silent, half a head, a byte at a time, a header over 8 KiB",
        verdict.figures(),
        **{f"{name}_closed_seconds".replace(" ", "_"): round(slowest[name], 2) for name in KINDS},
        latency_p99_before_ms=round(latency_p99_seconds(heard, until=attacked_at) * 1000),
        latency_p99_ms=round(latency * 1000),
        lag_p99_ms=round(lag * 1000),
    )


async def newcomers(add: Callable[[Listener], None], ports: list[int]) -> None:
    """Listeners who come in the middle of it."""
    for number in range(10):
        await asyncio.sleep(0.5)
        add(Listener(f"newcomer-{number}", CHANNELS[0], ports))
