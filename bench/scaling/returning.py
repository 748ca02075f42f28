"""Listeners that come back: ``python -m bench.scaling.returning``.

A process that takes commands as JSON objects, one per line, and answers each with one line. Its
listeners do what a good client does: they remember the position of their last message, come
back with full jitter, wait as long as they are told to, and resume with ``since``. Each checks
that its messages follow each other without a hole and without a repetition.
"""

import contextlib
import errno
import heapq
import json
import os
import random
import select
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from bench.scaling.frames import CLOSE, PING, PONG, TEXT, client_frame, split_frames
from gateway.bench.receivers import close_now
from gateway.core.tokens import SigningKey, TokenIssuer

BACKOFF_SECONDS_MIN, BACKOFF_SECONDS_MAX = 1.0, 30.0

_HOST = "127.0.0.1"
_CHUNK_BYTES = 1 << 16
_EVENTS_MAX = 1024
_HEAD_END = b"\r\n\r\n"
_TOKEN_SECONDS = 3600
_WRONG_MAX = 5
_RETRY = b"retry_ms="


def channel_of(number: int, channels: int) -> str:
    return f"scale-{number % channels:06d}"


def jittered_seconds(attempt: int) -> float:
    """Anything up to a bound that doubles: a herd spreads itself, and does not return as one."""
    return random.uniform(0, min(BACKOFF_SECONDS_MAX, BACKOFF_SECONDS_MIN * 2**attempt))


