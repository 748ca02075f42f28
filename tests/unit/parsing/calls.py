"""Calls each parser as its door calls it, with bytes, and looks at what harm it could do later."""

import asyncio
import functools
import os
import tempfile
from ipaddress import ip_network
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch
from urllib.parse import parse_qs

import orjson
import uvicorn
from starlette.requests import Request
from uvicorn.server import ServerState

from gateway.adapters.memory.broker import MemoryBroker
from gateway.adapters.memory.revocation_log import MemoryRevocationLog
from gateway.adapters.redis.channels.envelope import decode_payload
from gateway.adapters.redis.channels.history import HistoryReader
from gateway.adapters.redis.keys import Keys
from gateway.configuration import load
from gateway.core.addresses import bucket_of, client_address
from gateway.core.centrifuge.census import _read as _read_client
from gateway.core.revocations import Revocations
from gateway.core.signals import Signals
from gateway.core.tokens import KeyRing
from gateway.domain.errors import (
    Denied,
    InvalidRequest,
    InvalidToken,
    Unavailable,
)
from gateway.domain.history import HistoryQuery
from gateway.domain.messages import Position
from gateway.domain.principal import Principal
from gateway.protocols.centrifuge.json import JSON
from gateway.protocols.centrifuge.results import Join
from gateway.protocols.credentials import check_csrf, check_origin, find_token, subprotocols
from gateway.protocols.server_api.reading import METHODS, read
from gateway.protocols.server_api.requests import BadRequest, NotSupported
from gateway.protocols.upgrade import accept_upgrade, parse_upgrade
from gateway.settings import Settings
from gateway.sockets.door import start_of
from gateway.sockets.events import continued
from gateway.sockets.first import is_plain_handshake
from gateway.sockets.http import LimitedHttp
from gateway.sockets.reader import MessageReader
from gateway.web.bodies import json_object, read_fields
from gateway.web.publish import _drafts

MESSAGE_BYTES_MAX = 65_536
HEAD_BYTES_MAX = 32_768
VALUE_BYTES_MAX = 8_000  # one header, one URL
BODY_BYTES_MAX = 1_048_576


def text(data: bytes) -> str:
    return data.decode(errors="replace")


def head_value(data: bytes) -> str:
    return data.decode("latin-1").replace("\r", " ").replace("\n", " ")


# HTTP and the handshake.


class _Transport(asyncio.Transport):
    def write(self, data: bytes | bytearray | memoryview) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...
    def is_closing(self) -> bool:
        return False

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def get_write_buffer_size(self) -> int:
        return 0

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None: ...


