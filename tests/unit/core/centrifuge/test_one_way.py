"""A client that says nothing more: what time does to it, and how it ends."""

import json

import pytest

from gateway.core.centrifuge.one_way import OneWayClient
from gateway.core.centrifuge.pings import Pings
from gateway.core.centrifuge.wire import ClientWire
from gateway.core.track import Gap
from gateway.domain.messages import Position
from gateway.protocols.centrifuge.one_way import ONE_WAY_JSON
from tests.support.centrifuge import jwt
from tests.unit.core.centrifuge.client import FakeSocket, make_gateway
from tests.unit.core.centrifuge.test_client import now


async def one_way(pings: Pings = Pings.UNANSWERED, **words: object) -> FakeSocket:
    socket = FakeSocket(make_gateway())
    wire = ClientWire(ONE_WAY_JSON, lambda payload: payload)
    socket.client = OneWayClient(socket.client.clients, socket, wire, pings=pings)
    await socket.say(json.dumps({"token": jwt(ttl=100), **words}))
    assert socket.client.is_live, socket.closed
    return socket


async def test_a_token_s_end_is_its_own() -> None:
    socket = await one_way()
    socket.client.tick(now() + 97)
    assert socket.closed is None
    socket.client.tick(now() + 102)
    assert socket.closed == (3005, "connection expired")


async def test_what_it_missed_ends_it_for_it_cannot_ask_again() -> None:
    socket = await one_way(subs={"room": {}})
    (listener,) = socket.gateway.hub.listeners("room")
    listener.missed(Gap(Position("e", 1), Position("e", 9)))
    assert socket.closed == (3010, "insufficient state")


@pytest.mark.parametrize("pings", [Pings.BOTH, Pings.FRAMES, Pings.UNANSWERED])
async def test_who_has_frames_is_cut_off_without_an_answer(pings: Pings) -> None:
    socket = await one_way(pings)
    connected = json.loads(socket.sent[0])["connect"]
    assert ("ping" in connected, "pong" in connected) == (pings is not Pings.FRAMES, False)
    first = socket.client.tick(now())
    socket.client.tick(first)
    socket.client.tick(first + 20)
    assert socket.closed == (None if pings is Pings.UNANSWERED else (3012, "no pong"))


async def test_anything_that_comes_is_an_answer() -> None:
    socket = await one_way(Pings.BOTH)
    first = socket.client.tick(now())
    socket.client.tick(first)
    socket.client.heard()
    socket.client.tick(first + 20)
    assert socket.closed is None
