"""Clients without a WebSocket: a stream to them, and requests from them."""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit

import pytest
from centrifuge.protocol import client_pb2 as theirs

from tests.integration.centrifuge.conftest import write_config
from tests.support.centrifuge import jwt
from tests.support.clients import Answer, call, make_token, publish_now
from tests.support.servers import GatewayProcess, RedisServer, replicas, wait_until
from tests.unit.protocols.centrifuge.test_protobuf import read, spelled

KINDS = ["sse", "http_stream"]


class Stream:
    """One that reads; what it says goes to ``says_to``, which may be another replica."""

    def __init__(
        self,
        kind: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        says_to: str,
    ) -> None:
        self._kind = kind
        self._reader = reader
        self._writer = writer
        self._says_to = says_to
        self._objects: deque[Any] = deque()
        self._id = 1
        self.status = 0
        self.headers: dict[str, str] = {}
        self.connected: dict[str, Any] = {}

    @classmethod
    async def open(
        cls, http: str, kind: str, words: str, *, says_to: str = "", origin: str = ""
    ) -> Self:
        address = urlsplit(http)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        stream = cls(kind, reader, writer, says_to or http)
        about = f"Host: h\r\n{f'Origin: {origin}' + chr(13) + chr(10) if origin else ''}"
        if kind.endswith("sse"):
            head = f"GET /connection/{kind}?cf_connect={quote(words)} HTTP/1.1\r\n{about}\r\n"
            writer.write(head.encode())
        else:
            length = len(words.encode())
            head = f"POST /connection/{kind} HTTP/1.1\r\n{about}Content-Length: {length}\r\n\r\n"
            writer.write(head.encode() + words.encode())
        await stream._read_head()
        return stream

    @classmethod
    async def enter(cls, http: str, kind: str, token: str | None = None, **options: str) -> Self:
        words = json.dumps({"id": 1, "connect": {"token": token or make_token()}})
        stream = await cls.open(http, kind, words, **options)
        reply = await stream.next()
        stream.connected = reply["connect"]
        return stream

    async def _read_head(self) -> None:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        status, *lines = head.rstrip().split("\r\n")
        self.status = int(status.split()[1])
        self.headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
        }

    async def next(self, seconds: float = 5.0) -> Any:
        """The next object; None at the end."""
        async with asyncio.timeout(seconds):
            while not self._objects:
                size = int(await self._reader.readuntil(b"\r\n"), 16)
                body = (await self._reader.readexactly(size + 2))[:-2].decode()
                if not size:
                    return None
                self._objects.extend(self._parsed(body))
        return self._objects.popleft()

    def _parsed(self, body: str) -> list[Any]:
        lines = [line for line in body.split("\n") if line.strip() and line != ":"]
        if self._kind.endswith("sse"):
            assert all(line.startswith("data: ") for line in lines)
            assert body.endswith("\n\n")
            lines = [line.removeprefix("data: ") for line in lines]
        return [json.loads(line) for line in lines]

    async def say(self, *commands: Any, **changed: str) -> Answer:
        data = "\n".join(json.dumps(each) for each in commands)
        names = {name: self.connected[name] for name in ("session", "node")}
        body = {**names, "data": data, **changed}
        return await asyncio.to_thread(call, f"{self._says_to}/emulation", json_body=body)

    async def ask(self, method: str, **params: object) -> Any:
        self._id += 1
        answer = await self.say({"id": self._id, method: params})
        assert answer.status == 204, answer
        reply = await self.next()
        assert reply["id"] == self._id
        assert method in reply, reply
        return reply[method]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Any:
    directory = tmp_path_factory.mktemp("emulation")
    with (
        RedisServer(directory) as redis,
        replicas(directory, 2, redis_url=redis.url, config=write_config(directory)) as both,
    ):
        yield both


@pytest.fixture
async def stream(gateway: GatewayProcess, kind: str) -> AsyncIterator[Stream]:
    async with await Stream.enter(gateway.http, kind) as stream:
        yield stream


async def test_a_client_hears_and_is_heard(
    stream: Stream, gateway: GatewayProcess, channel: str, publisher: str
) -> None:
    assert len(stream.connected["session"]) >= 32
    result = await stream.ask("subscribe", channel=channel)
    assert result["recoverable"] is True
    publish_now(gateway.http, channel, {"n": 1}, publisher)
    assert (await stream.next())["push"]["pub"]["data"] == {"n": 1}
    clients = (await stream.ask("presence", channel=channel))["presence"]
    assert list(clients) == [stream.connected["client"]]


