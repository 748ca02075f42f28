"""A herd of newcomers is let in at a pace, and everybody gets in."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from tests.support.clients import (
    RawClient,
    call,
    listen,
    make_token,
    publish,
    receive_json,
)
from tests.support.servers import GatewayProcess

LISTENER = make_token("lucas")
PUBLISHER = make_token("paula", "publisher")
RATE = 100
PATIENT = {"ping_interval": None, "open_timeout": 30}
HANDSHAKE = (
    b"GET /ws/room?token=bad HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.fixture(scope="module", params=["native", "asgi"])
def paced(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    with GatewayProcess(
        tmp_path_factory.mktemp("paced"),
        handshakes_per_second_max=RATE,
        handshakes_burst_max=RATE,
        socket_door=request.param,
    ) as gateway:
        yield gateway


class Newcomer:
    """A client that comes back when it is told to."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self._gateway = gateway
        self.attempts = 0
        self.handshakes: list[float] = []
        self.reasons: list[str] = []
        self.in_after = 0.0

    async def come(self, started: float, until: asyncio.Event) -> None:
        while True:
            self.attempts += 1
            begun = time.monotonic()
            url = self._gateway.ws
            async with listen(url, "room", LISTENER, "?history=1", **PATIENT) as socket:
                self.handshakes.append(time.monotonic() - begun)
                with contextlib.suppress(ConnectionClosed):
                    # Who is let in is told at once where the channel stands.
                    assert (await receive_json(socket, 30))["type"] == "caught_up"
                    self.in_after = time.monotonic() - started
                    await until.wait()
                    return
            assert socket.close_code == 1013
            self.reasons.append(socket.close_reason or "")
            await asyncio.sleep(int(self.reasons[-1].partition("retry_ms=")[2]) / 1000)


async def test_a_herd_is_in_after_a_time_that_its_size_explains(paced: GatewayProcess) -> None:
    await asyncio.sleep(1)  # a full bucket
    count = 600
    over = asyncio.Event()
    before = (await asyncio.to_thread(call, paced.http + "/health")).json
    async with listen(paced.ws, "calm", LISTENER) as calm, asyncio.TaskGroup() as group:
        newcomers = [Newcomer(paced) for _ in range(count)]
        started = time.monotonic()
        for newcomer in newcomers:
            group.create_task(newcomer.come(started, over))
        latencies = []
        while not all(newcomer.in_after for newcomer in newcomers):
            sent = time.monotonic()
            assert (await publish(paced.http, "calm", 1, PUBLISHER)).status == 200
            assert (await receive_json(calm))["data"] == 1
            latencies.append(time.monotonic() - sent)
            await asyncio.sleep(0.05)
            assert time.monotonic() - sent < 30
        health = (await asyncio.to_thread(call, paced.http + "/health")).json
        over.set()

    # A full bucket, and what has dripped into it: nobody is let in before it is his turn, ...
    arrivals = sorted(newcomer.in_after for newcomer in newcomers)
    assert all(place <= RATE + RATE * after for place, after in enumerate(arrivals, 1))
    # ... and (600 - 100) / 100 are 5 seconds, and there is the jitter.
    assert arrivals[-1] < 18
    assert sum(newcomer.attempts for newcomer in newcomers) < 4 * count
    refused = health["sockets_refused_by_pace"] - before["sockets_refused_by_pace"]
    assert refused == sum(len(newcomer.reasons) for newcomer in newcomers)
    assert refused > 0
    assert health["sockets_open"] >= count
    assert {reason.partition("retry_ms=")[0] for one in newcomers for reason in one.reasons} == {
        "too many connect at once; "
    }
    waits = [int(one.reasons[0].partition("retry_ms=")[2]) for one in newcomers if one.reasons]
    assert min(waits) >= 500
    assert max(waits) > 2000  # the more there are, the longer
    handshakes = sorted(seconds for one in newcomers for seconds in one.handshakes)
    assert handshakes[int(len(handshakes) * 0.99)] < 5
    assert sorted(latencies)[len(latencies) // 2] < 0.5  # this loop drives all the clients, too
    lines = [line for line in paced.log.splitlines() if "handshakes_per_second_max" in line]
    assert 1 <= len(lines) <= 3
    assert "was refused: too many" not in paced.log


def test_who_is_too_many_is_refused_before_its_token_is_looked_at(directory: Path) -> None:
    """A bad token is used, so that whoever gets further is refused for that."""
    with GatewayProcess(directory, handshakes_per_second_max=1, handshakes_burst_max=1) as gateway:
        sockets = [RawClient(gateway.port) for _ in range(20)]
        streams = [RawClient(gateway.port) for _ in range(20)]
        for socket in sockets:
            socket.send(HANDSHAKE)
        for stream in streams:
            stream.send(b"GET /sse/room?token=bad HTTP/1.1\r\nHost: x\r\n\r\n")
        codes = Counter(read_code(socket) for socket in sockets)
        heads = [stream.read_head() for stream in streams]
        for client in sockets + streams:
            client.close()
    assert codes.keys() == {1008, 1013}
    assert codes[1013] >= 10
    refused = [head for head in heads if head.startswith(b"HTTP/1.1 503 ")]
    assert len(refused) >= 10
    assert all(b"\r\nretry-after: " in head for head in refused)


def read_code(client: RawClient) -> int:
    assert client.read_head().startswith(b"HTTP/1.1 101 ")
    return client.read_close()[0]
