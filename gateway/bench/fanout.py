"""One channel, many sockets: the next message goes out when all sockets have got an earlier one.

With ``k`` outstanding, message ``n + k`` is sent when the last socket has received message ``n``.
One process leads: it has the publisher. The others follow: they tell the leader how far their
sockets have come, through a pipe that all of them share.
"""

import os
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

from gateway.bench.checker import Misdelivered
from gateway.bench.receivers import STALL_SECONDS_MAX, Receivers
from gateway.bench.stream import Publications

_REPORT = struct.Struct("=IQ")  # written whole or not at all, being shorter than PIPE_BUF
_REPORTS_BYTES = _REPORT.size * 256


@dataclass(frozen=True, slots=True)
class Span:
    """From the first message to the last delivery, by the clock that all processes share."""

    deliveries: int
    started: float
    ended: float


class Publisher:
    """Writes what was encoded beforehand; the answers, where there are any, are thrown away."""

    def __init__(self, connection: socket.socket, publications: Publications) -> None:
        self._connection = connection
        self._publications = publications
        self.published = 0

    def publish(self, count: int) -> None:
        piece = self._publications.piece(self.published, count)
        try:
            sent = self._connection.send(piece)
        except BlockingIOError:
            sent = 0
        if sent != len(piece):
            raise Misdelivered("the server does not take what is published")
        self.published += count

    def drop_answers(self) -> None:
        if not self._connection.recv(1 << 16):
            raise Misdelivered("the publisher's connection was closed")


class Followers:
    """What the leader knows of the others' progress."""

    def __init__(self, descriptor: int, workers: range) -> None:
        self._descriptor = descriptor
        self._done = dict.fromkeys(workers, 0)

    def fileno(self) -> int:
        return self._descriptor

    def begin(self, done: int) -> None:
        self._done = dict.fromkeys(self._done, done)

    def read(self) -> None:
        for worker, done in _REPORT.iter_unpack(os.read(self._descriptor, _REPORTS_BYTES)):
            self._done[worker] = done

    def done(self, own: int) -> int:
        """How many messages everybody has."""
        return min(own, *self._done.values()) if self._done else own


def lead(
    receivers: Receivers,
    publisher: Publisher,
    followers: Followers,
    *,
    seconds: float,
    outstanding: int,
) -> Span:
    """Publish for so long, and wait until everything has arrived at every socket everywhere."""
    checker = receivers.checker
    delivered = checker.delivered
    base = done = publisher.published
    followers.begin(base)
    receivers.watch(followers.fileno(), followers.read)
    started = now = moved = time.monotonic()
    publisher.publish(outstanding)
    while now < started + seconds or done < publisher.published:
        receivers.receive(1.0)
        now = time.monotonic()
        before, done = done, followers.done(checker.done)
        if done > before:
            moved = now
            if now < started + seconds:
                publisher.publish(done + outstanding - publisher.published)
        elif now > moved + STALL_SECONDS_MAX:
            checker.require(publisher.published)
            raise Misdelivered(f"message {done} did not reach all sockets of another process")
    receivers.unwatch(followers.fileno())
    receivers.receive_until(publisher.published)
    return Span(checker.delivered - delivered, started, now)


def follow(
    receivers: Receivers, worker: int, pipe: int, finished: Callable[[], int | None]
) -> Span:
    """Receive and report until ``finished`` knows how many messages there were in all."""
    checker = receivers.checker
    delivered, reported = checker.delivered, checker.done
    started = time.monotonic()
    while (messages := finished()) is None:
        receivers.receive(1.0)
        if checker.done > reported:
            reported = checker.done
            os.write(pipe, _REPORT.pack(worker, reported))
    receivers.receive_until(messages)
    return Span(checker.delivered - delivered, started, time.monotonic())