async def test_what_it_says_may_reach_another_replica(
    pair: list[GatewayProcess], kind: str, channel: str, publisher: str
) -> None:
    first, other = pair
    async with await Stream.enter(first.http, kind, says_to=other.http) as stream:
        await stream.ask("subscribe", channel=channel)
        publish_now(other.http, channel, "hi", publisher)
        assert (await stream.next())["push"]["pub"]["data"] == "hi"


async def test_protobuf_needs_no_websocket(
    pair: list[GatewayProcess], channel: str, publisher: str
) -> None:
    first, other = pair
    content = {"Content-Type": "application/octet-stream"}
    address = urlsplit(first.http)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    words = spelled({"id": 1, "connect": {"token": make_token()}})
    head = "".join(f"{name}: {value}\r\n" for name, value in content.items())
    head = f"POST /connection/http_stream HTTP/1.1\r\nHost: h\r\n{head}"
    writer.write(f"{head}Content-Length: {len(words)}\r\n\r\n".encode() + words)
    assert b"content-type: application/octet-stream" in await reader.readuntil(b"\r\n\r\n")

    async def next_reply() -> Any:
        async with asyncio.timeout(5):
            size = int(await reader.readuntil(b"\r\n"), 16)
            (reply,) = read((await reader.readexactly(size + 2))[:-2])
            return reply

    connected = (await next_reply())["connect"]
    said = theirs.EmulationRequest(
        session=connected["session"],
        node=connected["node"],
        data=spelled({"id": 2, "subscribe": {"channel": channel}}),
    )
    url, body = f"{other.http}/emulation", said.SerializeToString()
    answer = await asyncio.to_thread(call, url, body=body, headers=content, method="POST")
    assert answer.status == 204
    assert (await next_reply())["id"] == 2
    publish_now(other.http, channel, "hi", publisher)
    assert (await next_reply())["push"]["pub"]["data"] == "hi"
    writer.close()


async def test_a_session_that_nobody_has_is_not_found(
    pair: list[GatewayProcess], channel: str
) -> None:
    first, other = pair
    async with await Stream.enter(first.http, "sse", says_to=other.http) as stream:
        for changed in ({"node": "elsewhere"}, {"session": "x" * 32}):
            assert (await stream.say({}, **changed)).status == 404
        assert (await stream.ask("unsubscribe", channel=channel)) == {}


async def test_many_commands_come_in_one_request(stream: Stream, channel: str) -> None:
    commands = [{"id": n, "subscribe": {"channel": f"{channel}-{n}"}} for n in range(2, 12)]
    assert (await stream.say(*commands)).status == 204
    assert {(await stream.next())["id"] for _ in commands} == set(range(2, 12))


async def test_a_wrong_token_is_answered_and_the_stream_ends(
    gateway: GatewayProcess, kind: str
) -> None:
    words = json.dumps({"id": 1, "connect": {"token": "x"}})
    async with await Stream.open(gateway.http, kind, words) as stream:
        assert await stream.next() == {
            "push": {"disconnect": {"code": 3500, "reason": "invalid token"}}
        }
        assert await stream.next() is None


@pytest.mark.parametrize("words", ["", "no json", json.dumps({"id": 1, "rpc": {}})])
async def test_who_does_not_say_who_it_is_is_sent_away(
    gateway: GatewayProcess, kind: str, words: str
) -> None:
    async with await Stream.open(gateway.http, kind, words) as stream:
        assert (await stream.next())["push"]["disconnect"]["code"] == 3501


async def test_after_its_end_nobody_is_heard(
    gateway: GatewayProcess, kind: str, channel: str
) -> None:
    async with await Stream.enter(gateway.http, kind, jwt("bob")) as witness:
        async with await Stream.enter(gateway.http, kind) as left:
            await left.ask("subscribe", channel=channel)
        # It has left its channels at once, not at the next ping.
        for _ in range(100):
            if not (await witness.ask("presence", channel=channel))["presence"]:
                break
            await asyncio.sleep(0.02)
        else:
            pytest.fail("its presence lingers")
    assert (await left.say({})).status == 404


