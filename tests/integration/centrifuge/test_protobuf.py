"""The Protobuf flavour, spoken by the public Python client, unchanged, at both doors."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from centrifuge import Client, DeltaType, ReplyError
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.integration.centrifuge.test_python import heard, next_of, subscribed
from tests.support.centrifuge import PATH, Peer, jwt, subscription_token
from tests.support.clients import make_token, publish
from tests.support.servers import GatewayProcess


@pytest.fixture
async def clients(ws: str) -> AsyncIterator[Callable[..., Client]]:
    made: list[Client] = []

    def make(token: str = "", **options: Any) -> Client:
        if not token and "get_token" not in options:
            token = make_token("alice", "publisher")
        made.append(Client(ws + PATH, token=token, use_protobuf=True, **options))
        return made[-1]

    yield make
    for client in made:
        await client.disconnect()
    if closing := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(closing, timeout=5)


async def test_everything_that_a_client_may_ask_for(
    clients: Callable[..., Client], ws: str, channel: str
) -> None:
    client = clients()
    sub, events = await subscribed(client, channel)
    await sub.ready(5)
    async with await Peer.enter(ws, jwt("bob")) as json_peer:
        await json_peer.ask("subscribe", channel=channel)
        await sub.publish(b'{"my": "data"}')
        assert (await json_peer.pub(channel))["data"] == {"my": "data"}
    pub = (await next_of(events, "publication")).pub
    assert (pub.data, pub.offset, pub.info.user) == (b'{"my": "data"}', 1, "alice")
    history = await sub.history(limit=-1)
    assert (len(history.publications), history.offset, bool(history.epoch)) == (1, 1, True)
    assert "alice" in {info.user for info in (await sub.presence()).clients.values()}
    assert (await sub.presence_stats()).num_clients >= 1
    with pytest.raises(ReplyError) as refusal:
        await client.rpc("method", b"{}")
    assert refusal.value.code == 108
    await sub.unsubscribe()


async def test_data_that_is_no_json_is_refused_and_nothing_is_lost(
    clients: Callable[..., Client], channel: str
) -> None:
    sub, events = await subscribed(clients(), channel)
    await sub.ready(5)
    with pytest.raises(ReplyError) as refusal:
        await sub.publish(b"\x00\xff")
    assert refusal.value.code == 107
    assert "JSON" in refusal.value.args[0] or "JSON" in str(vars(refusal.value))
    await sub.publish(b"1")
    assert (await next_of(events, "publication")).pub.offset == 1


async def test_what_was_missed_is_recovered(
    clients: Callable[..., Client], gateway: GatewayProcess, channel: str, publisher: str
) -> None:
    client = clients()
    sub, events = await subscribed(client, channel)
    await sub.ready(5)
    await publish(gateway.http, channel, 1, publisher)
    assert (await next_of(events, "publication")).pub.data == b"1"
    await client.disconnect()
    for data in (2, 3):
        await publish(gateway.http, channel, data, publisher)
    await client.connect()
    assert [(await next_of(events, "publication")).pub.data for _ in range(2)] == [b"2", b"3"]


async def test_differences_are_understood(
    clients: Callable[..., Client], gateway: GatewayProcess, channel: str, publisher: str
) -> None:
    name, words = f"delta:{channel}", [f"¿word {n}?" for n in range(60)]
    sub, events = await subscribed(clients(), name, delta=DeltaType.FOSSIL)
    await sub.ready(5)
    for n in range(4):
        await publish(gateway.http, name, {"n": n, "words": words}, publisher)
        pub = (await next_of(events, "publication")).pub
        assert json.loads(pub.data) == {"n": n, "words": words}


async def test_tokens_are_renewed(clients: Callable[..., Client], channel: str) -> None:
    name = f"${channel}"
    tokens = {"": [jwt(), jwt(ttl=1)], name: [subscription_token(name)]}
    tokens[name].append(subscription_token(name, ttl=1))
    is_renewed = {key: asyncio.Event() for key in tokens}

    async def get_token(channel: str = "") -> str:
        if len(tokens[channel]) == 1:
            is_renewed[channel].set()
        return tokens[channel].pop()

    client = clients(get_token=get_token)
    told = heard(client, "connecting")
    _, events = await subscribed(client, name, get_token=get_token)
    await next_of(events, "subscribed")
    async with asyncio.timeout(10):
        await asyncio.gather(*(each.wait() for each in is_renewed.values()))
    assert told.qsize() == 1


async def test_neighbours_come_and_go(clients: Callable[..., Client], channel: str) -> None:
    name = f"chat:{channel}"
    sub, events = await subscribed(clients(), name)
    await sub.ready(5)
    assert (await next_of(events, "join")).info.user == "alice"
    other, _ = await subscribed(clients(jwt("bob", info={"n": 1})), name)
    await other.ready(5)
    joined = (await next_of(events, "join")).info
    assert (joined.user, json.loads(joined.conn_info)) == ("bob", {"n": 1})
    await other.unsubscribe()
    assert (await next_of(events, "leave")).info.user == "bob"


@pytest.mark.parametrize("said", [b"\xff" * 20, b"", "{}", b"\x05\x08\x01\x22\x01\xff"])
async def test_what_is_not_the_protocol_ends_the_client(ws: str, said: bytes | str) -> None:
    subprotocols = [Subprotocol("centrifuge-protobuf")]
    async with connect(ws + PATH, subprotocols=subprotocols) as socket:
        assert socket.subprotocol == "centrifuge-protobuf"
        await socket.send(said)
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert (socket.close_code, socket.close_reason) == (3501, "bad request")
