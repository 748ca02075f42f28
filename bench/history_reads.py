"""How many histories of 100 messages a replica reads from Redis: python bench/history_reads.py

Starts a redis-server of its own on a free port of the loopback. Readers ask one question after
another, each about a channel of its own, or all about the same one.
"""

import argparse
import asyncio
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from gateway.adapters.redis.channels.broker import RedisBroker
from gateway.adapters.redis.channels.history import HistoryReader
from gateway.adapters.redis.channels.publisher import Publisher
from gateway.adapters.redis.channels.subscriber import Subscriber
from gateway.adapters.redis.keys import Keys
from gateway.adapters.redis.places.connection import connect, place_at
from gateway.adapters.redis.places.pipe import Pipe
from gateway.domain.history import HistoryQuery
from gateway.domain.messages import Message, Publication
from gateway.domain.namespaces import Namespace, Namespaces
from gateway.ports.broker import Broker, Listener

_MESSAGES = 100
_QUERY = HistoryQuery(None, _MESSAGES)


class Connected(Listener):
    """Waits until the broker listens, and listens to nothing."""

    def __init__(self) -> None:
        self.event = asyncio.Event()

    def deliver(self, messages: Sequence[Message]) -> None:
        pass

    def signalled(self, data: bytes) -> None:
        pass

    def connected(self) -> None:
        self.event.set()


@contextmanager
def redis_server() -> Iterator[str]:
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("redis-server is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [program, "--bind", "127.0.0.1", "--port", str(port), "--save", ""]
    with tempfile.TemporaryDirectory() as directory:
        server = subprocess.Popen(command, cwd=directory, stdout=subprocess.DEVNULL)
        try:
            while not is_listening(port):
                time.sleep(0.01)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.terminate()
            server.wait()


def is_listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def make_broker(url: str) -> Broker:
    place, keys = place_at(url), Keys("bench")
    redis = connect(url, timeout_seconds=5, connections_max=5)
    publisher = Publisher(
        Pipe(place, name="bench", timeout_seconds=5),
        keys,
        Namespaces(Namespace(history_length=_MESSAGES), {}),
        position_seconds=3600,
        idempotency_seconds=60,
    )
    subscriber = Subscriber(
        place,
        redis,
        keys,
        replica="bench",
        timeout_seconds=5,
        ping_interval_seconds=1,
        ping_timeout_seconds=5,
        data_bytes_max=65_536,
    )
    pipe = Pipe(place, name="bench-history", timeout_seconds=5)
    return RedisBroker(
        redis, publisher, subscriber, HistoryReader(pipe, keys, data_bytes_max=65_536)
    )


@asynccontextmanager
async def running(broker: Broker) -> AsyncIterator[Broker]:
    listener = Connected()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(broker.run(listener))
        await listener.event.wait()
        yield broker
        task.cancel()
    await broker.close()


async def fill(broker: Broker, channels: int, data_bytes: int) -> None:
    data = b'"' + b"." * (data_bytes - 2) + b'"'
    for n in range(channels):
        await broker.publish(
            [
                Publication(f"room{n}", data, f"{n:016x}{i:08x}", "alice", time.time())
                for i in range(_MESSAGES)
            ]
        )


async def measure(broker: Broker, name: str, channels: Sequence[str], seconds: float) -> None:
    count = 0
    start, cpu = time.perf_counter(), time.process_time()

    async def read(channel: str) -> None:
        nonlocal count
        while time.perf_counter() - start < seconds:
            history = await broker.history(channel, _QUERY)
            assert len(history.messages) == _MESSAGES
            count += 1

    async with asyncio.TaskGroup() as group:
        for channel in channels:
            group.create_task(read(channel))
    elapsed, cpu = time.perf_counter() - start, time.process_time() - cpu
    print(
        f"{name}: {count / elapsed:,.0f} reads/s, {cpu / count * 1e6:.0f} µs of CPU each, "
        f"{elapsed / count * len(channels) * 1000:.1f} ms per answer"
    )


async def run(url: str, readers: int, data_bytes: int, seconds: float) -> None:
    async with running(make_broker(url)) as broker:
        await fill(broker, readers, data_bytes)
        await measure(broker, "one reader", ["room0"], seconds)
        own = [f"room{n}" for n in range(readers)]
        await measure(broker, f"{readers} readers, each of its own channel", own, seconds)
        await measure(broker, f"{readers} readers of one channel", ["room0"] * readers, seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--readers", type=int, default=100)
    parser.add_argument("--data-bytes", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()
    with redis_server() as url:
        asyncio.run(run(url, given.readers, given.data_bytes, given.seconds))
