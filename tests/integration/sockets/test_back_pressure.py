"""A client that says more than can be carried out is slowed down, and not taken for dead."""

import asyncio
from collections.abc import Sequence

import pytest
from websockets.asyncio.client import ClientConnection

from gateway.domain.errors import GatewayError
from gateway.domain.messages import Publication, Receipt
from gateway.replica import Gateway
from tests.integration.sockets.in_process import Served, eventually
from tests.support.clients import closing_of, listen, make_token, receive_json

BYTES_MAX = 32_000_000  # what the kernel may take on both sides of a connection, and more


class Gate:
    """Stands before the broker, and lets publications through once it is open."""

    def __init__(self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
        self._publish = gateway.broker.publish
        self._is_open = asyncio.Event()
        self.arrived = 0
        monkeypatch.setattr(gateway.broker, "publish", self.publish)

    async def publish(self, publications: Sequence[Publication]) -> list[Receipt | GatewayError]:
        self.arrived += 1
        await self._is_open.wait()
        return await self._publish(publications)

    def open(self) -> None:
        self._is_open.set()


@pytest.fixture
async def gate(gateway_here: Gateway, monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(gateway_here, monkeypatch)


async def say_too_much(socket: ClientConnection) -> int:
    """Talk until TCP does not take any more; return how many messages went out or wait here."""
    text = "x" * 60_000
    for count in range(1, BYTES_MAX // len(text)):
        try:
            async with asyncio.timeout(0.5):
                await socket.send(text)
        except TimeoutError:
            return count
    pytest.fail("the gateway takes everything that is said")


async def test_what_cannot_be_carried_out_is_not_read(
    served_here: Served, gate: Gate, channel: str, publisher: str
) -> None:
    async with listen(served_here.ws, channel, publisher) as socket:
        count = await say_too_much(socket)
        assert gate.arrived == 1
        gate.open()
        for _ in range(count):
            assert len((await receive_json(socket))["data"]) == 60_000


async def test_a_client_that_we_do_not_read_is_not_taken_for_dead(
    served_here: Served, gateway_here: Gateway, gate: Gate, channel: str, publisher: str
) -> None:
    async with listen(served_here.ws, channel, publisher) as socket:
        count = await say_too_much(socket)
        wheel, door = gateway_here.wheel, gateway_here.door
        for turn in range(1, 10):
            wheel.advance(wheel.now() + turn * door.ping_interval_seconds)
        assert door.counts.open == 1
        gate.open()
        for _ in range(count):
            await receive_json(socket)


async def test_a_socket_that_was_closed_says_nothing_more(
    served_here: Served, gateway_here: Gateway, gate: Gate, channel: str
) -> None:
    token = make_token("paula", "publisher", ttl=2)
    async with listen(served_here.ws, channel, token) as socket:
        for _ in range(100):
            await socket.send("hello")
        await eventually(lambda: gate.arrived == 1, "the first is on its way")
        assert await closing_of(socket) == (1008, "the token has expired")
    # The closing handshake is complete, though reading had been paused.
    await served_here.until_empty()
    gate.open()
    hub = gateway_here.hub
    await eventually(lambda: hub.published_count > 0, "what was on its way is published")
    assert hub.published_count < 100
    assert gate.arrived == 1
