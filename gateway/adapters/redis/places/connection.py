"""Connections to Redis, made the way this gateway needs them."""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar
from weakref import WeakSet

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import Connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from gateway.adapters.redis.places.address import Address
from gateway.adapters.redis.places.topology import Single, parse_topology

_POOL_WAIT_SECONDS = 1.0


class Place(Protocol):
    """Where one Redis is, now: with Sentinel, it moves."""

    @property
    def generation(self) -> str:
        """Which life of the data is there, "" where nobody tells.

        It changes whenever a replica takes over, for a replica may lack what its master had
        acknowledged; see ``docs/decisions/0016-generations.md``.
        """

    async def find(self) -> Address:
        """Raises `OSError` or `TimeoutError` while nobody can tell."""

    def on_move(self, leave: Callable[[], None]) -> None:
        """Have this called when it is elsewhere: connections to where it was are of no use."""


class FixedPlace(Place):
    generation = ""

    def __init__(self, address: Address) -> None:
        self._address = address

    async def find(self) -> Address:
        return self._address

    def on_move(self, leave: Callable[[], None]) -> None:
        """It never moves."""

    def __str__(self) -> str:
        return str(self._address)


def place_at(url: str) -> FixedPlace:
    """The place of one Redis that stays; raises `ValueError` without a secret in it."""
    topology = parse_topology(url)
    if not isinstance(topology, Single):
        raise ValueError("the URL is not that of one Redis that stays")
    return FixedPlace(topology.address)


P = TypeVar("P", bound=asyncio.Protocol)


async def open_connection(address: Address, make: Callable[[], P]) -> P:
    """Connect a protocol of our own; raises `OSError`."""
    loop = asyncio.get_running_loop()
    if address.path:
        _, protocol = await loop.create_unix_connection(make, address.path)
    else:
        _, protocol = await loop.create_connection(
            make, address.host, address.port, ssl=address.tls
        )
    return protocol


def greeting(address: Address, name: str) -> list[tuple[str, ...]]:
    """The commands that a new connection starts with."""
    commands: list[tuple[str, ...]] = []
    if address.password:
        user = (address.username,) if address.username else ()
        commands.append(("AUTH", *user, address.password))
    if address.database:
        commands.append(("SELECT", str(address.database)))
    return [*commands, ("CLIENT", "SETNAME", f"gateway-{name}")]


def end_if_cancelled() -> None:
    """Raise the cancellation of this task that got lost inside redis-py.

    Now and then a cancelled command returns as if nothing had happened. A loop that goes on
    then waits for ever, and the process cannot stop; so every loop asks here on each turn.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def connect(where: Place | str, *, timeout_seconds: float, connections_max: int) -> "Redis":
    """Return a client for commands; it connects when it is used, and follows a place that moves.

    ``where`` may also be the URL of one Redis that stays. The client never repeats a command by
    itself: redis-py's default would publish twice when an answer is lost. It waits for a free
    connection where redis-py's default pool would fail at once.
    """
    place = place_at(where) if isinstance(where, str) else where
    opened: WeakSet[_PlacedConnection] = WeakSet()

    def leave() -> None:
        for connection in tuple(opened):
            connection.abort()

    place.on_move(leave)
    pool = BlockingConnectionPool(
        connection_class=_PlacedConnection,
        place=place,
        opened=opened,
        max_connections=connections_max,
        timeout=_POOL_WAIT_SECONDS,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        driver_info=None,  # or every connection sends CLIENT SETINFO, which our Redis user may not
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )
    return Redis.from_pool(pool)  # closing the client closes the pool


class _PlacedConnection(Connection):
    """redis-py's connection, but to where a place says Redis is."""

    def __init__(self, *, place: Place, opened: "WeakSet[_PlacedConnection]", **options: Any):
        super().__init__(**options)
        self._place = place
        self._tls: ssl.SSLContext | None = None
        opened.add(self)

    def abort(self) -> None:
        """Whoever waits for an answer gets none; the next command connects anew."""
        if self._writer is not None:
            self._writer.transport.abort()

    async def _connect(self) -> None:
        async with asyncio.timeout(self.socket_connect_timeout):
            address = await self._place.find()
        generation = self._place.generation
        self.username, self.password = address.username, address.password
        self.db = address.database
        if address.path:
            async with asyncio.timeout(self.socket_connect_timeout):
                self._reader, self._writer = await asyncio.open_unix_connection(address.path)
        else:
            self.host, self.port, self._tls = address.host, address.port, address.tls
            await super()._connect()  # type: ignore[no-untyped-call]
        if generation != self._place.generation:
            self.abort()
            raise ConnectionResetError("Redis moved meanwhile")

    def _connection_arguments(self) -> Mapping[str, Any]:
        return {"host": self.host, "port": self.port, "ssl": self._tls}

    def repr_pieces(self) -> list[tuple[str, Any]]:
        return [("place", str(self._place))]

    def _host_error(self) -> str:
        return str(self._place)
