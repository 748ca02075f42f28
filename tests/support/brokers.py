"""One way to make every broker adapter, for the contract suites."""

import asyncio
import contextlib
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fakeredis import TcpFakeServer
from fakeredis._clients._tcp_server import TCPFakeRequestHandler
from redis.exceptions import ResponseError

from gateway.adapters.memory.broker import MemoryBroker
from gateway.adapters.memory.news import MemoryNews
from gateway.adapters.redis.assembly import Assembled, Assembly
from gateway.adapters.redis.keys import Keys
from gateway.adapters.redis.places.topology import parse_topology
from gateway.domain.messages import Message, Publication
from gateway.domain.namespaces import Namespace, Namespaces
from gateway.ports.broker import Broker, Concerns, Listener
from tests.support.servers import free_port

DATA_BYTES_MAX = 65_536


@dataclass(frozen=True)
class Retention:
    """How long a broker keeps what belongs to a channel. ``named`` are other namespaces."""

    history_length: int
    history_seconds: int
    state_seconds: int
    idempotency_seconds: int
    named: Mapping[str, Namespace] = field(default_factory=dict)

    @property
    def namespaces(self) -> Namespaces:
        default = Namespace(
            history_length=self.history_length, history_seconds=self.history_seconds
        )
        return Namespaces(default, self.named)


RETENTION = Retention(
    history_length=100, history_seconds=300, state_seconds=3600, idempotency_seconds=60
)


def assemble(
    url: str, prefix: str, retention: Retention = RETENTION, timeout_seconds: float = 2.0
) -> Assembled:
    """What a gateway makes of this URL, in any of its forms."""
    return assembly(prefix, retention, timeout_seconds).assemble(parse_topology(url))


def assembly(
    prefix: str, retention: Retention = RETENTION, timeout_seconds: float = 2.0
) -> Assembly:
    return Assembly(
        Keys(prefix),
        retention.namespaces,
        f"{prefix}-{secrets.token_hex(4)}",
        timeout_seconds=timeout_seconds,
        connections_max=10,
        ping_interval_seconds=0.2,
        ping_timeout_seconds=1.0,
        data_bytes_max=DATA_BYTES_MAX,
        position_seconds=retention.state_seconds,
        idempotency_seconds=retention.idempotency_seconds,
    )


def make_redis_broker(
    url: str, prefix: str, retention: Retention = RETENTION, timeout_seconds: float = 2.0
) -> Broker:
    return assemble(url, prefix, retention, timeout_seconds).broker


@contextlib.asynccontextmanager
async def assembled(url: str, prefix: str) -> AsyncIterator[Assembled]:
    """Clients of what a URL means; a cluster has to be known first."""
    made = assemble(url, prefix)
    async with running(made.broker):
        yield made


def make_memory_broker(
    retention: Retention = RETENTION,
    clock: Callable[[], float] = time.monotonic,
    news: MemoryNews | None = None,
) -> MemoryBroker:
    return MemoryBroker(
        retention.namespaces,
        idempotency_seconds=retention.idempotency_seconds,
        position_seconds=retention.state_seconds,
        news=news,
        clock=clock,
    )


class _Handler(TCPFakeRequestHandler):
    """Answers an error and goes on, as Redis does; fakeredis' own closes the connection."""

    disable_nagle_algorithm = True  # or what answers a pipeline takes 40 ms

    def setup(self) -> None:
        super().setup()
        read = self.current_client.read_response

        def read_response(*args: Any, **kwargs: Any) -> Any:
            try:
                return read(*args, **kwargs)
            except ResponseError as error:
                return error

        self.current_client.read_response = read_response  # type: ignore[method-assign]


@contextlib.contextmanager
def fake_redis() -> Iterator[str]:
    """A fakeredis server on a real socket; yields its URL."""
    port = free_port()
    server = TcpFakeServer(("127.0.0.1", port))
    server.RequestHandlerClass = _Handler
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Inbox(Listener):
    """Collects what a broker delivers, and waits for it."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.batches: list[int] = []
        self.signals: list[bytes] = []
        self.messages_before_signals: list[int] = []
        self.connections = 0
        self.concerns: list[Concerns] = []  # those of all connections
        self.disconnections = 0
        self._arrived = asyncio.Event()

    def deliver(self, messages: Sequence[Message]) -> None:
        self.messages.extend(messages)
        self.batches.append(len(messages))
        self._arrived.set()

    def signalled(self, data: bytes) -> None:
        self.signals.append(data)
        self.messages_before_signals.append(len(self.messages))
        self._arrived.set()

    def connected(self, concerns: Concerns) -> None:
        self.connections += 1
        self.concerns.append(concerns)

    def disconnected(self, concerns: Concerns) -> None:
        self.disconnections += 1

    async def wait_for_signals(self, count: int, seconds: float = 5.0) -> list[bytes]:
        async with asyncio.timeout(seconds):
            while len(self.signals) < count:
                self._arrived.clear()
                await self._arrived.wait()
        return self.signals

    async def wait_for(self, count: int, seconds: float = 5.0) -> list[Message]:
        async with asyncio.timeout(seconds):
            while len(self.messages) < count:
                self._arrived.clear()
                await self._arrived.wait()
        return self.messages


class Replica:
    """A running broker with its inbox: one gateway process in miniature."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.inbox = Inbox()

    async def ready(self, seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds
        while self.broker.troubles:
            assert time.monotonic() < deadline, self.broker.troubles
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running(broker: Broker) -> AsyncIterator[Replica]:
    replica = Replica(broker)
    task = asyncio.create_task(broker.run(replica.inbox))
    try:
        await replica.ready()
        yield replica
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await broker.close()


def publication(
    channel: str, data: bytes = b'"hi"', *, user: str = "alice", key: str = ""
) -> Publication:
    return Publication(channel, data, secrets.token_hex(12), user, time.time(), key)
