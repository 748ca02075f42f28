"""The public Python client, unchanged."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from centrifuge import Client, ClientState, ReplyError, Subscription, SubscriptionState

from tests.support.centrifuge import PATH, jwt, subscription_token
from tests.support.clients import make_token, publish, publish_now
from tests.support.servers import GatewayProcess, RedisServer, replicas

Events = asyncio.Queue[tuple[str, Any]]


@pytest.fixture(scope="session")
def door() -> str:
    """What the doors have in common is tested elsewhere; this is about the client."""
    return "native"


@pytest.fixture
async def clients(ws: str) -> AsyncIterator[Callable[..., Client]]:
    """Makes clients, and ends them."""
    made: list[Client] = []

    def make(token: str = "", address: str = ws, **options: Any) -> Client:
        if not token and "get_token" not in options:
            token = make_token("alice", "publisher")
        client = Client(address + PATH, token=token, use_protobuf=False, **options)
        made.append(client)
        return client

    yield make
    for client in made:
        await client.disconnect()
    # It closes its sockets in the background, and this loop is about to end.
    if closing := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(closing, timeout=5)


def heard(source: Client | Subscription, *names: str) -> Events:
    """A queue of what is told under these names."""
    events: Events = asyncio.Queue()

    def teller(name: str) -> Callable[[Any], Awaitable[None]]:
        async def tell(context: Any) -> None:
            events.put_nowait((name, context))

        return tell

    for name in names:
        setattr(source.events, f"on_{name}", teller(name))
    return events


async def next_of(events: Events, name: str) -> Any:
    async with asyncio.timeout(10):
        while True:
            kind, context = await events.get()
            if kind == name:
                return context


async def subscribed(client: Client, channel: str, **options: Any) -> tuple[Subscription, Events]:
    sub = client.new_subscription(channel, **options)
    names = "subscribed", "unsubscribed", "publication", "join", "leave", "error"
    events = heard(sub, *names)
    await client.connect()
    await sub.subscribe()
    return sub, events


async def test_everything_that_a_client_may_ask_for(
    clients: Callable[..., Client], channel: str
) -> None:
    client = clients()
    sub, events = await subscribed(client, channel)
    await sub.ready(5)
    await sub.publish({"my": "data"})
    pub = (await next_of(events, "publication")).pub
    assert (pub.data, pub.offset, pub.info.user) == ({"my": "data"}, 1, "alice")
    history = await sub.history(limit=-1)
    assert (len(history.publications), history.offset, bool(history.epoch)) == (1, 1, True)
    (info,) = (await sub.presence()).clients.values()
    assert info.user == "alice"
    stats = await sub.presence_stats()
    assert (stats.num_clients, stats.num_users) == (1, 1)
    with pytest.raises(ReplyError) as refusal:
        await client.rpc("method", {})
    assert refusal.value.code == 108
    await sub.unsubscribe()
    assert sub.state is SubscriptionState.UNSUBSCRIBED


async def test_what_was_missed_is_recovered(
    clients: Callable[..., Client], gateway: GatewayProcess, channel: str
) -> None:
    client, token = clients(), make_token("paula", "publisher")
    sub, events = await subscribed(client, channel)
    await sub.ready(5)
    await publish(gateway.http, channel, 1, token)
    assert (await next_of(events, "publication")).pub.data == 1
    await client.disconnect()
    for data in (2, 3):
        await publish(gateway.http, channel, data, token)
    await client.connect()
    received = [(await next_of(events, "publication")).pub.data for _ in range(2)]
    assert received == [2, 3]


@pytest.mark.long
async def test_a_restarted_replica_costs_no_message(
    clients: Callable[..., Client], tmp_path: Path, channel: str
) -> None:
    token = make_token("paula", "publisher")
    with (
        RedisServer(tmp_path) as redis,
        replicas(tmp_path, 2, redis_url=redis.url, drain_seconds=0.2) as (first, second),
    ):
        client = clients(address=first.ws, max_reconnect_delay=0.3)
        told = heard(client, "connecting")
        sub, events = await subscribed(client, channel)
        await sub.ready(5)
        publish_now(second.http, channel, "before", token)
        assert (await next_of(events, "publication")).pub.data == "before"
        assert await asyncio.to_thread(first.terminate) == 0
        contexts = [(await told.get())[1], (await told.get())[1]]
        assert (contexts[1].code, contexts[1].reason) == (3001, "shutdown")
        publish_now(second.http, channel, "meanwhile", token)
        await asyncio.to_thread(first.start)
        assert (await next_of(events, "publication")).pub.data == "meanwhile"
        await client.disconnect()


async def test_a_token_is_renewed_before_it_ends(clients: Callable[..., Client]) -> None:
    tokens = [jwt(ttl=600), jwt(ttl=1), jwt(ttl=1)]
    all_given = asyncio.Event()

    async def get_token() -> str:
        if len(tokens) == 1:
            all_given.set()
        return tokens.pop()

    client = clients(get_token=get_token)
    events = heard(client, "connecting", "disconnected")
    await client.connect()
    await asyncio.wait_for(all_given.wait(), 10)
    assert client.state is ClientState.CONNECTED
    assert events.qsize() == 1  # the first attempt, and no other


async def test_a_token_that_has_expired_is_replaced(clients: Callable[..., Client]) -> None:
    now = int(time.time())
    tokens = [jwt(), jwt(iat=now - 120, exp=now - 60)]

    async def get_token() -> str:
        return tokens.pop()

    client = clients(get_token=get_token)
    await client.connect()
    await client.ready(10)
    assert tokens == []


async def test_a_private_channel_is_opened_and_its_token_renewed(
    clients: Callable[..., Client], channel: str
) -> None:
    name = f"${channel}"
    tokens = [subscription_token(name), subscription_token(name, ttl=1)]
    is_renewed = asyncio.Event()

    async def get_token(channel: str) -> str:
        assert channel == name
        if len(tokens) == 1:
            is_renewed.set()
        return tokens.pop()

    sub, events = await subscribed(clients(), name, get_token=get_token)
    await next_of(events, "subscribed")
    await asyncio.wait_for(is_renewed.wait(), 10)
    assert sub.state is SubscriptionState.SUBSCRIBED


async def test_a_wrong_token_ends_the_client_for_good(clients: Callable[..., Client]) -> None:
    client = clients("x")
    events = heard(client, "disconnected")
    await client.connect()
    context = await next_of(events, "disconnected")
    assert (context.code, context.reason) == (3500, "invalid token")


async def test_a_denied_subscription_ends_alone(clients: Callable[..., Client]) -> None:
    client = clients()
    _, events = await subscribed(client, "closed:a")
    assert (await next_of(events, "unsubscribed")).code == 103
    assert client.state is ClientState.CONNECTED


async def test_neighbours_come_and_go(clients: Callable[..., Client], channel: str) -> None:
    name = f"chat:{channel}"
    sub, events = await subscribed(clients(), name)
    await sub.ready(5)
    assert (await next_of(events, "join")).info.user == "alice"
    other, _ = await subscribed(clients(jwt("bob", info={"n": 1})), name)
    await other.ready(5)
    joined = (await next_of(events, "join")).info
    assert (joined.user, joined.conn_info) == ("bob", {"n": 1})
    await other.unsubscribe()
    assert (await next_of(events, "leave")).info.user == "bob"