async def _answer(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


_CONFIG = uvicorn.Config(_answer, http=LimitedHttp, ws="none", lifespan="off", log_config=None)
_CONFIG.load()


def http(data: bytes) -> None:
    async def read() -> None:
        connection = LimitedHttp(_CONFIG, ServerState(), {})
        connection.connection_made(_Transport())
        half = len(data) // 2
        connection.data_received(data[:half])
        connection.data_received(data[half:])
        await asyncio.sleep(0)
        connection.connection_lost(None)
        await asyncio.sleep(0)

    asyncio.run(read())


def handshake(data: bytes) -> None:
    upgrade = parse_upgrade(data)
    accept_upgrade(upgrade, None)


def frames(data: bytes) -> None:
    reader = MessageReader(MESSAGE_BYTES_MAX)
    half = len(data) // 2
    reader.read(data[:half])
    reader.read(data[half:])


def credentials(data: bytes) -> None:
    names = ("authorization", "sec-websocket-protocol", "cookie", "origin", "host", "x-csrf-token")
    values = [head_value(line) for line in data.split(b"\n")]
    headers = {name: value for name, value in zip(names, values, strict=False) if value}
    subprotocols(headers)
    for check in (
        lambda: find_token(headers, {}, query_allowed=True, allowed_origins={"https://a.example"}),
        lambda: check_origin(headers, set(), required=True),
        lambda: check_csrf(headers),
    ):
        try:
            check()
        except (InvalidToken, InvalidRequest, Denied):
            continue


def joining(data: bytes) -> None:
    query = parse_qs(head_value(data), keep_blank_values=True, max_num_fields=None)
    start_of(query, 100)


def coming_back(data: bytes) -> None:
    start_of(continued({}, {"last-event-id": head_value(data)}), 100)


def forwarded(data: bytes) -> None:
    address = client_address("127.0.0.1", head_value(data), [ip_network("127.0.0.0/8")])
    bucket_of(address)


# Bodies and frames.


def _request(body: bytes, media: str) -> Request:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", media.encode())]
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


def form(data: bytes) -> None:
    asyncio.run(read_fields(_request(data, "application/x-www-form-urlencoded")))


def batch(data: bytes) -> None:
    _drafts(json_object(_request(data, "application/json"), data), "key", 1000)


def server_api(data: bytes) -> None:
    try:
        params = orjson.loads(data)
    except orjson.JSONDecodeError:
        return
    for method in sorted(METHODS):
        try:
            read(method, params)
        except (BadRequest, NotSupported):
            continue


# What others wrote: tokens, keys, Redis, the operator.


def keys(data: bytes) -> None:
    KeyRing("login.example").update(data)


def payload(data: bytes) -> None:
    _checked(decode_payload("room", data, MESSAGE_BYTES_MAX).position)


def signal(data: bytes) -> None:
    """One that could not be handled is logged; one that was taken must not do harm later."""
    broker = MemoryBroker(idempotency_seconds=60)
    signals = Signals(broker)
    revocations = Revocations(MemoryRevocationLog(), None, signals, lambda revocation: None)
    signals.received(data)
    revocations.check(Principal("alice", "t", 1, 2, session_id="s"))
    revocations._forget_expired(3.0)


def client(data: bytes) -> None:
    """A join as it would be sent on: one line of JSON."""
    join = Join(_read_client(orjson.loads(data)))
    frame = JSON.push("room", join)
    assert b"\n" not in frame
    try:
        orjson.loads(frame)
    except ValueError as error:
        raise AssertionError(frame) from error


def first(data: bytes) -> None:
    """What goes past the HTTP parser must not need one."""
    if is_plain_handshake(data):
        parse_upgrade(data)


_HISTORY = HistoryReader(
    cast(Any, SimpleNamespace(generation="3")),
    Keys("gateway"),
    data_bytes_max=MESSAGE_BYTES_MAX,
)


def kept(data: bytes) -> None:
    """The state of a channel, field by field, and one entry of its stream."""
    state, _, body = data.partition(b"\n")
    epoch, offset, generation, name, *_ = [*state.split(b" "), b"", b"", b""]
    reply = [[epoch, offset, generation], [[b"1-0", [name, body]], [b"1-1", [name, body]]]]
    history = _HISTORY._read("room", HistoryQuery(None, 2), reply)
    if isinstance(history, Unavailable):
        raise history
    for position in (history.top, *(message.position for message in history.messages)):
        _checked(position)


def _checked(position: Position) -> None:
    """Or nobody could come back to it."""
    try:
        Position.parse(str(position))
    except InvalidRequest as error:
        raise AssertionError(position) from error


_SETTINGS = sorted(Settings.model_fields)


def setting(data: bytes) -> None:
    """One of them, in the environment; the first two bytes choose which."""
    name = _SETTINGS[int.from_bytes(data[:2]) % len(_SETTINGS)]
    value = text(data[2:]).replace("\0", "")
    with patch.dict(os.environ, {f"GATEWAY_{name.upper()}": value}, clear=True):
        load(env_file=None)


@functools.cache
def _folder() -> Path:
    folder = tempfile.TemporaryDirectory()
    _folders.append(folder)  # it goes when the process does
    return Path(folder.name)


_folders: list[Any] = []


def configuration(data: bytes) -> None:
    file = _folder() / "gateway.toml"
    file.write_bytes(data)
    with patch.dict(os.environ, {"GATEWAY_CONFIG": str(file)}, clear=True):
        load(env_file=None).make_namespaces()
