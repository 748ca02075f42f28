"""The WebSocket opening handshake, server side (RFC 6455 section 4.2), without I/O."""

import base64
import binascii
import hashlib
from typing import NamedTuple
from urllib.parse import parse_qs, unquote

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
    request_line, *lines = head.rstrip(b"\r\n").split(b"\r\n")
    method, _, rest = request_line.decode("latin-1").partition(" ")
    if method != "GET":
        raise BadUpgrade(405, "a WebSocket handshake is a GET request", (("Allow", "GET"),))
    path, _, query = rest.rpartition(" ")[0].partition("?")

    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.decode("latin-1").partition(":")
        name, value = name.strip().lower(), value.strip()
        # RFC 9110 section 5.3: a repeated header is the same as one list.
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    try:
        fields = parse_qs(query, keep_blank_values=True, max_num_fields=_QUERY_FIELDS_MAX)
    except ValueError:
        raise BadUpgrade(400, f"a URL has at most {_QUERY_FIELDS_MAX} parameters") from None
    return Upgrade(unquote(path), fields, headers)


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
