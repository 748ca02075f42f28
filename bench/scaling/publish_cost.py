"""What a stored message costs Redis, by the number of replicas that listen to its channel.

The listeners are bare connections that subscribe and read: for Redis a replica is one of these.
So many more of them can be had than gateways fit on one machine.
"""

import select
import socket
from collections.abc import Callable, Iterator
from statistics import linear_regression

import hiredis

from bench.scaling.redis_process import HOST, RedisProcess
from bench.scaling.stage import Stage
from gateway.adapters.redis.keys import Keys
from gateway.bench.figures import Figure
from gateway.bench.kept import KEPT, SCRIPT, store_command
from gateway.bench.stream import command

_CHANNEL = "cost"
_PIPELINE = 100
_DRAIN_EACH = 50
_BUFFER_BYTES = 1 << 20


def publish_cost(stage: Stage) -> Iterator[Figure]:
    """One message at a time, and a hundred in a pipeline, as replicas under load send them."""
    with RedisProcess() as redis:
        publisher = _Connection(redis)
        publisher.ask(command("SCRIPT", "LOAD", SCRIPT))
        keys = Keys(redis.address.prefix)
        message = store_command(redis.address.prefix, _CHANNEL, 0)
        publisher.ask(message * 2 * KEPT, count=2 * KEPT)
        yield _memory(redis, keys)
        for size, suffix, words in ((1, "", "one at a time"), (_PIPELINE, "-batch", "pipelined")):
            points: list[tuple[int, float]] = []
            for count in stage.plan.subscribers:
                with _Subscribers(redis, keys.topic(_CHANNEL), count) as subscribers:
                    rounds = stage.plan.publishes // size
                    cost = _cost(redis, publisher, message, size, rounds, subscribers)
                stage.say(f"  {count} subscribed, {words}: {cost:.1f} µs per message")
                points.append((count, cost))
                title = f"Redis CPU per stored message, {count} subscribed, {words}"
                yield Figure(f"publish-{count}{suffix}", title, cost, "µs")
            slope, base = linear_regression(*zip(*points, strict=True))
            title = f"  fitted: a message to nobody, {words}"
            yield Figure(f"publish-base{suffix}", title, max(base, 0.0), "µs")
            title = f"  fitted: each subscribed replica, {words}"
            yield Figure(f"publish-replica{suffix}", title, max(slope, 0.0), "µs")
        publisher.close()


def _cost(
    redis: RedisProcess,
    publisher: "_Connection",
    message: bytes,
    size: int,
    rounds: int,
    subscribers: "_Subscribers",
) -> float:
    """Microseconds of Redis for each message, so many in a pipeline."""
    piece = message * size
    before = redis.cpu_seconds()
    for nth in range(rounds):
        publisher.ask(piece, count=size)
        if nth % max(1, _DRAIN_EACH // size) == 0:
            subscribers.drain()
    subscribers.drain()
    return (redis.cpu_seconds() - before) * 1e6 / (rounds * size)


def _memory(redis: RedisProcess, keys: Keys) -> Figure:
    """Of a channel that is full: its messages, and where it stands."""
    names = keys.stream(_CHANNEL), keys.state(_CHANNEL)
    used = sum(int(redis.client.memory_usage(name, samples=0) or 0) for name in names)
    title = f"Redis memory of a channel that keeps {KEPT} messages"
    return Figure("kept-memory", title, used / 1000, "KB")


class _Connection:
    def __init__(self, redis: RedisProcess) -> None:
        self.socket = socket.create_connection((HOST, redis.address.port), 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = hiredis.Reader()
        self.ask(command("AUTH", redis.address.password))

    def ask(self, commands: bytes, *, count: int = 1) -> None:
        """Send them, and wait for as many answers."""
        self.socket.sendall(commands)
        answered = 0
        while answered < count:
            self._reader.feed(self.socket.recv(1 << 16))
            while (answer := self._reader.gets()) is not False:
                if isinstance(answer, hiredis.ReplyError):
                    raise ConnectionError(f"Redis answered: {answer}")
                answered += 1

    def close(self) -> None:
        self.socket.close()


class _Subscribers:
    """Connections that hear the channel and throw away what they hear."""

    def __init__(self, redis: RedisProcess, topic: str, count: int) -> None:
        self._connections = [_Connection(redis) for _ in range(count)]
        self._by_descriptor: dict[int, Callable[[bytearray], int]] = {}
        self._epoll = select.epoll()
        self._buffer = bytearray(_BUFFER_BYTES)
        for connection in self._connections:
            connection.ask(command("SUBSCRIBE", topic))
            connection.socket.setblocking(False)
            self._by_descriptor[connection.socket.fileno()] = connection.socket.recv_into
            self._epoll.register(connection.socket, select.EPOLLIN)

    def __enter__(self) -> "_Subscribers":
        return self

    def __exit__(self, *_: object) -> None:
        self._epoll.close()
        for connection in self._connections:
            connection.close()

    def drain(self) -> None:
        while events := self._epoll.poll(0):
            for descriptor, _ in events:
                self._by_descriptor[descriptor](self._buffer)
