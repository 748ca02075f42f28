"""Sockets that come back: each must get what it has missed, byte for byte, and nothing else."""

import itertools
import select
import socket
import time
from collections.abc import Sequence
from contextlib import closing

from gateway.bench.checker import Misdelivered
from gateway.bench.fanout import Span
from gateway.bench.receivers import (
    BUFFER_BYTES,
    HANDSHAKE_SECONDS_MAX,
    STALL_SECONDS_MAX,
    close_now,
)
from gateway.protocols.frames import close_frame

_HEAD_END = b"\r\n\r\n"
# Masked with zeros, which leaves the code as it is.
_CLOSE = b"\x88\x82" + bytes(4) + (1000).to_bytes(2, "big")
_GOODBYE = close_frame(1000, "")
_SHOWN_BYTES = 80
_EVENTS_MAX = 1024


class Visitor:
    """A socket that comes, receives exactly what is due to it, takes its leave and is gone."""

    def __init__(self, address: tuple[str, int], handshake: bytes, due: bytes) -> None:
        self.socket = socket.create_connection(address, HANDSHAKE_SECONDS_MAX)
        self.socket.setblocking(False)
        self.socket.sendall(handshake)
        self.is_leaving = False
        self._due = due
        self._answer = b""

    def read(self) -> bool:
        """Read what is there; return whether that was all: what is due, or the server's goodbye.

        Raises `Misdelivered` for anything else, and `ConnectionError` for a refused handshake.
        """
        chunk = self.socket.recv(BUFFER_BYTES)
        self._answer += chunk
        return self._take_goodbye(chunk) if self.is_leaving else self._take_due(chunk)

    def leave(self) -> None:
        """Close as a client does; until the server has answered, more could still come."""
        self.socket.sendall(_CLOSE)
        self.is_leaving = True
        self._answer = b""

    def _take_due(self, chunk: bytes) -> bool:
        head, end, received = self._answer.partition(_HEAD_END)
        if not end and chunk:
            return False
        if not end or not head.startswith(b"HTTP/1.1 101 "):
            line = head.partition(b"\r\n")[0].decode(errors="replace") or "nothing"
            raise ConnectionError(f"a handshake was answered with: {line}")
        if not chunk:
            count = f"{len(received)} of {len(self._due)} bytes"
            raise Misdelivered(f"a socket that came back was closed by the server after {count}")
        if not self._due.startswith(received):
            raise Misdelivered(f"a socket that came back {_difference(self._due, received)}")
        return len(received) == len(self._due)

    def _take_goodbye(self, chunk: bytes) -> bool:
        if chunk:
            return False
        if self._answer != _GOODBYE:
            shown = self._answer[:_SHOWN_BYTES]
            raise Misdelivered(f"a socket that had got everything was sent more: {shown!r}")
        return True


def in_turn(
    address: tuple[str, int],
    handshakes: Sequence[bytes],
    due: bytes,
    *,
    in_flight: int,
    seconds: float,
) -> Span:
    """Let so many come, get what is due and leave, and others come for them, for so long."""
    again = itertools.cycle(handshakes)
    gone = 0
    with closing(_Visitors(address, due)) as visitors:
        started = now = moved = time.monotonic()
        for handshake in itertools.islice(again, in_flight):
            visitors.come(handshake)
        while visitors:
            for visitor in visitors.ready(now - moved):
                moved = now
                if not visitor.is_leaving:
                    visitor.leave()
                    continue
                visitors.forget(visitor)
                gone += 1
                if now < started + seconds:
                    visitors.come(next(again))
            now = time.monotonic()
    return Span(gone, started, now)


def at_once(address: tuple[str, int], handshakes: Sequence[bytes], due: bytes) -> Span:
    """Let all of them come, and stay until the last has got what is due."""
    left = len(handshakes)
    with closing(_Visitors(address, due)) as visitors:
        started = now = moved = time.monotonic()
        for handshake in handshakes:
            visitors.come(handshake)
        while left:
            if ready := visitors.ready(now - moved):
                left -= len(ready)
                moved = now
            now = time.monotonic()
        visitors.ready(0.0, timeout_seconds=0.02)  # raises if more comes to anybody
    return Span(len(handshakes), started, now)


class _Visitors:
    """Those who are there, by descriptor."""

    def __init__(self, address: tuple[str, int], due: bytes) -> None:
        self._address = address
        self._due = due
        self._epoll = select.epoll()
        self._visitors: dict[int, Visitor] = {}

    def __len__(self) -> int:
        return len(self._visitors)

    def come(self, handshake: bytes) -> None:
        visitor = Visitor(self._address, handshake, self._due)
        self._visitors[visitor.socket.fileno()] = visitor
        self._epoll.register(visitor.socket, select.EPOLLIN)

    def ready(self, stalled_seconds: float, *, timeout_seconds: float = 1.0) -> list[Visitor]:
        """Those who have got now what they were waiting for."""
        if stalled_seconds > STALL_SECONDS_MAX:
            raise Misdelivered(
                f"{len(self)} sockets that came back wait for what is due, or for a goodbye"
            )
        events = self._epoll.poll(timeout_seconds, _EVENTS_MAX)
        visitors = [self._visitors[descriptor] for descriptor, _ in events]
        return [visitor for visitor in visitors if visitor.read()]

    def forget(self, visitor: Visitor) -> None:
        self._epoll.unregister(visitor.socket)
        del self._visitors[visitor.socket.fileno()]
        close_now(visitor.socket)

    def close(self) -> None:
        self._epoll.close()
        for visitor in self._visitors.values():
            close_now(visitor.socket)


def _difference(due: bytes, received: bytes) -> str:
    pairs = zip(due, received, strict=False)
    at = next((at for at, (one, other) in enumerate(pairs) if one != other), len(due))
    start = max(0, at - _SHOWN_BYTES // 2)
    expected, got = (text[start : start + _SHOWN_BYTES] for text in (due, received))
    return f"got something else from byte {at} on: expected {expected!r}, got {got!r}"
