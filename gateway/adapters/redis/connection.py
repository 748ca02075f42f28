"""Connections to Redis, made the way this gateway needs them."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

_POOL_WAIT_SECONDS = 1.0


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """Where Redis is, from a URL: ``redis://``, ``rediss://`` (TLS, verified) or ``unix://``."""

    host: str
    port: int
    path: str
    username: str
    password: str
    database: int
    tls: ssl.SSLContext | None

    @classmethod
    def parse(cls, url: str) -> "Address":
        """Raises `ValueError` without the URL in it: it carries the password."""
        try:
            options: dict[str, Any] = dict(parse_url(url))
        except ValueError:
            raise ValueError("a Redis URL starts with redis://, rediss:// or unix://") from None
        tls = None
        if url.startswith("rediss://"):
            tls = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
        return cls(
            host=options.get("host", "localhost"),
            port=int(options.get("port", 6379)),
            path=options.get("path", "") if url.startswith("unix://") else "",
            username=options.get("username") or "",
            password=options.get("password") or "",
            database=int(options.get("db", 0)),
            tls=tls,
        )

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"

    __repr__ = __str__


class Place(Protocol):
    """Where one Redis is, now: with Sentinel, it moves."""

    async def find(self) -> Address:
        """Raises `OSError` or `TimeoutError` while nobody can tell."""

    def on_move(self, leave: Callable[[], None]) -> None:
        """Have this called when it is elsewhere: connections to where it was are of no use."""


class FixedPlace(Place):
    def __init__(self, address: Address) -> None:
        self._address = address

    async def find(self) -> Address:
        return self._address

    def on_move(self, leave: Callable[[], None]) -> None:
        """It never moves."""

    def __str__(self) -> str:
        return str(self._address)


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


def connect(url: str, *, timeout_seconds: float, connections_max: int) -> "Redis":
    """Return a client for commands; it connects when it is used.

    It never repeats a command by itself: redis-py's default would publish twice when an answer
    is lost. It waits for a free connection where redis-py's default pool would fail at once.
    """
    pool = BlockingConnectionPool.from_url(
        url,
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
