"""Clients that say who they are and to what they listen, and then are only told things."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.integration.centrifuge.test_emulation import Stream
from tests.integration.centrifuge.test_recovery import say, since
from tests.support.centrifuge import Peer, jwt, subscription_token
from tests.support.clients import call, make_token, publish_now
from tests.support.servers import GatewayProcess

PATH = "/connection/uni_websocket"


class Listener(Protocol):
    async def next(self, seconds: float = 5.0) -> Any:
        """The next object; None at the end."""


class Socket:
    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def next(self, seconds: float = 5.0) -> Any:
        async with asyncio.timeout(seconds):
            try:
                return json.loads(await self.socket.recv())
            except ConnectionClosed:
                return None


@pytest.fixture(params=["uni_sse", "uni_http_stream", "uni_websocket"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@asynccontextmanager
async def listening(
    gateway: GatewayProcess, kind: str, words: str | dict[str, Any]
) -> AsyncIterator[Listener]:
    said = words if isinstance(words, str) else json.dumps(words)
    if kind == "uni_websocket":
        async with connect(gateway.ws + PATH, compression=None) as socket:
            await socket.send(said)
            yield Socket(socket)
    else:
        async with await Stream.open(gateway.http, kind, said) as stream:
            assert stream.status == 200
            yield stream


async def test_it_hears_the_channels_of_its_token(
    gateway: GatewayProcess, kind: str, channel: str
) -> None:
    token = jwt(subs={channel: {"data": {"n": 1}}})
    async with listening(gateway, kind, {"token": token, "name": "js"}) as listener:
        connected = (await listener.next())["connect"]
        assert connected["subs"][channel]["data"] == {"n": 1}
        assert connected["ping"] == 25
        assert len(connected["session"]) >= 32
        assert connected["client"]
        assert {"pong", "node"}.isdisjoint(connected)
        (position,) = await say(gateway, channel, "hi")
        heard = await listener.next()
        assert heard["channel"] == channel
        assert (heard["pub"]["data"], heard["pub"]["offset"]) == ("hi", position["offset"])


async def test_it_asks_for_channels_and_recovers(
    gateway: GatewayProcess, kind: str, channel: str
) -> None:
    first, *_ = await say(gateway, channel, 1, 2, 3)
    subs = {channel: since(first), f"{channel}-other": {}}
    async with listening(gateway, kind, {"token": jwt(), "subs": subs}) as listener:
        found = (await listener.next())["connect"]["subs"]
        assert set(found) == {*subs, "mine:#alice"}
        assert found[channel]["recovered"] is True
        assert [each["data"] for each in found[channel]["publications"]] == [2, 3]
        assert "was_recovering" not in found[f"{channel}-other"]
        await say(gateway, channel, 4)
        assert (await listener.next())["pub"]["data"] == 4


async def test_what_comes_together_is_one_object_each(
    gateway: GatewayProcess, kind: str, channel: str
) -> None:
    async with listening(gateway, kind, {"token": jwt(channels=[channel])}) as listener:
        await listener.next()
        batch = {"messages": [{"channel": channel, "data": n} for n in range(20)]}
        url, token = f"{gateway.http}/publish", make_token("paula", "publisher")
        assert (await asyncio.to_thread(call, url, token=token, json_body=batch)).status == 200
        assert [(await listener.next())["pub"]["data"] for _ in range(20)] == [*range(20)]


async def test_it_is_there_for_others_and_hears_of_them(
    gateway: GatewayProcess, kind: str, channel: str
) -> None:
    channel = f"chat:{channel}"
    words = {"token": jwt("zoe", info={"name": "Zoe"}, channels=[channel])}
    async with await Peer.enter(gateway.ws) as witness:
        async with listening(gateway, kind, words) as listener:
            client = (await listener.next())["connect"]["client"]
            joined = await listener.next()
            assert joined["channel"] == channel
            assert joined["join"]["info"]["client"] == client
            found = (await witness.ask("presence", channel=channel))["presence"]
            assert found[client]["conn_info"] == {"name": "Zoe"}
            await witness.ask("subscribe", channel=channel)
            assert (await listener.next())["join"]["info"]["user"] == "alice"
        end = time.monotonic() + 5
        while client in (await witness.ask("presence", channel=channel))["presence"]:
            assert time.monotonic() < end, "its presence lingers"
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        ("", 3500, "invalid token"),
        ("{}", 3500, "invalid token"),
        ('{"token": "x"}', 3500, "invalid token"),
        ({"token": subscription_token("room")}, 3500, "invalid token"),
        ({"token": jwt(iat=1_700_000_000, exp=1_700_000_060)}, 3005, "connection expired"),
        ({"token": jwt(), "subs": {"closed:x": {}}}, 3507, "permission denied"),
        ({"token": jwt(), "subs": {"$x": {}}}, 3507, "permission denied"),
        ({"token": jwt(), "subs": {"no channel": {}}}, 3501, "bad request"),
        ({"token": jwt(), "subs": {f"c{n}": {} for n in range(129)}}, 3505, "channel limit"),
        ("[]", 3501, "bad request"),
        ("no json", 3501, "bad request"),
        ('{"token": 1}', 3501, "bad request"),
        ('{"subs": {"a": 1}}', 3501, "bad request"),
    ],
)
async def test_who_cannot_come_in_is_told_why(
    gateway: GatewayProcess, kind: str, words: str | dict[str, Any], code: int, reason: str
) -> None:
    async with listening(gateway, kind, words) as listener:
        assert await listener.next() == {"disconnect": {"code": code, "reason": reason}}
        assert await listener.next() is None
        if isinstance(listener, Socket):
            assert (listener.socket.close_code, listener.socket.close_reason) == (code, reason)


async def test_what_it_says_later_on_means_nothing(gateway: GatewayProcess, channel: str) -> None:
    words = {"token": jwt(channels=[channel])}
    async with listening(gateway, "uni_websocket", words) as listener:
        assert isinstance(listener, Socket)
        await listener.next()
        for said in ("{}", "no json", json.dumps(words), '{"id":2,"rpc":{}}'):
            await listener.socket.send(said)
        await say(gateway, channel, "hi")
        assert (await listener.next())["pub"]["data"] == "hi"


async def test_a_socket_may_say_it_in_its_url(gateway: GatewayProcess, channel: str) -> None:
    words = quote(json.dumps({"token": jwt(channels=[channel])}))
    async with connect(f"{gateway.ws}{PATH}?cf_connect={words}") as socket:
        assert channel in (await Socket(socket).next())["connect"]["subs"]


async def test_a_token_in_the_url_can_be_turned_off(
    tmp_path: Path, door: str, channel: str
) -> None:
    with GatewayProcess(tmp_path, token_in_url=False, socket_door=door) as gateway:
        words = quote(json.dumps({"token": jwt()}))
        async with connect(f"{gateway.ws}{PATH}?cf_connect={words}") as socket:
            assert (await Socket(socket).next())["disconnect"]["code"] == 3507
        async with await Stream.open(gateway.http, "uni_sse", "{}") as stream:
            assert stream.status == 422
        body = json.dumps({"token": jwt()}).encode()
        async with listening(gateway, "uni_http_stream", body.decode()) as listener:
            assert "connect" in await listener.next()


async def test_protobuf_is_not_spoken_there(gateway: GatewayProcess) -> None:
    async with connect(f"{gateway.ws}{PATH}?cf_protocol=protobuf") as socket:
        assert (await Socket(socket).next())["disconnect"]["code"] == 3506


async def test_pings_come_and_want_no_answer(tmp_path: Path, door: str) -> None:
    settings = {"ping_interval_seconds": 1, "ping_timeout_seconds": 1, "socket_door": door}

    async def is_pinged(kind: str) -> None:
        async with listening(gateway, kind, {"token": jwt()}) as listener:
            assert (await listener.next())["connect"]["ping"] == 1
            for _ in range(4):
                assert await listener.next() == {}

    with GatewayProcess(tmp_path, **settings) as gateway:
        await asyncio.gather(*map(is_pinged, ("uni_sse", "uni_http_stream", "uni_websocket")))


async def test_its_session_is_for_other_servers_and_nobody_speaks_for_it(
    gateway: GatewayProcess, kind: str, channel: str
) -> None:
    async with listening(gateway, kind, {"token": jwt("zoe")}) as listener:
        session = (await listener.next())["connect"]["session"]
        body = {"session": session, "node": "", "data": "{}"}
        url = f"{gateway.http}/emulation"
        assert (await asyncio.to_thread(call, url, json_body=body)).status == 404
        admin = make_token("root", "admin")
        request = {"user": "zoe", "session": session, "channel": channel}
        url = f"{gateway.http}/api/subscribe"
        assert (await asyncio.to_thread(call, url, token=admin, json_body=request)).status == 200
        subscribed = await listener.next()
        assert (subscribed["channel"], "subscribe" in subscribed) == (channel, True)
        publish_now(gateway.http, channel, 1, make_token("paula", "publisher"))
        assert (await listener.next())["pub"]["data"] == 1
        request = {"user": "zoe", "session": session, "disconnect": {"code": 4000, "reason": "go"}}
        url = f"{gateway.http}/api/disconnect"
        assert (await asyncio.to_thread(call, url, token=admin, json_body=request)).status == 200
        assert await listener.next() == {"disconnect": {"code": 4000, "reason": "go"}}
        assert await listener.next() is None
