"""Many sockets of one process: opened with few handshakes at a time, then read and checked."""

import contextlib
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Sequence

from gateway.bench.checker import Checker, Misdelivered
from gateway.bench.stream import Stream

BUFFER_BYTES = 1 << 16
HANDSHAKE_SECONDS_MAX = 20.0
STALL_SECONDS_MAX = 10.0

_EVENTS_MAX = 1024
_HEAD_END = b"\r\n\r\n"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Receivers:
    """Sockets in an epoll set, each with its place in its stream.

    The buffer is one for all, and nothing is kept of what was received but how much it was.
    """

    def __init__(self, streams: Sequence[Stream]) -> None:
        # A chunk never exceeds the part of the ring that it is compared with.
        chunk_bytes = min(len(s.ring) - s.ring_bytes for s in streams)
        self._buffer = bytearray(min(BUFFER_BYTES, chunk_bytes))
        self.checker = Checker(streams, self._buffer, self._answer)
        self.sockets: list[socket.socket] = []
        self.epoll = select.epoll()
        # By descriptor: whose it is, how it is read, and what else is waited for.
        self._index: list[int] = []
        self._recv_into: list[Callable[[bytearray], int]] = []
        self._others: dict[int, Callable[[], None]] = {}

    def watch(self, descriptor: int, is_readable: Callable[[], None]) -> None:
        """Call something when another descriptor is readable."""
        self._others[descriptor] = is_readable
        self.epoll.register(descriptor, select.EPOLLIN)

    def unwatch(self, descriptor: int) -> None:
        del self._others[descriptor]
        self.epoll.unregister(descriptor)

    def receive(self, timeout_seconds: float) -> None:
        """Read and check whatever is there, or comes within the time."""
        for descriptor, _ in self.epoll.poll(timeout_seconds, _EVENTS_MAX):
            other = self._others.get(descriptor)
            if other is None:
                self.receive_one(self._index[descriptor])
            else:
                other()

    def ready(self) -> list[int]:
        """The indexes of the sockets that have something to read now."""
        return [
            self._index[descriptor]
            for descriptor, _ in self.epoll.poll(0, _EVENTS_MAX)
            if descriptor not in self._others
        ]

    def receive_one(self, index: int) -> None:
        try:
            count = self._recv_into[index](self._buffer)
        except OSError as error:
            after = f"after {self.checker.messages(index)} messages"
            raise Misdelivered(f"socket {index} broke {after}: {error.strerror}") from None
        self.checker.take(index, count)

    def receive_until(self, messages: int) -> None:
        """Read until everybody has so many messages, and then make sure that nothing follows."""
        deadline = time.monotonic() + STALL_SECONDS_MAX
        while self.checker.done < messages and time.monotonic() < deadline:
            self.receive(0.1)
        self.receive(0.02)
        self.checker.require(messages)

    def open(self, address: tuple[str, int], handshakes: Sequence[bytes], in_flight: int) -> None:
        """Open a socket for every handshake (an empty one needs none); raises `ConnectionError`.

        At most ``in_flight`` of them wait for their answer at any time.
        """
        heads: dict[int, bytes] = {}
        left = iter(handshakes)
        deadline = time.monotonic() + HANDSHAKE_SECONDS_MAX
        while True:
            while len(heads) < in_flight and (handshake := next(left, None)) is not None:
                descriptor = self._connect(address, handshake)
                if handshake:
                    heads[descriptor] = b""
                deadline = time.monotonic() + HANDSHAKE_SECONDS_MAX
            if not heads:
                return
            for descriptor, _ in self.epoll.poll(1.0, _EVENTS_MAX):
                if descriptor in heads:
                    self._take_head(descriptor, heads)
            if time.monotonic() > deadline:
                raise ConnectionError(f"{len(heads)} handshakes were not answered in time")

    def close(self) -> None:
        self.epoll.close()
        for connection in self.sockets:
            close_now(connection)
        self.sockets.clear()

    def _connect(self, address: tuple[str, int], handshake: bytes) -> int:
        connection = socket.create_connection(address, HANDSHAKE_SECONDS_MAX)
        connection.setblocking(False)
        if handshake:
            connection.sendall(handshake)
        descriptor = connection.fileno()
        self._index.extend([-1] * (descriptor + 1 - len(self._index)))
        self._index[descriptor] = len(self.sockets)
        self.sockets.append(connection)
        self._recv_into.append(connection.recv_into)
        self.epoll.register(descriptor, select.EPOLLIN)
        return descriptor

    def _take_head(self, descriptor: int, heads: dict[int, bytes]) -> None:
        chunk = os.read(descriptor, BUFFER_BYTES)
        head, end, rest = (heads[descriptor] + chunk).partition(_HEAD_END)
        if not chunk or (end and not head.startswith(b"HTTP/1.1 101 ")):
            line = head.partition(b"\r\n")[0].decode(errors="replace") or "nothing"
            raise ConnectionError(f"a handshake was answered with: {line}")
        if not end:
            heads[descriptor] = head
            return
        del heads[descriptor]
        if rest:
            # Nothing was published yet, so this is a refusal; the checker puts it into words.
            self._buffer[: len(rest)] = rest
            self.checker.take(self._index[descriptor], len(rest))

    def _answer(self, index: int, frame: bytes) -> None:
        self.sockets[index].send(frame)


def close_now(connection: socket.socket) -> None:
    """Close without the minute in which the kernel keeps the port."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    connection.close()