class Listener:
    """One client, over all of its sockets."""

    __slots__ = (
        "asked_at",
        "attempts",
        "back_at",
        "buffer",
        "caught_up_at",
        "channel",
        "handshake_seconds",
        "is_live",
        "last",
        "lost_at",
        "may_leap",
        "number",
        "port",
        "socket",
        "token",
        "told_seconds",
        "turned_away",
    )

    def __init__(self, number: int, channel: str, token: str, port: int) -> None:
        self.number, self.channel, self.token, self.port = number, channel, token, port
        self.socket: socket.socket | None = None
        self.buffer = b""
        self.is_live = False
        self.may_leap = False
        self.last: tuple[str, int] | None = None  # epoch and offset
        self.asked_at = self.back_at = self.caught_up_at = self.lost_at = 0.0
        self.handshake_seconds = 0.0
        self.attempts = self.turned_away = 0
        self.told_seconds: float | None = None

    def request(self) -> bytes:
        since = f"&since={self.last[0]}:{self.last[1]}" if self.last else ""
        return (
            f"GET /ws/{self.channel}?token={self.token}{since} HTTP/1.1\r\n"
            f"Host: {_HOST}:{self.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ).encode()

    def take(self, value: Mapping[str, Any]) -> str:
        """Take one message or notice; return what is wrong with it, or ""."""
        if "data" in value:
            epoch, offset = value["epoch"], value["offset"]
            before, self.last = self.last, (epoch, offset)
            if before is not None and before != (epoch, offset - 1):
                return f"{self.channel}: {epoch}:{offset} came after {before[0]}:{before[1]}"
        elif value["type"] == "caught_up":
            self.caught_up_at = time.monotonic()
            if self.last is not None and self.last != (value["epoch"], value["offset"]):
                return f"{self.channel}: caught up at {value['offset']}, but stands at {self.last}"
        elif value["type"] == "gap":
            return self._leap(value)
        return ""

    def _leap(self, gap: Mapping[str, Any]) -> str:
        """Where Redis was started again, nobody can tell whether it has forgotten something."""
        (since, _, at), (epoch, _, offset) = (gap[end].partition(":") for end in ("since", "next"))
        if not self.may_leap or (since, int(at)) != self.last:
            return f"{self.channel}: a gap was announced: {gap}"
        self.may_leap, self.last = False, (epoch, int(offset) - 1)
        return ""

    def record(self) -> dict[str, float]:
        return {
            "back": self.back_at - self.lost_at,
            "caught_up": self.caught_up_at - self.lost_at,
            "handshake": self.handshake_seconds,
            "attempts": self.attempts,
            "turned_away": self.turned_away,
        }


class Herd:
    """Each public method is a command; its result is the answer."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._epoll.register(0, select.EPOLLIN)
        self._rest = b""
        self._listeners: list[Listener] = []
        self._by_descriptor: dict[int, Listener] = {}
        self._due: list[tuple[float, int]] = []  # when, and whose turn it is to connect
        self._ports: Sequence[int] = ()
        self._wrong: list[str] = []

    def run(self) -> None:
        """Until standard input ends."""
        while True:
            wait = self._due[0][0] - time.monotonic() if self._due else 1.0
            for descriptor, event in self._epoll.poll(max(0.0, wait), _EVENTS_MAX):
                if descriptor == 0:
                    if not self._obey():
                        return
                elif (listener := self._by_descriptor.get(descriptor)) is not None:
                    self._serve(listener, event)
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                self._connect(self._listeners[heapq.heappop(self._due)[1]])

    # Commands.

    def open(
        self, port: int, secret: str, first: int, count: int, channels: int, seconds: float
    ) -> None:
        """So many more listeners to one replica, their connects spread over some seconds."""
        issuer = TokenIssuer(
            SigningKey("1", secret.encode()),
            issuer="gateway",
            audience="gateway",
            lifetime_seconds_max=_TOKEN_SECONDS,
        )
        now = time.monotonic()
        for nth in range(count):
            number = first + nth
            token = issuer.issue(f"listener-{number}", lifetime_seconds=_TOKEN_SECONDS, roles=[])
            at = len(self._listeners)
            listener = Listener(at, channel_of(number, channels), token, port)
            heapq.heappush(self._due, (now + seconds * nth / count, at))
            self._listeners.append(listener)

    def redirect(self, ports: Sequence[int]) -> None:
        """Who is thrown off from now on comes back to one of these."""
        self._ports = ports

    def expect_leaps(self) -> None:
        """Everybody will be told of one gap, from where it stands."""
        for listener in self._listeners:
            listener.may_leap = True

    def state(self) -> dict[str, Any]:
        thrown = [each for each in self._listeners if each.lost_at]
        return {
            "live": sum(each.is_live for each in self._listeners),
            "lost": sum(each.attempts for each in self._listeners),
            "may_leap": sum(each.may_leap for each in self._listeners),
            "caught_up": sum(each.is_live and each.caught_up_at > each.lost_at for each in thrown),
            "wrong": self._wrong,
        }

    def behind(self, offsets: Mapping[str, int]) -> dict[str, Any]:
        """How many do not stand exactly at the last message of their channel."""
        stand = ((each.last[1] if each.last else 0, each.channel) for each in self._listeners)
        count = sum(at != offsets.get(channel, 0) for at, channel in stand)
        return {"behind": count, "wrong": self._wrong}

    def returns(self) -> dict[str, Any]:
        return {"returns": [each.record() for each in self._listeners if each.lost_at]}

    def _obey(self) -> bool:
        chunk = os.read(0, _CHUNK_BYTES)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            command = json.loads(line)
            answer = getattr(self, command.pop("do"))(**command) or {}
            print(json.dumps({**answer, "busy_seconds": time.process_time()}), flush=True)
        return bool(chunk)

    # Sockets.

    def _connect(self, listener: Listener) -> None:
        connection = socket.socket()
        connection.setblocking(False)
        listener.socket, listener.buffer, listener.told_seconds = connection, b"", None
        listener.asked_at = time.monotonic()
        descriptor = connection.fileno()
        self._by_descriptor[descriptor] = listener
        code = connection.connect_ex((_HOST, listener.port))
        self._epoll.register(descriptor, select.EPOLLOUT)
        if code not in (0, errno.EINPROGRESS):
            self._lose(listener)

    def _serve(self, listener: Listener, event: int) -> None:
        connection = listener.socket
        assert connection is not None
        try:
            if event & select.EPOLLOUT and not event & (select.EPOLLERR | select.EPOLLHUP):
                connection.sendall(listener.request())
                self._epoll.modify(connection, select.EPOLLIN)
                return
            chunk = connection.recv(_CHUNK_BYTES)
        except OSError:
            chunk = b""
        if not chunk:
            self._lose(listener)
            return
        listener.buffer += chunk
        if listener.is_live or self._is_opened(listener):
            self._take_frames(listener)

    def _is_opened(self, listener: Listener) -> bool:
        """A 101 alone does not say so: who is refused is accepted first, and then closed."""
        head, end, rest = listener.buffer.partition(_HEAD_END)
        if not end:
            return False
        if not head.startswith(b"HTTP/1.1 101 "):
            self._note(head.partition(b"\r\n")[0].decode(errors="replace"))
            self._lose(listener)
            return False
        listener.buffer, now = rest, time.monotonic()
        listener.is_live, listener.back_at = True, now
        listener.handshake_seconds = now - listener.asked_at
        return True

    def _take_frames(self, listener: Listener) -> None:
        frames, listener.buffer = split_frames(listener.buffer)
        for opcode, payload in frames:
            if opcode == TEXT:
                if wrong := listener.take(orjson.loads(payload)):
                    self._note(wrong)
            elif opcode == PING and listener.socket is not None:
                listener.socket.send(client_frame(PONG, payload))
            elif opcode == CLOSE:
                _, found, told = payload.partition(_RETRY)
                if found:
                    listener.told_seconds = int(told) / 1000
                    listener.turned_away += 1
                else:
                    self._note(f"closed: {payload[:2].hex()} {payload[2:].decode()}")
                self._lose(listener)
                return

    def _lose(self, listener: Listener) -> None:
        """It comes back when it was told to, or after a time of its own choice."""
        assert listener.socket is not None
        del self._by_descriptor[listener.socket.fileno()]
        with contextlib.suppress(OSError):
            self._epoll.unregister(listener.socket)
        close_now(listener.socket)
        now = time.monotonic()
        if self._ports and not listener.lost_at:
            listener.lost_at = now
        if self._ports:
            listener.port = random.choice(self._ports)
        wait = listener.told_seconds
        if wait is None:
            wait = jittered_seconds(listener.attempts)
        listener.attempts += 1
        listener.socket, listener.is_live = None, False
        heapq.heappush(self._due, (now + wait, listener.number))

    def _note(self, wrong: str) -> None:
        if len(self._wrong) < _WRONG_MAX:
            self._wrong.append(wrong)


if __name__ == "__main__":
    try:
        Herd().run()
    except KeyboardInterrupt:
        sys.exit(130)
