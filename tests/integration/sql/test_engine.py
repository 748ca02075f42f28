"""What a database's failures look like from here, and which URLs lead to one."""

import asyncio
import logging
import os
import sqlite3
import ssl
import stat
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from gateway.adapters.sql.address import parse
from gateway.adapters.sql.engine import Database
from gateway.adapters.sql.logins import SqlLogins
from gateway.adapters.sql.migrate import upgrade
from gateway.adapters.sql.revocation_log import SqlRevocationLog
from gateway.adapters.sql.users import SqlUsers
from gateway.domain.errors import Unavailable
from gateway.domain.revocations import Revocation, RevocationKind
from tests.support.databases import (
    DATABASE_PASSWORD,
    DATABASES,
    DatabaseServer,
    MariadbServer,
    PostgresServer,
    emptied,
    opened,
    url_of,
)

pytestmark = pytest.mark.long

TIMEOUT_SECONDS = 0.5


@pytest.fixture(params=[MariadbServer, PostgresServer])
def server(request: pytest.FixtureRequest) -> Iterator[DatabaseServer]:
    """A server of the test's own, to be broken."""
    with request.param() as server:
        yield server


@pytest.fixture
async def database(server: DatabaseServer) -> AsyncIterator[Database]:
    await upgrade(server.url)
    async with opened(server.url, timeout_seconds=TIMEOUT_SECONDS, connections_max=3) as database:
        yield database


@pytest.fixture
async def users(database: Database) -> SqlUsers:
    users = SqlUsers(database)
    await users.add("alice", "hash")
    return users


async def test_a_restart_between_two_calls_is_not_noticed(
    server: DatabaseServer, users: SqlUsers
) -> None:
    await asyncio.gather(*(users.find("alice") for _ in range(3)))  # all connections are open
    await asyncio.to_thread(server.terminate)
    await asyncio.to_thread(server.start)

    for _ in range(3):
        assert await users.find("alice") is not None
    await users.set_roles("alice", ["admin"], 1)


async def test_while_the_server_is_stopped_every_call_says_so(
    server: DatabaseServer, database: Database, users: SqlUsers
) -> None:
    logins, log = SqlLogins(database), SqlRevocationLog(database)
    await asyncio.to_thread(server.terminate)

    for call in (
        users.add("bob", "hash"),
        users.find("alice"),
        users.find_by_id(1),
        users.credentials("alice"),
        users.page(0, 10),
        users.count(),
        users.set_roles("alice", [], 1),
        users.upgrade_hash("alice", "hash", "hash"),
        logins.start(1, "one", 1.0),
        logins.find("one"),
        logins.rotate("one", 0, 1.0),
        logins.end("one", 1.0),
        logins.end_all(1, 1.0),
        logins.live(1),
        logins.count_live(1.0),
        logins.prune(1.0),
        log.add(Revocation(RevocationKind.USER, "alice", "alice", 1, 1, "admin")),
        log.live(1.0),
        log.prune(1.0),
    ):
        with pytest.raises(Unavailable) as refusal:
            await call
        assert not refusal.value.outcome_unknown
        assert DATABASE_PASSWORD not in refusal.value.detail

    await asyncio.to_thread(server.start)
    assert await users.find("alice") is not None


async def test_a_frozen_server_costs_no_more_than_the_time_out(
    server: DatabaseServer, users: SqlUsers
) -> None:
    """F23: every call ends in time, also the one that needs a new connection."""
    assert await users.find("alice") is not None
    server.freeze()
    try:
        for call in (users.find("alice"), users.set_roles("alice", [], 1), users.count()):
            started = time.monotonic()
            with pytest.raises(Unavailable):
                await call
            assert time.monotonic() - started < TIMEOUT_SECONDS + 0.4
        started = time.monotonic()
        outcomes = await asyncio.gather(
            *(users.find("alice") for _ in range(20)), return_exceptions=True
        )
        assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
        assert time.monotonic() - started < TIMEOUT_SECONDS + 0.4
    finally:
        server.thaw()

    found = await asyncio.gather(*(users.find("alice") for _ in range(20)))
    assert None not in found


async def test_closing_does_not_wait_for_a_frozen_server(
    server: DatabaseServer, database: Database, users: SqlUsers
) -> None:
    await asyncio.gather(*(users.find("alice") for _ in range(3)))
    server.freeze()
    started = time.monotonic()
    await database.close()
    assert time.monotonic() - started < TIMEOUT_SECONDS + 0.4
    server.thaw()


