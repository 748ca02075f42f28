"""Clients for tests: tokens, HTTP calls, WebSocket connections and raw sockets."""

import asyncio
import base64
import hashlib
import json
import os
import socket
import struct
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect

from gateway.core.tokens import SigningKey, TokenIssuer
from gateway.domain.principal import Action
from tests.support.servers import SECRET

ISSUER = TokenIssuer(
    SigningKey("1", SECRET.encode()),
    issuer="gateway",
    audience="gateway",
    lifetime_seconds_max=86_400,
)


def make_token(
    sub: str = "alice",
    *roles: str,
    grants: Mapping[Action, Sequence[str]] | None = None,
    ttl: int = 7200,  # longer than the whole suite, for many are made when it is collected
) -> str:
    return ISSUER.issue(sub, lifetime_seconds=ttl, roles=roles, grants=grants)


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def call(
    url: str,
    *,
    token: str | None = None,
    json_body: object = None,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    method: str | None = None,
) -> Answer:
    """One HTTP request; every status is an answer."""
    all_headers = dict(headers or {})
    if token is not None:
        all_headers["Authorization"] = f"Bearer {token}"
    if json_body is not None:
        body = json.dumps(json_body).encode()
        all_headers.setdefault("Content-Type", "application/json")
    request = urllib.request.Request(url, data=body, headers=all_headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return Answer(response.status, dict(response.headers), response.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, dict(error.headers), error.read())


async def publish(http: str, channel: str, data: object, token: str, **kwargs: Any) -> Answer:
    """POST /publish/{channel} without blocking the test's loop."""
    url = f"{http}/publish/{quote(channel, safe='')}"
    return await asyncio.to_thread(call, url, token=token, json_body={"data": data}, **kwargs)


def publish_now(http: str, channel: str, data: object, token: str) -> Answer:
    """`publish` for tests without a loop."""
    url = f"{http}/publish/{quote(channel, safe='')}"
    return call(url, token=token, json_body={"data": data})


def listen(ws: str, channel: str, token: str, query: str = "", **options: Any) -> connect:
    """Connect to a channel; use it with ``async with`` or ``await``."""
    headers = {"Authorization": f"Bearer {token}"}
    url = f"{ws}/ws/{quote(channel, safe='')}{query}"
    return connect(url, additional_headers=headers, compression=None, **options)


async def receive_json(socket: ClientConnection, seconds: float = 5.0) -> Any:
    return json.loads(await asyncio.wait_for(socket.recv(), seconds))


async def closing_of(socket: ClientConnection, seconds: float = 5.0) -> tuple[int, str]:
    """Wait until the server has closed; return its code and reason."""
    await asyncio.wait_for(socket.wait_closed(), seconds)
    assert socket.close_code is not None
    return socket.close_code, socket.close_reason or ""


class RawClient:
    """A TCP connection on which a test writes exactly what it wants."""

    def __init__(
        self,
        port: int,
        *,
        host: str = "127.0.0.1",
        receive_buffer: int = 0,
        segment_bytes: int = 0,
        timeout: float = 15.0,
    ) -> None:
        self.socket = socket.socket()
        if segment_bytes:  # or the kernel takes megabytes for a reader that is slow on loopback
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, segment_bytes)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        self.socket.connect((host, port))
        self._rest = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def upgrade(
        self, path: str, headers: Mapping[str, str | None] | None = None, method: str = "GET"
    ) -> bytes:
        """Send a handshake and return the response's head; a header that is None is left out."""
        lines = {
            "Host": "127.0.0.1",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            "Sec-WebSocket-Version": "13",
            **(headers or {}),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
        try:
            self.send(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode())
            return self.read_head()
        except OSError:
            self.close()  # or a failing test would also complain of an open socket
            raise

    def listen(self, channel: str, token: str, query: str = "") -> Self:
        """Join a channel, as `listen` does."""
        path = f"/ws/{quote(channel, safe='')}{query}"
        head = self.upgrade(path, {"Authorization": f"Bearer {token}"})
        if not head.startswith(b"HTTP/1.1 101 "):
            self.close()
            raise AssertionError(head)
        return self

    def say(self, text: str) -> None:
        self.send(client_frame(1, text.encode()))

    def read_head(self) -> bytes:
        data = self._rest
        while b"\r\n\r\n" not in data:
            chunk = self.socket.recv(65536)
            if not chunk:
                break
            data += chunk
        head, _, self._rest = data.partition(b"\r\n\r\n")
        return head

    def read_frame(self) -> tuple[int, bytes]:
        """The next frame's opcode and payload; raises EOFError when the server has closed."""
        first, second = self._exactly(2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", self._exactly(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self._exactly(8))
        return first & 0x0F, self._exactly(length)

    def read_text(self) -> str:
        """The next text message; pings are skipped, anything else is an error."""
        opcode, payload = self.read_frame()
        while opcode == 9:
            opcode, payload = self.read_frame()
        assert opcode == 1, (opcode, payload)
        return payload.decode()

    def read_json(self) -> Any:
        return json.loads(self.read_text())

    def read_close(self) -> tuple[int, str]:
        """Read until the close frame; return its code and reason."""
        while True:
            opcode, payload = self.read_frame()
            if opcode == 8:
                return struct.unpack("!H", payload[:2])[0], payload[2:].decode()

    def finish(self) -> None:
        """Say that no more will come, and take what the server still sends."""
        self.socket.shutdown(socket.SHUT_WR)
        self.read_to_end()

    def read_to_end(self) -> bytes:
        """Everything until the server closes the connection, by FIN or by RST."""
        data, self._rest = self._rest, b""
        try:
            while chunk := self.socket.recv(65536):
                data += chunk
        except ConnectionResetError:
            pass
        return data

    def is_thrown_out(self, seconds: float) -> bool:
        """Whether the server resets this connection, though we go on sending and never close."""
        deadline = time.monotonic() + seconds
        try:
            while time.monotonic() < deadline:
                self.send(b"x")
                time.sleep(0.05)
        except ConnectionError:
            return True
        return False

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _exactly(self, count: int) -> bytes:
        while len(self._rest) < count:
            chunk = self.socket.recv(65536)
            if not chunk:
                raise EOFError
            self._rest += chunk
        data, self._rest = self._rest[:count], self._rest[count:]
        return data


def client_frame(opcode: int, payload: bytes, *, fin: bool = True, masked: bool = True) -> bytes:
    """A frame from client to server (RFC 6455 section 5.2)."""
    first = (0x80 if fin else 0) | opcode
    flag = 0x80 if masked else 0
    length = len(payload)
    if length < 126:
        head = bytes((first, flag | length))
    elif length < 1 << 16:
        head = struct.pack("!BBH", first, flag | 126, length)
    else:
        head = struct.pack("!BBQ", first, flag | 127, length)
    if not masked:
        return head + payload
    # The same for the same frame: a frame is also the name of a test, and processes compare names.
    mask = hashlib.sha256(payload).digest()[:4]
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
