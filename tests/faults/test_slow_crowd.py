"""As many slow readers as fast ones, on the same channel."""

import asyncio
import contextlib
import threading
import time
from pathlib import Path

import pytest

from tests.faults.support.cluster import cluster, eventually
from tests.faults.support.oracle import judge
from tests.faults.support.publishers import Publisher, publishing
from tests.faults.support.records import Journal
from tests.faults.support.results import record, seconds
from tests.faults.support.subscribers import audience, crowd
from tests.faults.support.timing import latency_p99_seconds
from tests.faults.support.watching import Watch
from tests.support.clients import RawClient, make_token

pytestmark = [pytest.mark.faults, pytest.mark.busy, pytest.mark.timeout(180)]

FAST = 200
SLOW = 200
CHANNEL = "room"
PER_SECOND, DATA_BYTES = 40, 3000
OUTBOX_BYTES = 65_536
TICK_SECONDS = 0.1
# Half of the slow ones read less than comes, and are closed; the others stop for a while, and then
# read what has waited.
TRICKLE_BYTES = int(PER_SECOND * DATA_BYTES * TICK_SECONDS / 2)
STOP_TICKS = 5
MB = 1_000_000


class SlowReaders:
    """Raw sockets, so that they cost this process next to nothing; each comes back when closed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._token = make_token("slow")
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.error: Exception | None = None

    def __enter__(self) -> "SlowReaders":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_stopping.set()
        self._thread.join()

    def _run(self) -> None:
        clients: dict[int, RawClient] = {}
        tick = 0
        try:
            while not self._is_stopping.wait(TICK_SECONDS):
                tick += 1
                for number in range(SLOW):
                    if number not in clients:
                        clients[number] = self._come()
                    if not _reads(clients[number], number, tick):
                        clients.pop(number).close()
        except Exception as error:  # the test looks at it
            self.error = error
        finally:
            for client in clients.values():
                client.close()

    def _come(self) -> RawClient:
        client = RawClient(self._port, receive_buffer=4096, segment_bytes=536)
        client.listen(CHANNEL, self._token)
        client.socket.setblocking(False)
        return client


def _reads(client: RawClient, number: int, tick: int) -> bool:
    """Read what this one reads in a tick; False at its end."""
    is_trickling = number % 2 == 0
    if not is_trickling and tick % STOP_TICKS != number % STOP_TICKS:
        return True
    left = TRICKLE_BYTES if is_trickling else 10 * MB
    with contextlib.suppress(BlockingIOError):
        try:
            while left > 0:
                data = client.socket.recv(min(left, 65_536))
                if not data:
                    return False
                left -= len(data)
        except ConnectionError:
            return False
    return True


async def test_slow_readers_do_not_slow_down_the_others(directory: Path) -> None:
    """F18"""
    journal = Journal()
    async with cluster(
        directory, 1, outbox_bytes_max=OUTBOX_BYTES, message_bytes_max=OUTBOX_BYTES // 2
    ) as gateways:
        ports = gateways.ports
        listeners = crowd(FAST, [CHANNEL], ports)
        publisher = Publisher(
            "publisher", [CHANNEL], ports, journal, per_second=PER_SECOND, data_bytes=DATA_BYTES
        )
        async with audience(journal, *listeners) as everybody:
            with Watch(gateways.gateways) as watch:
                async with publishing(publisher):
                    await asyncio.sleep(2)
                    alone_since = time.monotonic()
                    await asyncio.sleep(seconds(6, 20))
                    alone_until = time.monotonic()
                    before = watch.of(0)[-1]
                    with SlowReaders(ports[0]) as slow:
                        await everybody.until(
                            lambda _: gateways.health(0)["sockets_open"] >= FAST + SLOW * 3 // 4,
                            "the slow ones are there",
                        )
                        together_since = time.monotonic()
                        await asyncio.sleep(seconds(10, 30))
                        # Or they were not slow.
                        await eventually(
                            lambda: gateways.health(0)["sockets_slow_closed"] >= SLOW // 2,
                            "as many as read too little were closed",
                            60,
                        )
                        together_until = time.monotonic()
                        health = gateways.health(0)
                    assert slow.error is None
                await everybody.until_caught_up()
        verdict = judge(journal)
    verdict.require_clean()
    assert {len(listener.log.visits) for listener in listeners} == {1}
    grown_mb = (max(s.rss_bytes for s in watch.of(0, alone_until)) - before.rss_bytes) / MB
    assert grown_mb < SLOW * OUTBOX_BYTES / MB + 30
    assert watch.lag_p99_seconds() < 0.2
    alone = latency_p99_seconds(journal, alone_since, alone_until)
    together = latency_p99_seconds(journal, together_since, together_until)
    # The aim is 1.5 times; on a machine that does other work, too, moments decide.
    assert together < max(3 * alone, 0.3)
    record(
        "F18",
        f"{SLOW} slow readers among {FAST} fast ones, one channel, {PER_SECOND} messages/s of "
        f"{DATA_BYTES} bytes",
        verdict.figures(),
        latency_p99_before_ms=round(alone * 1000, 1),
        latency_p99_ms=round(together * 1000, 1),
        times=round(together / alone, 2),
        closed_slow=health["sockets_slow_closed"],
        grown_mb=round(grown_mb, 1),
        lag_p99_ms=round(watch.lag_p99_seconds() * 1000),
    )