async def test_a_change_that_was_under_way_is_of_unknown_outcome(
    server: DatabaseServer, database: Database
) -> None:
    async def change() -> None:
        async with database.writing() as connection:
            await connection.execute(text("SELECT 1"))
            server.freeze()
            await connection.execute(text("SELECT 2"))

    with pytest.raises(Unavailable) as refusal:
        await change()
    server.thaw()

    assert refusal.value.outcome_unknown


@pytest.mark.parametrize("kind", DATABASES)
async def test_calls_that_are_cancelled_leave_no_connection_in_disorder(
    kind: str, request: pytest.FixtureRequest
) -> None:
    async with emptied(kind, request) as database:
        users = SqlUsers(database)
        for n in range(10):
            await users.add(f"user{n}", "hash")
        ids = [user.id for user in await users.page(0, 10)]

        async def hurried(n: int) -> None:
            try:
                async with asyncio.timeout(0.002 * (n % 10)):
                    user = await users.find_by_id(ids[n % 10])
            except TimeoutError:
                return
            assert user is not None
            assert user.name == f"user{n % 10}"

        for _ in range(5):
            await asyncio.gather(*(hurried(n) for n in range(40)))
        assert await users.count() == 10


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
@pytest.mark.parametrize(
    ("wrong", "right"), [("another-password", DATABASE_PASSWORD), ("nodatabase", "")]
)
async def test_a_server_that_refuses_us_is_unavailable(
    kind: str, wrong: str, right: str, request: pytest.FixtureRequest
) -> None:
    url = url_of(kind, request)
    url = url.replace(right, wrong) if right else url.rpartition("/")[0] + "/" + wrong
    async with opened(url) as database:
        users = SqlUsers(database)
        with pytest.raises(Unavailable, match="did not answer"):
            await users.count()


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
async def test_who_asks_for_tls_gets_nothing_less(
    kind: str, request: pytest.FixtureRequest
) -> None:
    """These servers have no certificate: the password must not travel in the clear instead."""
    async with opened(url_of(kind, request) + "?ssl=true") as database:
        users = SqlUsers(database)
        with pytest.raises(Unavailable):
            await users.count()


@pytest.mark.parametrize("kind", DATABASES)
async def test_a_database_without_tables_is_a_mistake_and_not_an_outage(
    kind: str, request: pytest.FixtureRequest
) -> None:
    async with emptied(kind, request) as database:
        with pytest.raises((ProgrammingError, OperationalError)):
            async with database.reading() as connection:
                await connection.execute(text("SELECT * FROM no_such_table"))


async def test_a_locked_sqlite_file_costs_no_more_than_the_time_out(directory: Path) -> None:
    """F24: another program holds the file; reading goes on, writing says so in time."""
    url = f"sqlite:///{directory}/gateway.db"
    await upgrade(url)
    other = sqlite3.connect(directory / "gateway.db", isolation_level=None)
    async with opened(url, timeout_seconds=1.2) as database:
        users = SqlUsers(database)
        await users.add("alice", "hash")
        other.execute("BEGIN EXCLUSIVE")
        assert await users.find("alice") is not None

        async def write(delay: float) -> float:
            await asyncio.sleep(delay)
            started = time.monotonic()
            with pytest.raises(Unavailable):
                await users.set_roles("alice", [], 1)
            return time.monotonic() - started

        # Those who come later wait for their turn here, and have no more time for that.
        waited = await asyncio.gather(*map(write, (0, 0, 0.3, 0.6, 0.9)))
        assert max(waited) < 1.8
        other.execute("ROLLBACK")
        await users.set_roles("alice", ["admin"], 1)
    other.close()


async def test_every_sqlite_connection_is_set_up(directory: Path) -> None:
    async with (
        opened(f"sqlite:///{directory}/gateway.db", timeout_seconds=60) as database,
        database.reading() as one,
        database.reading() as two,
    ):
        for connection in (one, two):
            settings = [
                await connection.scalar(text(f"PRAGMA {name}"))
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            ]
            assert settings == ["wal", 1, 1, 5000]


async def test_nobody_else_may_read_the_sqlite_files(directory: Path) -> None:
    async with opened(f"sqlite:///{directory}/gateway.db") as database:
        await upgrade(database)
        modes = [stat.S_IMODE(file.stat().st_mode) for file in os.scandir(directory)]
        assert modes == [0o600] * 3  # the log and its index, too


