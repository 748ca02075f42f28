"""Everything that can be said on sockets and streams, one conversation for each part of it."""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.integration.asyncapi.hearing import Document, Ear
from tests.integration.centrifuge.test_emulation import Stream
from tests.support.centrifuge import Peer, jwt, subscription_token
from tests.support.clients import RawClient, call, listen, make_token, publish
from tests.support.event_source import EventSource
from tests.support.servers import GatewayProcess, RedisServer

CONFIG = """
outbox_bytes_max = 131072

[namespaces.chat]
join_leave = true
publish = "any"

[namespaces.delta]
delta = "fossil"

[namespaces.logs]
slow_consumer = "drop_oldest"

[namespaces.short]
history_messages = 2
"""
KEY = "a-key-for-everything-0123456789-abcdefghijkl"
ALICE, PAULA = make_token("alice"), make_token("paula", "publisher")
BRIEF_SECONDS = 5


class PlainEar(Ear):
    def __init__(self, document: Document, socket: ClientConnection, format: str) -> None:
        self._socket = socket
        super().__init__(document, "plain", self._frame, format)

    async def _frame(self) -> str | None:
        try:
            return await self._socket.recv(decode=True)
        except ConnectionClosed as closed:
            if closed.rcvd is not None and closed.rcvd_then_sent:
                self._document.closed("plain", closed.rcvd.code)
            return None

    async def say(self, name: str, words: str) -> None:
        self._document.told("plain", name, words)
        await self._socket.send(words)


class ClientEar(Ear):
    """One connection of the Centrifuge protocol."""

    def __init__(
        self, document: Document, socket: ClientConnection, channel: str = "clients"
    ) -> None:
        self._socket = socket
        self._lines: deque[str] = deque()
        self._id = 0
        super().__init__(document, channel, self._line)

    async def _line(self) -> str | None:
        while not self._lines:
            try:
                self._lines.extend((await self._socket.recv(decode=True)).split("\n"))
            except ConnectionClosed as closed:
                if closed.rcvd is not None and closed.rcvd_then_sent:
                    self._document.closed(self._channel, closed.rcvd.code)
                return None
        line = self._lines.popleft()
        if line == "{}" and self._channel == "clients":
            self._document.told("clients", "pong", "{}")
            await self._socket.send("{}")
        return line

    async def ask(self, method: str, *, refused: bool = False, **params: object) -> Any:
        await self.say(method, **params)
        reply = await self.until("errorReply" if refused else f"{_camel(method)}Reply")
        assert reply["id"] == self._id
        return reply["error" if refused else method]

    async def say(self, method: str, **params: object) -> None:
        self._id += 1
        command = json.dumps({"id": self._id, method: params})
        self._document.told("clients", f"{_camel(method)}Command", command)
        await self._socket.send(command)


def _camel(method: str) -> str:
    first, *rest = method.split("_")
    return first + "".join(word.title() for word in rest)


