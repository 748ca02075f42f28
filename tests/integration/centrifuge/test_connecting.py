"""Who gets in, and how everybody else learns why not."""

import json
import time

import pytest
from websockets.asyncio.client import connect
from websockets.typing import Origin

from tests.support.centrifuge import PATH, Peer, jwt, subscription_token
from tests.support.clients import RawClient, make_token
from tests.support.servers import GatewayProcess


async def test_a_client_says_who_it_is_and_learns_what_it_is_called(ws: str) -> None:
    async with await Peer.enter(ws, name="test", version="1") as peer:
        expected = {"client", "version", "expires", "ttl", "subs", "ping", "pong"}
        assert set(peer.connected) == expected
        assert len(peer.client) == 36
        assert peer.connected["expires"] is True
        assert 7100 < peer.connected["ttl"] <= 7200
        assert (peer.connected["ping"], peer.connected["pong"]) == (25, True)
        async with await Peer.enter(ws) as other:
            assert other.client != peer.client


@pytest.mark.parametrize("token", [jwt(), jwt(kid="1"), jwt(jti="x", role="admin"), make_token()])
async def test_tokens_of_both_kinds_open_a_connection(ws: str, token: str) -> None:
    async with await Peer.enter(ws, token) as peer:
        assert peer.client


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "a.b.c",
        make_token()[:-2],
        jwt()[:-2],
        jwt(iss="other"),
        jwt(aud="other"),
        jwt(aud=None),
        jwt(iat=None),
        jwt(kid="2"),
        jwt(ttl=90_000),
        jwt(info="x", channels=["no such/name"]),
        subscription_token("room"),
    ],
)
async def test_a_token_that_is_not_right_ends_the_client(ws: str, token: str) -> None:
    async with await Peer.open(ws) as peer:
        await peer.say("connect", token=token)
        assert await peer.closed() == (3500, "invalid token")


async def test_a_token_that_was_right_once_is_to_be_renewed(ws: str) -> None:
    async with await Peer.open(ws) as peer:
        now = int(time.time())
        token = jwt(iat=now - 120, exp=now - 60)
        assert await peer.refused("connect", token=token) == (109, "token expired")


async def test_without_a_token_nobody_gets_in(ws: str) -> None:
    async with await Peer.open(ws) as peer:
        assert await peer.refused("connect") == (101, "unauthorized")
        await peer.say("connect", token=make_token())
        assert await peer.closed() == (3501, "bad request")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        '{"id":1}',
        '{"id":1,"subscribe":{"channel":"a"}}',
        '{"id":1,"publish":{"channel":"a","data":1}}',
        '{"send":{"data":1}}',
        "{}",
        '{"id":1,"ping":{}}',
        b"\x00",
    ],
)
async def test_what_comes_first_is_a_connect(ws: str, text: str | bytes) -> None:
    async with await Peer.open(ws) as peer:
        await peer.socket.send(text)
        assert await peer.closed() == (3501, "bad request")


async def test_nobody_connects_twice(ws: str) -> None:
    async with await Peer.enter(ws) as peer:
        await peer.say("connect", token=make_token())
        assert await peer.closed() == (3501, "bad request")
    async with await Peer.open(ws) as peer:
        command = {"connect": {"token": make_token()}}
        await peer.send({"id": 1, **command}, {"id": 2, **command})
        assert await peer.closed() == (3501, "bad request")


async def test_an_answer_to_no_question_is_a_bad_request(ws: str) -> None:
    async with await Peer.enter(ws) as peer:
        await peer.socket.send("{}")
        assert await peer.closed() == (3501, "bad request")


async def test_messages_without_a_reply_are_not_taken(ws: str) -> None:
    async with await Peer.enter(ws) as peer:
        await peer.send({"send": {"data": 1}})
        assert await peer.closed() == (3508, "not available")


async def test_other_commands_are_answered(ws: str) -> None:
    async with await Peer.enter(ws) as peer:
        assert await peer.refused("rpc", method="m", data={}) == (108, "not available")
        assert await peer.refused("later", than="us") == (104, "method not found")


async def test_several_commands_come_in_one_frame(ws: str, channel: str) -> None:
    async with await Peer.open(ws) as peer:
        await peer.send(
            {"id": 1, "connect": {"token": make_token()}},
            {"id": 2, "subscribe": {"channel": channel}},
            {"id": 3, "subscribe": {"channel": channel + "2"}},
            {"id": 4, "presence": {"channel": channel}},
        )
        assert "connect" in await peer.reply(1)
        assert "subscribe" in await peer.reply(2)
        assert "subscribe" in await peer.reply(3)
        assert len((await peer.reply(4))["presence"]["presence"]) == 1


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [(None, None), ("", None), ("centrifuge-json", "centrifuge-json"), ("other", None)],
)
def test_subprotocols(gateway: GatewayProcess, offered: str | None, chosen: str | None) -> None:
    with RawClient(gateway.port) as client:
        head = client.upgrade(PATH, {"Sec-WebSocket-Protocol": offered}).decode().lower()
        assert head.startswith("http/1.1 101 ")
        line = f"sec-websocket-protocol: {chosen}\r\n" if chosen else "sec-websocket-protocol"
        assert (line in head + "\r\n") is (chosen is not None)
        client.say(json.dumps({"id": 1, "connect": {"token": make_token()}}))
        assert client.read_json()["id"] == 1


async def test_a_page_of_another_origin_is_refused_like_everywhere(ws: str) -> None:
    async with connect(
        ws + PATH, origin=Origin("https://page.example")
    ) as socket:  # no list: all may
        await socket.send(json.dumps({"id": 1, "connect": {"token": make_token()}}))
        assert "connect" in json.loads(await socket.recv())
