"""Orders that cross what the client itself does at that moment."""

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

import pytest

from gateway.adapters.memory.broker import MemoryBroker
from gateway.core.server_api.orders import Orders
from gateway.core.signals import Signals
from gateway.core.surveys import Survey, Surveys
from gateway.core.tasks import Tasks
from gateway.domain.namespaces import Override
from gateway.protocols.server_api import requests
from gateway.protocols.server_api.requests import Target
from gateway.replica import Gateway
from tests.support.centrifuge import jwt
from tests.unit.core.centrifuge.client import FakeSocket, make_gateway

ALICE = Target("alice")


class OneReplica(Surveys):
    """Asks nobody but this replica, and at once."""

    async def ask(self, topic: str, body: Mapping[str, Any]) -> Survey:
        return Survey([await self._topics[topic](dict(body))], is_complete=True)


@pytest.fixture
def gateway() -> Gateway:
    return make_gateway()


@pytest.fixture
def orders(gateway: Gateway) -> Orders:
    surveys = OneReplica(Signals(gateway.broker), Tasks())
    return Orders(gateway.roster, surveys, session_seconds_max=3600)


@pytest.fixture
def confirm(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """The broker confirms no subscription before this is set."""
    broker, confirm = gateway.broker, asyncio.Event()
    assert isinstance(broker, MemoryBroker)
    subscribe = broker.subscribe

    async def subscribe_slowly(channel: str) -> None:
        await subscribe(channel)
        await confirm.wait()

    monkeypatch.setattr(broker, "subscribe", subscribe_slowly)
    return confirm


async def enter(gateway: Gateway) -> FakeSocket:
    socket = FakeSocket(gateway)
    await socket.say(json.dumps({"id": 1, "connect": {"token": jwt("alice")}}))
    assert socket.client.is_live
    return socket


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.parametrize("leaves", ["unsubscribes", "goes"])
async def test_who_leaves_while_it_is_being_subscribed_leaves_nothing_behind(
    gateway: Gateway, orders: Orders, confirm: asyncio.Event, leaves: str
) -> None:
    socket = await enter(gateway)
    subscribing = asyncio.create_task(orders.subscribe(requests.Subscribe(ALICE, "room")))
    await settle()
    if leaves == "goes":
        socket.close(3000, "gone")
    else:
        await socket.say('{"id":2,"unsubscribe":{"channel":"room"}}')
    confirm.set()
    await subscribing
    assert gateway.hub.audience_sizes() == {}
    assert socket.client.subscriptions == {}
    assert gateway.attendance.is_announced("room", "alice")  # nobody was ever counted
    assert not any('"push"' in sent for sent in socket.sent)


async def test_an_unsubscribe_before_the_client_is_in_does_not_tear_its_subscription(
    gateway: Gateway, orders: Orders, confirm: asyncio.Event
) -> None:
    socket = await enter(gateway)
    command = '{"id":2,"subscribe":{"channel":"room"}}'
    subscribing = asyncio.create_task(socket.say(command))
    await settle()
    await orders.unsubscribe(requests.Unsubscribe(ALICE, "room"))
    confirm.set()
    await subscribing
    assert gateway.hub.audience_sizes() == {"room": 1}
    assert set(socket.client.subscriptions) == {"room"}
    await orders.unsubscribe(requests.Unsubscribe(ALICE, "room"))
    assert gateway.hub.audience_sizes() == {}
    assert "server unsubscribe" in socket.last()


async def test_a_client_has_only_so_many_channels(gateway: Gateway, orders: Orders) -> None:
    socket = await enter(gateway)
    for n in range(128):
        assert await orders.subscribe(requests.Subscribe(ALICE, f"room-{n}")) == []
    (refused,) = await orders.subscribe(requests.Subscribe(ALICE, "room-128"))
    assert refused.code == 106
    assert len(socket.client.subscriptions) == 128


async def test_a_subscription_of_the_server_s_ends_when_it_said(
    gateway: Gateway, orders: Orders
) -> None:
    socket = await enter(gateway)
    now = gateway.wheel.now()
    await orders.subscribe(requests.Subscribe(ALICE, "room", expire_at=int(time.time()) + 10))
    ends_at = socket.client.subscriptions["room"].ends_at
    assert now + 10 + 23 <= ends_at <= now + 10 + 27  # the clients have 25 s to bring a new token
    socket.client.tick(ends_at)
    assert socket.closed == (3006, "subscription expired")


async def test_a_subscription_of_the_server_s_may_do_otherwise(
    gateway: Gateway, orders: Orders
) -> None:
    socket = await enter(gateway)
    override = Override(presence=False, force_recovery=False, force_positioning=False)
    await orders.subscribe(requests.Subscribe(ALICE, "room", override=override))
    assert json.loads(socket.last())["push"] == {"channel": "room", "subscribe": {}}
    with pytest.raises(ValueError, match="not joined"):
        gateway.attendance.leave("room", "alice")


async def test_no_connection_outlives_the_longest_token(gateway: Gateway, orders: Orders) -> None:
    socket = await enter(gateway)
    await orders.refresh(requests.Refresh(ALICE, expire_at=4_000_000_000))
    assert '"refresh":{"expires":true,"ttl":36' in socket.last()
    now = gateway.wheel.now()
    socket.client.tick(now + 3600 + 30)
    assert socket.closed == (3005, "connection expired")
