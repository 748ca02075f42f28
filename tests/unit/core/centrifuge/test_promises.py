"""What a subscription may count on: by its namespace, by what it asks for, by its token."""

import json
from typing import Any

import pytest

from gateway.core.track import Gap
from gateway.domain.messages import Draft, Position
from gateway.domain.namespaces import Namespace, RecoveryMode
from gateway.domain.principal import Action, Backend
from gateway.replica import Gateway
from tests.support.centrifuge import jwt, subscription_token
from tests.unit.core.centrifuge.client import FakeSocket, make_gateway

UNFORCED = Namespace(force_positioning=False, force_recovery=False, force_push_join_leave=False)
CACHE = Namespace(force_recovery_mode=RecoveryMode.CACHE)
PAULA = Backend("paula", token_id="", issued_at=0, expires_at=0, grants={Action.PUBLISH: ("*",)})
LOST = Gap(Position("e", 1), Position("e", 9))
BEGINNING = {"recover": True, "epoch": "", "offset": 0}


async def entered(gateway: Gateway, **claims: object) -> FakeSocket:
    socket = FakeSocket(gateway)
    await socket.say(json.dumps({"id": 1, "connect": {"token": jwt(**claims)}}))  # type: ignore[arg-type]
    assert socket.client.is_live, socket.sent
    return socket


async def subscribed(socket: FakeSocket, **params: object) -> Any:
    await socket.say(json.dumps({"id": 2, "subscribe": {"channel": "room", **params}}))
    return json.loads(socket.last())["subscribe"]


async def published(gateway: Gateway, *data: bytes) -> list[Position]:
    return [(await gateway.hub.publish(PAULA, Draft("room", each))).position for each in data]


def override(**values: bool) -> dict[str, Any]:
    return {"override": {name: {"value": value} for name, value in values.items()}}


@pytest.mark.parametrize(
    ("asked", "overridden", "promised"),
    [
        ({}, {}, set()),
        ({"positioned": True}, {}, {"positioned"}),
        ({"recoverable": True}, {}, {"positioned", "recoverable"}),
        ({}, {"force_positioning": True}, {"positioned"}),
        ({}, {"force_recovery": True}, {"positioned", "recoverable"}),
        ({"recoverable": True}, {"force_recovery": False}, {"positioned", "recoverable"}),
    ],
)
async def test_what_nothing_forces_has_to_be_asked_for(
    asked: dict[str, bool], overridden: dict[str, bool], promised: set[str]
) -> None:
    gateway = make_gateway(UNFORCED)
    await published(gateway, b"1")
    socket = await entered(gateway)
    token = subscription_token("room", **override(**overridden))
    result = await subscribed(socket, token=token, **asked)
    assert {name for name in ("positioned", "recoverable") if result.get(name)} == promised
    assert ("offset" in result) is bool(promised)


async def test_a_gap_is_told_to_those_who_mind() -> None:
    for asked, stays in (({}, True), ({"positioned": True}, False)):
        socket = await entered(make_gateway(UNFORCED))
        await subscribed(socket, **asked)
        (listener,) = socket.gateway.hub.listeners("room")
        listener.missed(LOST)
        assert ("room" in socket.client.subscriptions) is stays


async def test_without_a_promise_nothing_is_recovered() -> None:
    gateway = make_gateway(UNFORCED)
    await published(gateway, b"1")
    result = await subscribed(await entered(gateway), **BEGINNING)
    assert result == {"was_recovering": True}


async def test_an_override_takes_back_what_is_forced() -> None:
    gateway = make_gateway()
    socket = await entered(gateway)
    options = override(force_positioning=False, force_recovery=False)
    result = await subscribed(socket, token=subscription_token("room", **options))
    assert {"positioned", "recoverable"}.isdisjoint(result)


# The newest message.


async def test_who_comes_back_gets_the_newest_alone() -> None:
    gateway = make_gateway(CACHE)
    positions = await published(gateway, b"1", b"2", b"3")
    for since in (BEGINNING, {**BEGINNING, "epoch": positions[0].epoch, "offset": 1}):
        result = await subscribed(await entered(gateway), **since)
        assert (result["was_recovering"], result["recovered"]) == (True, True)
        assert [each["data"] for each in result["publications"]] == [3]
        assert result["offset"] == 3


async def test_who_has_it_gets_it_not_again() -> None:
    gateway = make_gateway(CACHE)
    (position,) = await published(gateway, b"1")
    since = {"recover": True, "epoch": position.epoch, "offset": position.offset}
    result = await subscribed(await entered(gateway), **since)
    assert result["recovered"] is True
    assert "publications" not in result


async def test_what_is_not_kept_is_not_recovered() -> None:
    gateway = make_gateway(CACHE)
    result = await subscribed(await entered(gateway), **BEGINNING)
    assert result["was_recovering"] is True
    assert {"recovered", "publications"}.isdisjoint(result)
    gateway = make_gateway(CACHE)
    await published(gateway, b"1")
    unkept = Draft("room", b"2", is_kept=False)
    await gateway.hub.publish(PAULA, unkept)
    result = await subscribed(await entered(gateway, sub="bob"), **BEGINNING)
    assert {"recovered", "publications"}.isdisjoint(result)


async def test_who_asks_for_nothing_gets_nothing_unless_it_is_automatic() -> None:
    gateway = make_gateway(CACHE)
    await published(gateway, b"1", b"2")
    assert "publications" not in await subscribed(await entered(gateway))
    gateway.namespaces.default = CACHE._replace(auto_cache_recover=True)
    result = await subscribed(await entered(gateway))
    assert (result["was_recovering"], result["recovered"]) == (True, True)
    assert [each["data"] for each in result["publications"]] == [2]
    socket = await entered(gateway, channels=["room"])
    sub = json.loads(socket.sent[0])["connect"]["subs"]["room"]
    assert [each["data"] for each in sub["publications"]] == [2]


# Who is there.


async def test_who_is_not_to_be_counted_is_not() -> None:
    gateway = make_gateway()
    options = override(presence=False)
    socket = await entered(gateway, subs={"server": options})
    await subscribed(socket, token=subscription_token("room", **options))
    for channel in ("room", "server"):
        with pytest.raises(ValueError, match="not joined"):
            gateway.attendance.leave(channel, "alice")
    socket.close(1000, "bye")  # and nobody leaves who has not joined
