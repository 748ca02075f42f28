"""The promises of `gateway.ports.jwks`, on every adapter; and what misbehaving servers get."""

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import pytest

from gateway.adapters.files.jwks import FileJwksSource
from gateway.adapters.http.jwks import HttpJwksSource
from gateway.domain.errors import Unavailable
from gateway.ports.jwks import DOCUMENT_BYTES_MAX, JwksSource
from tests.support.certificates import make_certificate

DOCUMENT = b'{"keys": []}'

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]


class Place(Protocol):
    """Where the document is: it can be put there and taken away."""

    source: JwksSource

    def put(self, document: bytes) -> None: ...

    def take_away(self) -> None: ...


class FilePlace:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.source: JwksSource = FileJwksSource(path)

    def put(self, document: bytes) -> None:
        self._path.write_bytes(document)

    def take_away(self) -> None:
        self._path.unlink()


class HttpPlace:
    def __init__(self) -> None:
        self._document: bytes | None = None
        self.source: JwksSource

    def put(self, document: bytes) -> None:
        self._document = document

    def take_away(self) -> None:
        self._document = None

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if self._document is None:
            writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
        else:
            length = len(self._document)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % length)
            writer.write(self._document)


@asynccontextmanager
async def serving(handle: Handle, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server on a free port that closes each connection after its answer; its URL."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            result = handle(reader, writer)
            if asyncio.iscoroutine(result):
                await result
            await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client has seen enough, or the test has
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{port}/jwks.json"
    finally:
        server.close()


@pytest.fixture(params=["file", "http"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    if request.param == "file":
        yield FilePlace(tmp_path / "jwks.json")
        return
    http = HttpPlace()
    async with serving(http.handle) as url:
        http.source = HttpJwksSource(url)
        yield http


async def test_the_document_comes_whole_and_unread(place: Place) -> None:
    for document in (DOCUMENT, b"", b"not JSON \xff\0", b"x" * DOCUMENT_BYTES_MAX):
        place.put(document)
        assert await place.source.fetch() == document


async def test_what_comes_is_what_is_there_now(place: Place) -> None:
    place.put(b"one")
    assert await place.source.fetch() == b"one"
    place.put(b"two")
    assert await place.source.fetch() == b"two"


async def test_a_document_that_is_not_there_is_unavailable_until_it_is(place: Place) -> None:
    place.put(DOCUMENT)
    place.take_away()
    with pytest.raises(Unavailable):
        await place.source.fetch()
    place.put(DOCUMENT)
    assert await place.source.fetch() == DOCUMENT


async def test_a_document_that_is_too_long_is_unavailable(place: Place) -> None:
    place.put(b"x" * (DOCUMENT_BYTES_MAX + 1))
    with pytest.raises(Unavailable, match="262144 bytes"):
        await place.source.fetch()


async def test_several_may_fetch_at_once(place: Place) -> None:
    place.put(DOCUMENT)
    assert await asyncio.gather(*(place.source.fetch() for _ in range(5))) == [DOCUMENT] * 5


# Files.


@pytest.mark.parametrize("kind", ["directory", "pipe"])
async def test_what_is_no_file_is_unavailable_at_once(tmp_path: Path, kind: str) -> None:
    """Reading from a pipe would wait for a writer for ever."""
    path = tmp_path / "jwks.json"
    if kind == "directory":
        path.mkdir()
    else:
        os.mkfifo(path)
    with pytest.raises(Unavailable, match="is not a file"):
        await FileJwksSource(path).fetch()


# Servers.


async def answer_of(handle: Handle, timeout_seconds: float = 5.0) -> bytes:
    async with serving(handle) as url:
        return await HttpJwksSource(url, timeout_seconds=timeout_seconds).fetch()


def answering(answer: bytes) -> Handle:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    return handle


def packed(answer: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 1000\r\n\r\n" + answer


MISBEHAVING = {
    "an error": (b"HTTP/1.1 500 Oops\r\ncontent-length: 2\r\n\r\n{}", "answered 500"),
    "nothing to say": (b"HTTP/1.1 204 No Content\r\n\r\n", "answered 204"),
    "a part": (b"HTTP/1.1 206 Partial\r\ncontent-length: 2\r\n\r\n{}", "answered 206"),
    "a cut answer": (b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{}", "ProtocolError"),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "ProtocolError"),
    "nothing": (b"", "Error"),
    "a packed document": (packed(b"x" * 1000), "a packed document"),
    "endless headers": (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100_000, "ProtocolError"),
    "a length that is none": (b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n{}", "ProtocolError"),
    "a lie about chunks": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n",
        "ProtocolError",
    ),
}


@pytest.mark.parametrize(("answer", "trouble"), MISBEHAVING.values(), ids=MISBEHAVING)
async def test_a_server_that_answers_something_else_is_unavailable(
    answer: bytes, trouble: str
) -> None:
    with pytest.raises(Unavailable, match=trouble):
        await answer_of(answering(answer))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(status: int) -> None:
    """S07: to another place the keys could come from anybody."""
    asked = []

    async with serving(lambda reader, writer: asked.append(1)) as elsewhere:
        redirect = f"HTTP/1.1 {status} Moved\r\nlocation: {elsewhere}\r\ncontent-length: 0\r\n\r\n"
        with pytest.raises(Unavailable, match=f"answered {status}"):
            await answer_of(answering(redirect.encode()))
    assert asked == []


async def test_an_endless_answer_is_cut_off() -> None:
    sent = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            sent += 65_536
            await writer.drain()

    with pytest.raises(Unavailable, match="more than 262144 bytes"):
        await answer_of(handle)
    assert sent < 64 * DOCUMENT_BYTES_MAX


@pytest.mark.parametrize("how", ["silent", "a byte at a time"])
async def test_a_slow_answer_is_given_up_in_time(how: str) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if how == "silent":
            await asyncio.sleep(60)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    started = time.monotonic()
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1"):
        await answer_of(handle, timeout_seconds=0.3)
    assert time.monotonic() - started < 3


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    async with serving(answering(b"")) as url:
        pass
    with pytest.raises(Unavailable, match="ConnectError"):
        await HttpJwksSource(url).fetch()


async def test_a_server_without_a_certificate_that_we_trust_is_unavailable(directory: Path) -> None:
    """S54"""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*make_certificate(directory))
    async with serving(answering(b"HTTP/1.1 200 OK\r\n\r\n{}"), context) as url:
        with pytest.raises(Unavailable, match="ConnectError"):
            await HttpJwksSource(url).fetch()


async def test_a_server_that_never_ends_its_tls_handshake_leaves_nothing_open() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async with serving(silent) as url:
        source = HttpJwksSource(url.replace("http:", "https:"), timeout_seconds=0.3)
        before = open_files()
        for _ in range(3):
            with pytest.raises(Unavailable, match="ConnectTimeout"):
                await source.fetch()
        # The other three are the server's halves.
        assert open_files() <= before + 3


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_the_request_says_what_is_wanted_and_nothing_of_ours() -> None:
    heads = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode().lower())
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nset-cookie: a=b\r\n\r\n{}")

    async with serving(handle) as url:
        source = HttpJwksSource(url)
        assert [await source.fetch(), await source.fetch()] == [b"{}", b"{}"]
    for head in heads:
        assert head.startswith("get /jwks.json http/1.1")
        assert "accept-encoding: identity" in head
        assert "cookie" not in head
        assert "authorization" not in head


@pytest.mark.parametrize(
    "url",
    ["http://login.example/keys", "https://user:password@login.example/keys", "file:///etc/passwd"],
)
def test_a_url_that_others_could_answer_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="over https"):
        HttpJwksSource(url)


async def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert await answer_of(answering(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")) == b"{}"
