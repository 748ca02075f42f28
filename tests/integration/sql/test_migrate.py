"""The migrations, on every database."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from gateway.adapters.sql.archive import SqlArchive
from gateway.adapters.sql.engine import Database
from gateway.adapters.sql.migrate import SCRIPTS, MigrationFailed, pending, upgrade
from gateway.adapters.sql.schema import (
    VERSION,
    archive_epochs,
    archive_gaps,
    archive_messages,
    metadata,
    users,
)
from gateway.adapters.sql.users import SqlUsers
from gateway.domain.archive import Stretch
from gateway.domain.messages import BEGINNING, Message, Position
from tests.support.databases import DATABASES, fresh_url, opened


@pytest.fixture(params=DATABASES)
async def url(request: pytest.FixtureRequest) -> str:
    return await fresh_url(request.param, request)


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    async with opened(url) as database:
        yield database


def test_the_newest_migration_is_the_version_that_the_code_expects() -> None:
    scripts = ScriptDirectory(str(SCRIPTS))

    assert scripts.get_heads() == [VERSION]
    revisions = [script.revision for script in scripts.walk_revisions()]
    assert revisions == sorted(revisions, reverse=True)  # they are compared as texts


async def test_the_migrations_make_exactly_the_tables_of_the_schema(database: Database) -> None:
    await upgrade(database)

    def differences(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        return list(compare_metadata(context, metadata))

    async with database.reading() as connection:
        assert await connection.run_sync(differences) == []


async def test_an_upgrade_is_done_once(url: str, database: Database) -> None:
    assert await pending(database)

    applied = await upgrade(url)
    assert [step[:5] for step in applied] == [f"{n:04} " for n in range(1, int(VERSION) + 1)]
    assert not await pending(database)
    assert await upgrade(url) == []
    assert await upgrade(database) == []


async def test_a_database_of_the_first_version_gets_the_rest(database: Database) -> None:
    await upgrade(database)
    async with database.writing() as connection:
        for table in (archive_gaps, archive_messages, archive_epochs):
            await connection.run_sync(table.drop)
        await connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    await SqlUsers(database).add("alice", "hash")

    assert await pending(database)
    assert (await upgrade(database))[0].startswith("0002 ")
    assert await SqlUsers(database).count() == 1


async def test_what_was_archived_before_there_were_tags_has_none(database: Database) -> None:
    await upgrade(database)
    old = Message("room", b"1", "id-1", "alice", 1.5, Position("e", 1))
    stretch = Stretch("room", BEGINNING, old.position, [old])
    await SqlArchive(database).append([stretch])
    async with database.writing() as connection:
        for column in ("tags", "info"):
            await connection.execute(text(f"ALTER TABLE archive_messages DROP COLUMN {column}"))
        await connection.execute(text("UPDATE alembic_version SET version_num = '0002'"))

    assert [step[:5] for step in await upgrade(database)] == ["0003 "]
    archive, new = SqlArchive(database), old._replace(position=Position("e", 2), tags=b'{"a":"b"}')
    await archive.append([Stretch("room", old.position, new.position, [new])])
    assert await archive.after("room", BEGINNING, 9) == [old, new]


async def test_replicas_that_start_together_migrate_once(url: str) -> None:
    arguments = ("-c", MIGRATE, url)
    started = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        for _ in range(4)
    ]
    said = [(await process.communicate())[0] for process in started]

    assert sorted(line.strip() for line in said) == [b"0", b"0", b"0", str(int(VERSION)).encode()]


MIGRATE = """
import asyncio, sys
from gateway.adapters.sql.migrate import upgrade
print(len(asyncio.run(upgrade(sys.argv[1]))))
"""


async def test_a_newer_database_is_left_alone(database: Database) -> None:
    """While new replicas replace old ones, an old one may still be restarted."""
    await upgrade(database)
    async with database.writing() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    assert not await pending(database)
    assert await upgrade(database) == []


async def test_a_failed_migration_says_why_and_lets_the_next_one_try(database: Database) -> None:
    async with database.writing() as connection:
        await connection.run_sync(users.create)
    with pytest.raises(MigrationFailed, match="users"):
        await upgrade(database)

    async with database.writing() as connection:
        await connection.execute(text("DROP TABLE users"))
    started = time.monotonic()
    assert len(await upgrade(database)) == int(VERSION)  # nothing holds the lock any more
    assert time.monotonic() - started < 5
    assert await SqlUsers(database).count() == 0


def test_asking_whether_an_upgrade_is_pending_does_not_load_alembic() -> None:
    code = (
        "import asyncio, sys; from gateway.adapters.sql.engine import Database\n"
        "from gateway.adapters.sql.migrate import pending\n"
        "print(asyncio.run(pending(Database('sqlite://'))), 'alembic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.stdout.split() == ["True", "False"], done.stderr
