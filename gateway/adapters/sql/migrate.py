"""Brings a database's tables to the version that this gateway was written for."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, inspect, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.adapters.sql.engine import Database
from gateway.adapters.sql.schema import VERSION
from gateway.domain.errors import Unavailable

SCRIPTS = Path(__file__).parent / "migrations"

UPGRADE_SECONDS = 60.0  # waiting for another replica that is at it included

_ASK_SECONDS = 10.0
_POSTGRESQL_LOCK = 0x67617465776179  # "gateway"


class MigrationFailed(Exception):
    """A migration did not go through.

    On SQLite and PostgreSQL nothing has changed then. MariaDB cannot undo changes of tables: look
    at what is there before trying again.
    """


async def pending(database: Database) -> bool:
    """Whether the tables are missing or older than this gateway; it can work with newer ones."""
    async with database.reading() as connection:
        return await connection.run_sync(_version) < VERSION


async def upgrade(target: str | Database) -> list[str]:
    """Apply the migrations that are missing, and return them as ``0001 What it does``.

    Replicas that start at the same time may all call it: one does the work, the others wait, and
    return nothing. A database that is newer than this gateway is left alone. One in memory is a
    new one for each `Database`, so there give that instead of its URL.

    Raises `Unavailable`, or `MigrationFailed`.
    """
    if isinstance(target, Database):
        return await _upgrade(target)
    database = Database(target, timeout_seconds=_ASK_SECONDS)
    try:
        return await _upgrade(database)
    finally:
        await database.close()


async def _upgrade(database: Database) -> list[str]:
    if not await pending(database):
        return []
    async with _alone(database) as connection:
        if await connection.run_sync(_version) >= VERSION:
            return []
        return await connection.run_sync(_apply)


@contextlib.asynccontextmanager
async def _alone(database: Database) -> AsyncIterator[AsyncConnection]:
    """A transaction of which there is one at a time, whoever else wants to migrate."""
    async with database.writing(timeout_seconds=UPGRADE_SECONDS) as connection:
        if database.kind == "mysql":
            async with _mariadb_lock(connection):
                yield connection
            return
        if database.kind == "postgresql":
            await connection.execute(select(func.pg_advisory_xact_lock(_POSTGRESQL_LOCK)))
        yield connection  # a writer of SQLite is alone by nature


@contextlib.asynccontextmanager
async def _mariadb_lock(connection: AsyncConnection) -> AsyncIterator[None]:
    """A lock that belongs to the connection: every change of a table ends a transaction there."""
    name = func.concat("gateway ", func.sha1(func.database()))
    try:
        if await connection.scalar(select(func.get_lock(name, UPGRADE_SECONDS))) != 1:
            raise Unavailable("another process migrates the database and does not finish")
        yield
        await connection.execute(text("COMMIT"))  # or the next one would not see it yet
        await connection.execute(select(func.release_lock(name)))
    except BaseException:
        await connection.invalidate()  # the lock goes with the connection
        raise


def _version(connection: Connection) -> str:
    """The newest migration that the database has seen; "" for none."""
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return str(connection.scalar(text("SELECT version_num FROM alembic_version")) or "")


def _apply(connection: Connection) -> list[str]:
    # Only here: loading it takes as long as everything else that happens at a start.
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(str(SCRIPTS))
    applied: list[str] = []

    def note(ctx: Any, step: Any, heads: Any, run_args: Any) -> None:
        applied.append(f"{step.up_revision_id} {step.up_revision.doc}")

    def missing(heads: Any, _: Any) -> Any:
        return scripts._upgrade_revs("head", heads)

    try:
        with EnvironmentContext(Config(), scripts, fn=missing) as environment:
            environment.configure(connection=connection, on_version_apply=note)
            environment.run_migrations()
    except DBAPIError as error:
        raise MigrationFailed(f"after {applied or 'nothing'}: {error.orig}") from error
    return applied
