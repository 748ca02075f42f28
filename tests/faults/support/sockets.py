"""One WebSocket of a listener: cheap enough for hundreds of them in one loop."""

import asyncio
import base64
import os
import ssl
import struct
from collections.abc import Callable
from typing import cast

_HEAD_MAX = 65_536
_TEXT, _CLOSE, _PING = 1, 8, 9
_GONE = 1006  # what the standard calls an end without a close frame


class Refused(Exception):
    """There is no WebSocket: nobody answered, or not with a 101."""


class ListeningSocket(asyncio.Protocol):
    """Hands every text to ``take``, answers pings and closes; ``ended`` tells code and reason."""

    def __init__(self, request: bytes, take: Callable[[bytes], None], now: Callable[[], float]):
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[float] = loop.create_future()
        self.ended: asyncio.Future[tuple[int, str]] = loop.create_future()
        self.heard = now()  # when anything last came, pings included
        self._request = request
        self._take = take
        self._now = now
        self._data = bytearray()
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)

    def abort(self) -> None:
        """Vanish: no close frame, and a reset where the kernel still has something to send."""
        self._transport.abort()

    def say_goodbye(self) -> None:
        self._transport.write(_masked(_CLOSE, struct.pack("!H", 1000)))

    def pause(self) -> None:
        self._transport.pause_reading()

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self.heard = self._now()
        self._data += data
        if not self.opened.done() and not self._read_head():
            return
        start = 0
        while (frame := _frame_at(self._data, start)) is not None:
            opcode, first, start = frame
            payload = bytes(self._data[first:start])
            if opcode == _TEXT:
                self._take(payload)
            elif opcode == _PING:
                self._transport.write(_masked(10, payload))
            elif opcode == _CLOSE:
                self._end(struct.unpack("!H", payload[:2])[0], payload[2:].decode())
                self._transport.write(_masked(_CLOSE, payload[:2]))
                self._transport.close()
                break
        del self._data[:start]

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(Refused(str(exc) if exc else "closed without an answer"))
            self.opened.exception()  # whoever waited may have given up
        self._end(_GONE, str(exc) if exc else "")

    def _end(self, code: int, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_result((code, reason))

    def _read_head(self) -> bool:
        head, end, _ = self._data.partition(b"\r\n\r\n")
        if not end:
            if len(self._data) > _HEAD_MAX:
                self._transport.abort()
            return False
        if not head.startswith(b"HTTP/1.1 101 "):
            line = head.partition(b"\r\n")[0].decode(errors="replace")
            self.opened.set_exception(Refused(line))
            self.opened.exception()
            self._transport.abort()
            return False
        del self._data[: len(head) + 4]
        self.opened.set_result(self._now())
        return True


async def open_socket(
    port: int,
    path: str,
    token: str,
    take: Callable[[bytes], None],
    *,
    now: Callable[[], float],
    timeout_seconds: float,
    tls: ssl.SSLContext | None = None,
) -> tuple[ListeningSocket, float]:
    """Connect; return the socket and when its 101 came. Raises `Refused`."""
    request = (
        f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer {token}\r\n"
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n\r\n"
    ).encode()
    socket: ListeningSocket | None = None
    try:
        async with asyncio.timeout(timeout_seconds):
            _, socket = await asyncio.get_running_loop().create_connection(
                lambda: ListeningSocket(request, take, now),
                "127.0.0.1",
                port,
                ssl=tls,
                server_hostname="localhost" if tls else None,
            )
            # Shielded, or giving up would cancel the future under the protocol's hands.
            return socket, await asyncio.shield(socket.opened)
    except (OSError, TimeoutError) as error:
        if socket is not None:
            if socket.opened.done() and socket.opened.exception() is None:
                # It came while this loop was too busy to look: what stood behind the 101 has been
                # taken, and would be missing in the log of a socket that never was.
                return socket, socket.opened.result()
            socket.abort()
        raise Refused(str(error) or "no answer in time") from None
    except asyncio.CancelledError:
        if socket is not None:
            socket.abort()
        raise


def _frame_at(data: bytearray, start: int) -> tuple[int, int, int] | None:
    """Opcode, begin and end of the payload of a server's frame; None if it is not whole."""
    if len(data) < start + 2:
        return None
    length, first = data[start + 1] & 0x7F, start + 2
    if length >= 126:
        size = 2 if length == 126 else 8
        if len(data) < first + size:
            return None
        length, first = int.from_bytes(data[first : first + size], "big"), first + size
    if len(data) < first + length:
        return None
    return data[start] & 0x0F, first, first + length


def _masked(opcode: int, payload: bytes) -> bytes:
    """A client's short frame; the mask is zero, so the payload stays as it is."""
    return bytes((0x80 | opcode, 0x80 | len(payload))) + bytes(4) + payload