async def test_an_answer_to_a_ping_that_was_not_sent_ends_it(stream: Stream) -> None:
    assert (await stream.say({})).status == 204
    assert (await stream.next())["push"]["disconnect"]["code"] == 3501


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{}", 422),
        (b"[]", 422),
        (b"no json", 422),
        (b'{"session":1,"node":"x","data":""}', 422),
        (b'{"session":"%s","node":"x","data":""}' % (b"x" * 101), 422),
        (b'{"session":"x","node":"x","data":"%s"}' % (b"x" * 70_000), 413),
        (b"x" * 200_000, 413),
    ],
)
def test_what_cannot_be_handed_over_is_refused(
    gateway: GatewayProcess, body: bytes, status: int
) -> None:
    answer = call(f"{gateway.http}/emulation", body=body, method="POST")
    assert answer.status == status


def test_a_first_word_that_is_too_long_is_refused(gateway: GatewayProcess) -> None:
    answer = call(f"{gateway.http}/connection/http_stream", body=b"x" * 70_000, method="POST")
    assert answer.status == 413


@pytest.mark.parametrize("path", ["/emulation", "/connection/http_stream", "/connection/sse"])
def test_a_page_of_another_origin_may_ask_first(gateway: GatewayProcess, path: str) -> None:
    headers = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
    answer = call(gateway.http + path, method="OPTIONS", headers=headers)
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == "https://page.example"
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == "content-type"


async def test_pages_that_are_not_listed_stay_out(tmp_path: Path, kind: str) -> None:
    listed = "https://page.example"
    with GatewayProcess(tmp_path, allowed_origins=listed) as gateway:
        words = json.dumps({"id": 1, "connect": {"token": make_token()}})
        async with await Stream.open(gateway.http, kind, words, origin=listed) as stream:
            assert stream.status == 200
            assert stream.headers["access-control-allow-origin"] == listed
        foreign = "https://foreign.example"
        async with await Stream.open(gateway.http, kind, words, origin=foreign) as stream:
            assert stream.status == 403
        for path in ("/emulation", f"/connection/{kind}"):
            answer = call(gateway.http + path, method="OPTIONS", headers={"Origin": foreign})
            assert answer.status == 403


async def test_a_replica_that_stops_says_so(tmp_path: Path, kind: str) -> None:
    with GatewayProcess(tmp_path, drain_seconds=0.2) as gateway:
        async with await Stream.enter(gateway.http, kind) as stream:
            stopping = asyncio.create_task(asyncio.to_thread(gateway.terminate))
            told = await stream.next(20)
            assert told == {"push": {"disconnect": {"code": 3001, "reason": "shutdown"}}}
            assert await stopping == 0


async def test_pings_come_and_want_no_answer(tmp_path: Path, kind: str) -> None:
    with GatewayProcess(tmp_path, ping_interval_seconds=1, ping_timeout_seconds=1) as gateway:
        async with await Stream.enter(gateway.http, kind) as stream:
            assert "pong" not in stream.connected
            assert stream.connected["ping"] == 1
            for _ in range(3):
                assert await stream.next() == {}


async def test_a_reader_that_does_not_read_is_left(
    tmp_path: Path, kind: str, channel: str, publisher: str
) -> None:
    with GatewayProcess(tmp_path, outbox_bytes_max=200_000) as gateway:
        async with (
            await Stream.enter(gateway.http, kind) as stream,
            await Stream.enter(gateway.http, kind, jwt("bob")) as witness,
        ):
            await stream.ask("subscribe", channel=channel)

            def is_closed() -> bool:
                publish_now(gateway.http, channel, "x" * 60_000, publisher)
                closed: int = call(f"{gateway.http}/health").json["sockets_slow_closed"]
                return closed == 1

            await asyncio.to_thread(wait_until, is_closed, "the slow reader is closed", 30)
            assert (await witness.ask("unsubscribe", channel=channel)) == {}


def test_a_page_may_read_why_it_was_refused(gateway: GatewayProcess) -> None:
    origin = {"Origin": "https://page.example"}
    answer = call(f"{gateway.http}/connection/sse?cf_connect=a&cf_connect=b", headers=origin)
    assert answer.status == 422
    assert answer.headers["access-control-allow-origin"] == "https://page.example"
    assert answer.headers["vary"] == "origin"


async def test_a_token_in_the_url_can_be_turned_off(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path, token_in_url=False) as gateway:
        words = json.dumps({"id": 1, "connect": {"token": make_token()}})
        async with await Stream.open(gateway.http, "sse", words) as stream:
            assert stream.status == 422
        async with await Stream.enter(gateway.http, "http_stream") as stream:
            assert stream.connected["client"]
