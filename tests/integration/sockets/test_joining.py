"""The time between a handshake and the broker's confirmation, which may be long."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import cast

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidHandshake

from gateway.core.roster import Connection
from gateway.core.session import Session
from gateway.domain.errors import InvalidToken, Unavailable
from gateway.domain.messages import Draft
from gateway.domain.principal import Principal
from gateway.protocols.frames import text_frame
from gateway.replica import Gateway
from tests.integration.sockets.in_process import Served, eventually
from tests.support.clients import closing_of, listen, make_token, receive_json

PUBLISHER = Principal("paula", "id", 0, 2_000_000_000, frozenset({"publisher"}))


class Confirmation:
    """Stands between the gateway and its broker, and says when a subscription is confirmed."""

    def __init__(self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
        self._subscribe = gateway.broker.subscribe
        self.asked = 0
        self.answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        monkeypatch.setattr(gateway.broker, "subscribe", self.subscribe)

    async def subscribe(self, channel: str) -> None:
        self.asked += 1
        await self._subscribe(channel)
        await asyncio.shield(self.answer)

    async def until_asked(self, times: int = 1) -> None:
        await eventually(lambda: self.asked == times, "the broker is asked")


@pytest.fixture
async def confirmation(gateway_here: Gateway, monkeypatch: pytest.MonkeyPatch) -> Confirmation:
    return Confirmation(gateway_here, monkeypatch)


def joining(served: Served, channel: str = "room") -> asyncio.Task[ClientConnection]:
    async def join() -> ClientConnection:
        return await listen(served.ws, channel, make_token("lucas"))

    return asyncio.create_task(join())


async def test_what_is_published_before_the_confirmation_follows_the_handshake(
    served_here: Served, gateway_here: Gateway, confirmation: Confirmation
) -> None:
    task = joining(served_here)
    await confirmation.until_asked()
    for data in (b"1", b"2"):
        await gateway_here.hub.publish(PUBLISHER, Draft("room", data))
    await eventually(lambda: gateway_here.hub.counts.delivered == 2, "both are handed over")
    assert not task.done()

    confirmation.answer.set_result(None)
    async with await task as socket:
        await gateway_here.hub.publish(PUBLISHER, Draft("room", b"3"))
        assert [(await receive_json(socket))["data"] for _ in range(3)] == [1, 2, 3]


async def test_what_a_client_says_too_early_is_not_lost(
    served_here: Served, confirmation: Confirmation
) -> None:
    token = make_token("paula", "publisher")
    reader, writer = await asyncio.open_connection("127.0.0.1", served_here.port)
    writer.write(
        f"GET /ws/room?token={token} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n".encode()
    )
    await confirmation.until_asked()
    writer.write(b"\x81\x82\0\0\0\0hi")
    confirmation.answer.set_result(None)
    async with asyncio.timeout(5):
        assert await reader.readuntil(b'"data":"hi"')
    writer.close()


async def test_a_broker_that_cannot_confirm_closes_the_socket_with_1013(
    served_here: Served, gateway_here: Gateway, confirmation: Confirmation
) -> None:
    task = joining(served_here)
    await confirmation.until_asked()
    confirmation.answer.set_exception(Unavailable("Redis cannot be reached"))
    code, reason = await closing_of(await task)
    assert code == 1013
    assert reason.startswith("Redis cannot be reached; retry_ms=")
    assert gateway_here.hub.subscriber_count == 0


async def test_a_bug_behind_the_confirmation_leaves_nobody_waiting(
    served_here: Served, gateway_here: Gateway, confirmation: Confirmation
) -> None:
    task = joining(served_here)
    await confirmation.until_asked()
    confirmation.answer.set_exception(RuntimeError("a bug"))
    with pytest.raises((InvalidHandshake, ConnectionError)):  # uvicorn answers with 500
        await task
    assert gateway_here.hub.subscriber_count == 0


async def test_a_client_that_left_meanwhile_is_not_subscribed(
    served_here: Served, gateway_here: Gateway, confirmation: Confirmation
) -> None:
    task = joining(served_here)
    await confirmation.until_asked()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    confirmation.answer.set_result(None)
    await served_here.until_empty()
    assert gateway_here.hub.subscriber_count == 0
    assert gateway_here.roster.connection_count == 0
    counts = gateway_here.door.counts
    assert (counts.open, counts.joining) == (0, 0)


async def test_those_who_wait_for_a_confirmation_take_up_places(
    served_here: Served, confirmation: Confirmation
) -> None:
    waiting = [joining(served_here, f"room-{n}") for n in range(2)]
    await confirmation.until_asked(2)
    code, _ = await closing_of(await joining(served_here, "one-too-many"))
    assert code == 1013

    confirmation.answer.set_result(None)
    for task in waiting:
        await (await task).close()


async def test_a_stop_does_not_wait_for_a_confirmation(
    served_here: Served, gateway_here: Gateway, confirmation: Confirmation
) -> None:
    task = joining(served_here)
    await confirmation.until_asked()
    served_here.stop()
    with pytest.raises((InvalidHandshake, ConnectionError)):
        await asyncio.wait_for(task, 2)
    confirmation.answer.set_result(None)
    await eventually(lambda: gateway_here.door.counts.joining == 0, "the confirmation is heard")
    assert gateway_here.hub.subscriber_count == 0
    assert gateway_here.door.counts.accepted == 0


@pytest.fixture
def on_entry(
    gateway_here: Gateway, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[Session], object]], None]:
    """Lets something happen in the turn of the loop that lets a client in, behind its back."""

    def happens(what: Callable[[Session], object]) -> None:
        join = gateway_here.roster.join

        def join_and_go_on(connection: Connection) -> None:
            join(connection)
            asyncio.get_running_loop().call_soon(what, cast(Session, connection))

        monkeypatch.setattr(gateway_here.roster, "join", join_and_go_on)

    return happens


async def test_what_is_delivered_in_the_turn_of_the_handshake_follows_it(
    served_here: Served, on_entry: Callable[[Callable[[Session], object]], None]
) -> None:
    on_entry(lambda session: session.write(text_frame(b'{"data":1}')))
    # One is there already, so that the channel needs no confirmation.
    async with await joining(served_here) as first, await joining(served_here) as second:
        assert await receive_json(first) == await receive_json(second) == {"data": 1}


async def test_whoever_is_sent_away_in_the_turn_of_its_handshake_is_told_why(
    served_here: Served,
    gateway_here: Gateway,
    on_entry: Callable[[Callable[[Session], object]], None],
) -> None:
    async with await joining(served_here):
        on_entry(lambda session: session.end(InvalidToken("the token has been revoked: test")))
        code, reason = await closing_of(await joining(served_here))
        assert (code, reason) == (1008, "the token has been revoked: test")
        assert gateway_here.door.counts.open == 1


async def test_a_stop_hands_its_users_over(served_here: Served, gateway_here: Gateway) -> None:
    """So nobody is told that they left, who will be back on another replica in a moment."""
    socket = await listen(served_here.ws, "room", make_token("lucas"))
    assert not gateway_here.attendance.is_handing_over
    served_here.stop()
    assert (await closing_of(socket))[0] == 1012
    assert gateway_here.attendance.is_handing_over
