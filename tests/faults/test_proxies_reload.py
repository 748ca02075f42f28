"""HAProxy and nginx, as they are shipped, that are given a new configuration again and again."""

import asyncio
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.faults.support.cluster import cluster
from tests.faults.support.oracle import judge
from tests.faults.support.publishers import publishing, several
from tests.faults.support.records import Journal
from tests.faults.support.results import record, seconds
from tests.faults.support.subscribers import Listener, audience, crowd
from tests.faults.support.timing import interruption_seconds, recovery_seconds
from tests.support.proxies import Haproxy, Nginx, wait_answering

pytestmark = [pytest.mark.faults, pytest.mark.timeout(150)]

CHANNELS = ["room-0", "room-1", "room-2"]
LISTENERS = 45
PER_SECOND = 100
# The idle time-outs are a tenth of what is shipped, and so are the pings.
PING: dict[str, Any] = {"ping_interval_seconds": 3, "ping_timeout_seconds": 2}
SHUTDOWN_SECONDS = 1
RELOADS = 3


@pytest.mark.parametrize("kind", [Haproxy, Nginx])
async def test_a_reload_is_one_reconnect_and_silence_is_none(
    directory: Path, kind: type[Haproxy] | type[Nginx]
) -> None:
    """F33"""
    journal = Journal()
    async with cluster(directory, trusted_proxies="127.0.0.1", **PING) as gateways:
        proxy = kind(directory, gateways.gateways, is_quick=True, shutdown_seconds=SHUTDOWN_SECONDS)
        await asyncio.to_thread(proxy.start)
        try:
            await asyncio.to_thread(wait_answering, proxy)
            listeners = crowd(LISTENERS, CHANNELS, [proxy.port], tls=proxy.tls)
            # Nobody publishes there until the end: nothing but pings keeps these open.
            listeners += [
                Listener(f"quiet-{n}", "quiet", [proxy.port], tls=proxy.tls) for n in range(10)
            ]
            publishers = several(4, CHANNELS, gateways.ports, journal, per_second=PER_SECOND)
            last_words = several(1, ["quiet"], gateways.ports, journal, per_second=10)
            last_words[0].name = "last-words"
            async with audience(journal, *listeners) as everybody:
                began = time.monotonic()
                async with publishing(*publishers):
                    await asyncio.sleep(seconds(8, 20))  # longer than any time-out there
                    assert {len(listener.log.visits) for listener in listeners} == {1}
                    for n in range(1, RELOADS + 1):
                        proxy.reload()
                        await everybody.until(partial(has_come, 1 + n), "everybody is back")
                        await asyncio.sleep(seconds(1, 3))
                    ended = time.monotonic()
                    async with publishing(*last_words):
                        await asyncio.sleep(2)
                await everybody.until_caught_up()
            verdict = judge(journal)
            assert proxy.is_running(), proxy.log
        finally:
            await asyncio.to_thread(proxy.terminate)
    verdict.require_clean()
    assert (verdict.sent_fail, verdict.sent_unknown, verdict.announced) == (0, 0, 0)
    # One reconnect for each reload, and none for anything else.
    assert {len(listener.log.visits) for listener in listeners} == {1 + RELOADS}
    away = interruption_seconds(journal, began)
    record(
        "F33" if kind is Haproxy else "F33b",
        f"{RELOADS} reloads of {'HAProxy' if kind is Haproxy else 'nginx'} in front of 3 gateways",
        verdict.figures(),
        reconnects=sum(len(listener.log.visits) - 1 for listener in listeners),
        refused_attempts=sum(len(listener.log.refusals) for listener in listeners),
        longest_silence_seconds=round(away, 2),
        recovered_seconds=round(recovery_seconds(journal, ended), 2),
    )


def has_come(times: int, listener: Listener) -> bool:
    return len(listener.log.visits) == times and listener.is_open