class Speaker:
    def __init__(self, document: Document, gateway: GatewayProcess, redis: RedisServer) -> None:
        self._document, self._gateway, self._redis = document, gateway, redis
        self._http, self._ws = gateway.http, gateway.ws

    @contextlib.asynccontextmanager
    async def _listening(
        self, channel: str, token: str = ALICE, query: str = "", format: str = "json"
    ) -> AsyncIterator[PlainEar]:
        query = query or f"?format={format}"
        async with listen(self._ws, channel, token, query) as socket:
            ear = PlainEar(self._document, socket, format)
            yield ear
            await ear.close()

    @contextlib.asynccontextmanager
    async def _entered(self, token: str) -> AsyncIterator[ClientEar]:
        async with await Peer.open(self._ws) as peer:
            ear = ClientEar(self._document, peer.socket)
            await ear.ask("connect", token=token)
            yield ear
            await ear.close()

    async def _publish(self, channel: str, *data: object) -> None:
        for each in data:
            assert (await publish(self._http, channel, each, PAULA)).status == 200

    async def _api(self, method: str, **params: object) -> None:
        headers = {"X-API-Key": KEY}
        url = f"{self._http}/api/{method}"
        answer = await asyncio.to_thread(call, url, json_body=params, headers=headers)
        assert "result" in answer.json, answer

    # The plain endpoint.

    async def plain_messages_and_users(self) -> None:
        async with self._listening("chat:room") as alice:
            await alice.say("publishData", '{"data": {"text": "Hola canal"}}')
            await alice.say("publishText", "Hola")
            assert (await alice.until("message"))["data"] == {"text": "Hola canal"}
            assert (await alice.until("message"))["data"] == "Hola"
            async with self._listening("chat:room", make_token("bob")):
                while (await alice.until("userJoined"))["user"] != "bob":
                    continue
            await alice.until("userLeft")

    async def plain_refusals(self) -> None:
        async with self._listening("quiet") as alice:
            await alice.say("publishText", "Hola")
            await alice.until("refused")
        async with self._listening("quiet", "nonsense") as nobody:
            await nobody.ended()
        async with self._listening("quiet", PAULA) as paula:
            await paula.say("publishText", "x" * 200_000)
            await paula.ended()

    async def plain_texts(self) -> None:
        async with (
            self._listening("words", format="text") as text,
            self._listening("words", format="raw") as raw,
        ):
            await self._publish("words", "[words] Hola")
            await text.until("textMessage")
            await raw.until("rawMessage")

    async def plain_gaps(self) -> None:
        await self._publish("short:a", 1, 2, 3, 4)
        async with self._listening("short:a", query="?since=:0") as alice:
            assert (await alice.until("gap"))["reason"] == "history_lost"
            await alice.until("caughtUp")
        async with self._listening("short:a", query="?since=another:1") as alice:
            assert (await alice.until("gap"))["reason"] == "epoch_changed"

    async def plain_end_of_a_token(self) -> None:
        async with self._listening("quiet", make_token("eve", ttl=BRIEF_SECONDS)) as eve:
            await eve.until("expires")
            await eve.ended()

    async def plain_slow_reader(self) -> None:
        await asyncio.to_thread(self._lag)

    def _lag(self) -> None:
        reader = RawClient(self._gateway.port, receive_buffer=4096, segment_bytes=536)
        with reader.listen("logs:a", ALICE):
            data = "x" * 20_000
            message = {"channel": "logs:a", "data": data}
            for _ in range(20):
                answer = call(
                    self._http + "/publish", token=PAULA, json_body={"messages": [message] * 10}
                )
                assert answer.status == 200
            while self._document.said("plain", reader.read_text()).name != "dropped":
                continue

    # Events.

    async def events(self) -> None:
        brief = make_token("eve", ttl=BRIEF_SECONDS)
        async with EventSource(self._http, "news", brief, "?history=1") as source:
            ear = Ear(self._document, "events", lambda: self._event(source))
            await self._publish("news", "Hola")
            await ear.until("message")
            await ear.until("expires")
            await ear.until("end")
            await ear.ended()

    async def events_in_words(self) -> None:
        for format, name in (("text", "textMessage"), ("raw", "rawMessage")):
            async with EventSource(self._http, "words", ALICE, f"?format={format}") as source:
                await self._publish("words", "Hola")
                assert (
                    self._document.said("events", (await source.next()).data, format).name == name
                )

    async def _event(self, source: EventSource) -> str | None:
        try:
            event = await source.next(30)
        except EOFError:
            return None
        assert event.type == event.json.get("type", "message")
        return event.data

    # The Centrifuge protocol.

    async def client_commands(self) -> None:
        await self._publish("chat:many", 1)  # from now on it has a position
        async with self._entered(jwt("carl", info={"name": "Carl"})) as carl:
            result = await carl.ask("subscribe", channel="chat:many")
            position = {"epoch": result["epoch"], "offset": result["offset"]}
            await carl.until("joinPush")
            await carl.ask("publish", channel="chat:many", data={"text": "Hola"})
            await carl.until("pubPush")
            await carl.ask("presence", channel="chat:many")
            await carl.ask("presence_stats", channel="chat:many")
            found = await carl.ask("history", channel="chat:many", limit=3, reverse=True)
            assert found["publications"]
            await carl.ask("refresh", token=jwt("carl"))
            async with self._entered(jwt("dora")) as dora:
                await dora.ask("subscribe", channel="chat:many", recover=True, **position)
            await carl.until("leavePush")
            await carl.ask("unsubscribe", channel="chat:many")
            await carl.ask("publish", channel="quiet", data=1, refused=True)

    async def client_tokens(self) -> None:
        token = subscription_token("$private", "carl", info={"seat": 1})
        async with self._entered(jwt("carl")) as carl:
            await carl.ask("subscribe", channel="$private", token=token)
            await carl.ask("sub_refresh", channel="$private", token=token)
        async with await Peer.open(self._ws) as peer:
            nobody = ClientEar(self._document, peer.socket)
            await nobody.say("connect", token="nonsense")
            await nobody.ended()

    async def client_differences(self) -> None:
        text = " ".join(map(str, range(200)))
        async with self._entered(jwt("carl")) as carl:
            result = await carl.ask("subscribe", channel="delta:a", delta="fossil")
            assert result["delta"] is True
            await self._publish("delta:a", text, text + "!")
            assert "delta" not in (await carl.until("pubPush"))["push"]["pub"]
            assert (await carl.until("pubPush"))["push"]["pub"]["delta"] is True

    async def client_orders(self) -> None:
        """What other servers do to a connection."""
        async with self._entered(jwt("fred", channels=["orders"])) as fred:
            await self._api("subscribe", user="fred", channel="more")
            await fred.until("subscribePush")
            await self._api("publish", channel="more", data=1, tags={"kind": "x"})
            assert (await fred.until("pubPush"))["push"]["pub"]["tags"] == {"kind": "x"}
            await self._api("unsubscribe", user="fred", channel="more")
            await fred.until("unsubscribePush")
            await self._api("refresh", user="fred", expire_at=4_000_000_000)
            await fred.until("refreshPush")
            await fred.until("ping")
            await self._api("disconnect", user="fred")
            await fred.ended()

    async def one_way(self) -> None:
        words = json.dumps({"token": jwt("hal", channels=["brief", "chat:brief"])})
        async with connect(self._ws + "/connection/uni_websocket", compression=None) as socket:
            hal = ClientEar(self._document, socket, "oneWay")
            self._document.told("oneWay", "oneWayConnect", words)
            await socket.send(words)
            await hal.until("bareConnect")
            await hal.until("bareJoin")
            async with self._entered(jwt("dora")) as dora:
                await dora.ask("subscribe", channel="chat:brief")
            await hal.until("bareLeave")
            await self._publish("brief", "Hola")
            await hal.until("barePub")
            await self._api("subscribe", user="hal", channel="more")
            await hal.until("bareSubscribe")
            await self._api("unsubscribe", user="hal", channel="more")
            await hal.until("bareUnsubscribe")
            await self._api("refresh", user="hal", expire_at=4_000_000_000)
            await hal.until("bareRefresh")
            await hal.until("ping")
            await self._api("disconnect", user="hal")
            await hal.until("bareDisconnect")
            await hal.ended()
        async with await Stream.open(self._http, "uni_http_stream", words) as stream:
            lines = Ear(self._document, "oneWayLines", partial(self._object, stream))
            await lines.until("bareConnect")
            await lines.close()

    async def client_streams(self) -> None:
        for kind, channel in (("http_stream", "clientLines"), ("sse", "clientEvents")):
            words = json.dumps({"id": 1, "connect": {"token": jwt("gina", channels=["own"])}})
            async with await Stream.open(self._http, kind, words) as stream:
                ear = Ear(self._document, channel, partial(self._object, stream))
                await ear.until("connectReply")
                await self._publish("own", "Hola")
                await ear.until("pubPush")
                await self._api("disconnect", user="gina")
                await ear.until("disconnectPush")
                await ear.ended()

    async def _object(self, stream: Stream) -> str | None:
        value = await stream.next(30)
        return None if value is None else json.dumps(value)

    # What everybody is told.

    async def redis_away(self) -> None:
        async with (
            self._listening("quiet") as alice,
            EventSource(self._http, "quiet", ALICE) as source,
        ):
            ear = Ear(self._document, "events", lambda: self._event(source))
            await asyncio.to_thread(self._redis.terminate)
            await alice.until("degraded")
            await ear.until("degraded")
            await asyncio.to_thread(self._redis.start)
            await alice.until("restored")
            await ear.until("restored")
            await ear.close()

    async def stop(self) -> None:
        async with self._listening("quiet") as alice, self._entered(jwt("carl")) as carl:
            await asyncio.to_thread(self._gateway.terminate)
            await alice.ended()
            await carl.ended()
