"""The WebSocket opening handshake, server side (RFC 6455 section 4.2), without I/O."""

import base64
import binascii
import hashlib
from typing import NamedTuple
from urllib.parse import unquote, unquote_plus

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_QUERY_FIELDS_MAX = 50


class BadUpgrade(Exception):
    """The request is no WebSocket handshake; answered in HTTP, because there is no socket yet."""

    def __init__(self, status: int, detail: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers


class Upgrade(NamedTuple):
    """A request to open a WebSocket. ``path`` is percent-decoded; header names are lower case."""

    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]


def parse_upgrade(head: bytes) -> Upgrade:
    """Read a request head that an HTTP parser has accepted already; raises `BadUpgrade`."""
    request_line, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, _, rest = request_line.partition(" ")
    if method != "GET":
        raise BadUpgrade(405, "a WebSocket handshake is a GET request", (("Allow", "GET"),))
    path, _, query = rest.rpartition(" ")[0].partition("?")

    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip(" \t")
        # RFC 9110 section 5.3: a repeated header is the same as one list.
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    path = unquote(path) if "%" in path else path
    return Upgrade(path, _fields(query), headers)


def _fields(query: str) -> dict[str, list[str]]:
    """As `urllib.parse.parse_qs` does it with ``keep_blank_values``, at a third of the cost."""
    parts = query.split("&")
    if len(parts) > _QUERY_FIELDS_MAX:
        raise BadUpgrade(400, f"a URL has at most {_QUERY_FIELDS_MAX} parameters")
    fields: dict[str, list[str]] = {}
    for part in parts:
        if part:
            name, _, value = part.partition("=")
            fields.setdefault(_decoded(name), []).append(_decoded(value))
    return fields


def _decoded(text: str) -> str:
    # Tokens and plain names have nothing to decode, and finding that out is cheaper.
    return unquote_plus(text) if "%" in text or "+" in text else text


def accept_upgrade(
    upgrade: Upgrade, subprotocol: str | None, extensions: str | None = None
) -> bytes:
    """Return the 101 response; raises `BadUpgrade` when the handshake is not a valid one."""
    headers = upgrade.headers
    if headers.get("sec-websocket-version") != "13":
        raise BadUpgrade(
            426, "this server speaks WebSocket version 13", (("Sec-WebSocket-Version", "13"),)
        )
    key = headers.get("sec-websocket-key", "")
    try:
        valid = len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        valid = False
    if not valid:
        raise BadUpgrade(400, "Sec-WebSocket-Key is 16 bytes in base64")
    accept = base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest())
    chosen = f"Sec-WebSocket-Protocol: {subprotocol}\r\n".encode() if subprotocol else b""
    if extensions:
        chosen += f"Sec-WebSocket-Extensions: {extensions}\r\n".encode()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n" + chosen + b"\r\n"
    )
