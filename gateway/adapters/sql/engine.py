"""The way to a database: a pool of connections, and what its failures are called."""

import asyncio
import contextlib
import logging
import os
import secrets
import sqlite3
from collections.abc import AsyncIterator
from typing import Any
from weakref import WeakSet

from sqlalchemy import URL, event
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from gateway.adapters.sql.address import parse
from gateway.domain.errors import Unavailable

_SQLITE_BUSY_SECONDS_MAX = 5.0
_RECYCLE_SECONDS = 1800

# aiosqlite notes every statement with its parameters, asyncmy what the server grumbles about them.
for _driver in ("aiosqlite", "asyncmy"):
    logging.getLogger(_driver).setLevel(logging.ERROR)


class Database:
    """Connections to one database, shared by all adapters of this package.

    Whatever does not come to its end within ``timeout_seconds`` becomes `Unavailable`, also while
    the server is frozen or every connection is taken. A connection that broke while nobody used
    it is noticed and replaced before it is used.

    Raises `ValueError` for a URL that cannot be used, without the password that stands in it.
    """

    def __init__(
        self, url: str, *, timeout_seconds: float = 3.0, connections_max: int = 10
    ) -> None:
        address, arguments = parse(url)
        self._where = address.render_as_string(hide_password=True)
        self._timeout_seconds = timeout_seconds
        self.kind = address.get_backend_name()
        self._anchor: sqlite3.Connection | None = None
        options: dict[str, Any] = {}
        if self.kind == "sqlite":
            address = self._prepare_file(address)
            arguments["timeout"] = min(timeout_seconds, _SQLITE_BUSY_SECONDS_MAX)
        elif self.kind == "mysql":
            # Its default reads from a snapshot of the past, and locks the gaps between rows.
            options["isolation_level"] = "READ COMMITTED"
        self._engine = create_async_engine(
            address,
            connect_args=arguments,
            pool_size=connections_max,
            max_overflow=0,
            pool_timeout=timeout_seconds,
            pool_pre_ping=self.kind != "sqlite",
            pool_recycle=_RECYCLE_SECONDS,
            hide_parameters=True,  # an error's text would show the hashes
            **options,
        )
        self._open: WeakSet[Any] = WeakSet()
        if self.kind == "postgresql":
            # Its driver says goodbye and waits for the answer, so a frozen server's are cut off.
            event.listen(self._engine.sync_engine, "connect", self._note_open)
            event.listen(self._engine.sync_engine, "invalidate", _cut)
        if self.kind == "sqlite":
            event.listen(self._engine.sync_engine, "connect", _set_up_sqlite)
            event.listen(self._engine.sync_engine, "begin", _begin_sqlite)
        # SQLite lets one write, and whoever finds it busy looks again after a while. So those of
        # this process queue up here, and only those of others are waited for like that.
        self._turn = asyncio.Lock() if self.kind == "sqlite" else contextlib.nullcontext()

    def __repr__(self) -> str:
        return f"Database({self._where})"

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """One transaction that changes nothing."""
        try:
            async with asyncio.timeout(self._timeout_seconds), self._engine.begin() as connection:
                yield connection
        except Exception as error:
            if failure := _failure(error):
                raise Unavailable(failure) from None
            raise

    @contextlib.asynccontextmanager
    async def writing(self, timeout_seconds: float = 0.0) -> AsyncIterator[AsyncConnection]:
        """One transaction, kept when the block ends well and undone when it raises.

        An `IntegrityError` is left to the caller, who knows what it means.
        """
        sent = False
        deadline = asyncio.get_running_loop().time() + (timeout_seconds or self._timeout_seconds)
        try:
            async with (
                asyncio.timeout_at(deadline),
                self._turn,
                self._writer(deadline).begin() as connection,
            ):
                sent = True
                yield connection
        except Exception as error:
            if failure := _failure(error):
                raise Unavailable(failure, outcome_unknown=sent) from None
            raise

    async def close(self) -> None:
        """Give back all connections; to a frozen server we say goodbye no longer than we wait."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._engine.dispose()
        except TimeoutError:
            for connection in list(self._open):
                connection.terminate()
        if self._anchor is not None:
            self._anchor.close()
            self._anchor = None

    def _writer(self, deadline: float) -> AsyncEngine:
        """The engine, for one transaction that waits for others until then."""
        left = deadline - asyncio.get_running_loop().time()
        return self._engine.execution_options(gateway_waits_seconds=left)

    def _note_open(self, connection: Any, entry: ConnectionPoolEntry) -> None:
        self._open.add(connection.driver_connection)

    def _prepare_file(self, address: URL) -> URL:
        if not address.database or address.database == ":memory:":
            # In memory, but shared by all connections, and there while this one is open.
            name = f"file:/gateway-{secrets.token_hex(8)}?vfs=memdb"
            self._anchor = sqlite3.connect(name, uri=True, check_same_thread=False)
            return address.set(database=name, query={"uri": "true"})
        try:
            # With SQLite's own mode everybody on this machine could read the hashes.
            os.close(os.open(address.database, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise ValueError(
                f"the database file {address.database} cannot be opened: {error.strerror}"
            ) from None
        return address


def _failure(error: Exception) -> str:
    """What is wrong with the database; "" for a bug, and for what the caller has to judge."""
    if isinstance(error, IntegrityError | ProgrammingError | DataError | NotSupportedError):
        return ""
    if isinstance(error, DBAPIError):
        cause = error.orig
        code = getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None)
        if code == "SQLITE_ERROR":  # a wrong statement, or a table that is not there
            return ""
        if code is None and cause is not None and cause.args and isinstance(cause.args[0], int):
            code = cause.args[0]
        return f"the database did not answer ({type(cause).__name__} {code or ''})"
    if isinstance(error, OSError | TimeoutError | PoolTimeoutError):
        return f"the database did not answer ({type(error).__name__})"
    return ""


def _cut(connection: Any, entry: ConnectionPoolEntry, error: BaseException | None) -> None:
    connection.driver_connection.terminate()


def _set_up_sqlite(connection: Any, entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    for setting in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {setting}")
    cursor.close()


def _begin_sqlite(connection: Any) -> None:
    """Take the right to write at the beginning.

    Who has read already is refused at once when another one wrote meanwhile; who asks first waits.
    """
    left = connection.get_execution_options().get("gateway_waits_seconds")
    if left is None:
        connection.exec_driver_sql("BEGIN")
        return
    # A thread that waits for a lock cannot be called back, so it gives up in time itself: what
    # was spent in the queue of this process is not there to be spent once more.
    (usual,) = connection.exec_driver_sql("PRAGMA busy_timeout").one()
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {min(int(left * 1000), usual)}")
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {usual}")
