"""Many channels with one socket each, published into Redis and not through the server.

Both servers that are compared then do nothing but deliver, and neither pays for the publishing.
A fixed number of messages is under way at any time, going round the channels.
"""

import socket
import time
from collections.abc import Callable

import hiredis

from gateway.bench.fanout import Span
from gateway.bench.receivers import STALL_SECONDS_MAX, Receivers
from gateway.bench.stream import ROW_RING, Envelopes, command, data_of, position_command
from gateway.bench.target import Kind, RedisAddress, Target

_ANSWERS_BYTES = 1 << 16

Commands = Callable[[int, int], bytes]
"""The PUBLISH of a socket's nth message."""


class RedisConnection:
    """Commands out, answers counted; what Redis refuses is an error."""

    def __init__(self, address: RedisAddress) -> None:
        self.socket = socket.create_connection(("127.0.0.1", address.port), 5)
        self._reader = hiredis.Reader()
        self.ask(command("AUTH", address.password))

    def ask(self, *commands: bytes) -> None:
        """Send commands and wait for their answers."""
        self.socket.sendall(b"".join(commands))
        answered = 0
        while answered < len(commands):
            answered += self.read_answers()

    def read_answers(self) -> int:
        """Read what is there; return how many answers that were."""
        data = self.socket.recv(_ANSWERS_BYTES)
        if not data:
            raise ConnectionError("Redis closed the connection")
        self._reader.feed(data)
        count = 0
        while (answer := self._reader.gets()) is not False:
            self.check(answer)
            count += 1
        return count

    def check(self, answer: object) -> None:
        if isinstance(answer, hiredis.ReplyError):
            raise ConnectionError(f"Redis answered: {answer}")

    def drop_answers(self) -> None:
        self.read_answers()

    def close(self) -> None:
        self.socket.close()


def commands_of(target: Target, numbers: range) -> Commands:
    if target.kind is Kind.SEED:
        plain = [
            [command("PUBLISH", target.channel_of(n), data_of(i)) for i in range(ROW_RING)]
            for n in numbers
        ]
        return lambda index, message: plain[index][message % ROW_RING]
    assert target.redis is not None
    prefix = target.redis.prefix
    envelopes = [Envelopes(prefix, target.channel_of(n), ROW_RING) for n in numbers]
    return lambda index, message: envelopes[index].command(message)


def prepare(target: Target, numbers: range) -> None:
    """Tell Redis at which position the gateway's channels stand, before anybody subscribes."""
    if target.kind is Kind.GATEWAY and target.redis is not None:
        redis, prefix = RedisConnection(target.redis), target.redis.prefix
        redis.ask(
            *(position_command(prefix, name) for name in set(map(target.channel_of, numbers)))
        )
        redis.close()


def run_row(
    receivers: Receivers,
    redis: RedisConnection,
    commands: Commands,
    *,
    seconds: float,
    outstanding: int,
) -> Span:
    """Keep messages under way for so long, and wait until all have arrived."""
    checker = receivers.checker
    sockets = len(receivers.sockets)
    # A round is always finished, so that all sockets have got the same number.
    base = delivered = checker.delivered
    published = base
    receivers.watch(redis.socket.fileno(), redis.drop_answers)
    started = now = moved = time.monotonic()
    while now < started + seconds or published % sockets or delivered < published:
        room = outstanding - (published - delivered)
        if now >= started + seconds:
            room = min(room, -published % sockets)
        if room > 0:
            numbers = range(published, published + room)
            redis.socket.sendall(b"".join(commands(n % sockets, n // sockets) for n in numbers))
            published += room
        receivers.receive(1.0)
        before, delivered = delivered, checker.delivered
        now = time.monotonic()
        if delivered > before:
            moved = now
        elif now > moved + STALL_SECONDS_MAX:
            break
    receivers.unwatch(redis.socket.fileno())
    receivers.receive_until(published // sockets)
    return Span(delivered - base, started, now)