async def test_a_database_in_memory_is_shared_by_its_connections_and_by_nobody_else() -> None:
    async with opened("sqlite://") as one, opened("sqlite://") as two:
        await upgrade(one)
        await upgrade(two)
        users = SqlUsers(one)
        added = await asyncio.gather(*(users.add(f"user{n}", "hash") for n in range(8)))
        found = await asyncio.gather(*(users.find(user.name) for user in added))
        assert found == added
        assert await SqlUsers(two).count() == 0


@pytest.mark.parametrize("kind", DATABASES)
async def test_neither_an_error_nor_a_log_line_shows_what_was_stored(
    kind: str, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    """S21: at no level; the hash of a password is worth an attack on it."""
    caplog.set_level(logging.DEBUG)
    async with emptied(kind, request) as database:
        users = SqlUsers(database)
        await users.add("alice", "the-hash-canary")
        await users.credentials("alice")
        with pytest.raises(IntegrityError) as error:
            async with database.writing() as connection:
                await connection.execute(
                    text(
                        "INSERT INTO users SELECT id, name, name_key, email, email_key, :hash, "
                        "roles, is_disabled, tokens_valid_from, created_at FROM users"
                    ),
                    {"hash": "the-hash-canary"},
                )
    assert "the-hash-canary" not in str(error.value)
    assert "the-hash-canary" not in caplog.text


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("sqlite:///gateway.db", "sqlite+aiosqlite:///gateway.db"),
        ("sqlite:////var/gateway.db", "sqlite+aiosqlite:////var/gateway.db"),
        ("sqlite://", "sqlite+aiosqlite://"),
        ("mysql://u:p@h/d", "mysql+asyncmy://u:p@h/d"),
        ("mariadb://u:p@h:3307/d", "mysql+asyncmy://u:p@h:3307/d"),
        ("mariadb+asyncmy://u:p@h/d", "mysql+asyncmy://u:p@h/d"),
        ("mysql://u:p@h/d?charset=utf8mb4", "mysql+asyncmy://u:p@h/d"),
        ("mysql://u@/d?unix_socket=/run/s", "mysql+asyncmy://u@/d?unix_socket=%2Frun%2Fs"),
        ("postgres://u:p@h/d", "postgresql+asyncpg://u:p@h/d"),
        ("postgresql+asyncpg://u:p@h/d", "postgresql+asyncpg://u:p@h/d"),
        ("postgresql://u:p%40%2F@h/d?sslmode=require", "postgresql+asyncpg://u:p%40%2F@h/d"),
    ],
)
def test_a_url_gets_our_driver(url: str, address: str) -> None:
    assert parse(url)[0].render_as_string(hide_password=False) == address


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "starts with"),
        ("gateway.db", "starts with"),
        ("mysql:secret@h/d", "starts with"),
        ("oracle://u:secret@h/d", "starts with"),
        ("postgresql+psycopg2://u:secret@h/d", "needs no driver"),
        ("postgresql://u:secret@h:port/d", "cannot be understood"),
        ("postgresql://u:secret@h", "name of the database"),
        ("mariadb://u:secret@h/", "name of the database"),
        ("postgresql://u:secret@h/d?sslmod=require", "unknown option: sslmod"),
        ("postgresql://u:secret@h/d?ssl=perhaps", "true or false"),
        ("postgresql://u:secret@h/d?ssl=false&ssl_ca=x", "true or false"),
        ("mariadb://u:secret@h/d?ssl_ca=/nowhere/ca.pem", "readable file"),
        ("sqlite://u:secret@h/gateway.db", "sqlite:///path"),
        ("sqlite:///nowhere/at/all/gateway.db", "No such file"),
        ("sqlite:////", "Is a directory"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_its_password(url: str, says: str) -> None:
    """S51: not even the message of a mistake tells a secret."""
    with pytest.raises(ValueError, match=says) as refusal:
        Database(url)

    assert "secret" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_database_does_not_tell_its_password() -> None:
    assert repr(Database("mariadb://u:secret@h/d")) == "Database(mysql+asyncmy://u:***@h/d)"


@pytest.mark.parametrize("scheme", ["mariadb", "postgresql"])
def test_tls_is_verified(scheme: str) -> None:
    (_, arguments) = parse(f"{scheme}://u:p@h/d?ssl=true")

    assert arguments["ssl"].verify_mode == ssl.CERT_REQUIRED
    assert arguments["ssl"].check_hostname
