"""Real databases for tests: private servers, each in a directory of its own, with a password."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import pytest
from sqlalchemy import select

from gateway.adapters.sql.engine import Database
from gateway.adapters.sql.migrate import upgrade
from gateway.adapters.sql.schema import metadata
from tests.support.servers import Process, free_port, required

DATABASE_PASSWORD = "database-password-for-tests"

DATABASES = ["sqlite", "mariadb", "postgresql"]

# Neither server runs as root, and neither needs to be anybody in particular.
_UNPRIVILEGED = "nobody"


class DatabaseServer(Process):
    """What the two servers share. Ended by `terminate`, its directory goes with `remove`."""

    scheme: str
    stop_signal = signal.SIGTERM

    def __init__(self, program: str) -> None:
        self.port = free_port()
        # Not pytest's directory: that one belongs to root alone, and the server is somebody else.
        self._directory = Path(tempfile.mkdtemp(prefix=f"gateway-{program}-"))
        self.data = self._directory / "data"
        self._databases = 0
        super().__init__(self.prepare(), self._directory / "log")

    def prepare(self) -> list[str]:
        """Write an empty cluster into `data`; return the command that serves it."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        return self.url_of("gateway")

    def url_of(self, database: str) -> str:
        return f"{self.scheme}://gateway:{DATABASE_PASSWORD}@127.0.0.1:{self.port}/{database}"

    async def fresh_url(self) -> str:
        """The URL of a new and empty database on this server."""
        self._databases += 1
        name = f"test{self._databases}"
        await self.execute(f"CREATE DATABASE {name}")
        return self.url_of(name)

    async def execute(self, statement: str) -> list[tuple[object, ...]]:
        """Run one statement outside of the code under test."""
        raise NotImplementedError

    def start(self) -> None:
        super().start()
        self.wait_ready(self._answers, type(self).__name__)

    def _answers(self) -> bool:
        with ThreadPoolExecutor(1) as elsewhere:  # a loop may be running here
            asked = elsewhere.submit(lambda: asyncio.run(self.execute("SELECT 1")))
            # While it starts it refuses in many ways; time runs out in wait_ready.
            return asked.exception() is None

    def terminate(self, seconds: float = 15.0) -> int:
        if self.is_running():
            self.thaw()
            os.kill(self.pid, self.stop_signal)
        return super().terminate(seconds)

    def remove(self) -> None:
        shutil.rmtree(self._directory)

    def __enter__(self) -> Self:
        try:
            return super().__enter__()
        except BaseException:
            self.kill()
            self.remove()
            raise

    def __exit__(self, *_: object) -> None:
        self.terminate()
        self.remove()

    def _own(self) -> None:
        if os.geteuid() == 0:
            for path in [self._directory, *self._directory.rglob("*")]:
                shutil.chown(path, _UNPRIVILEGED, "nogroup")

    def _as_nobody(self, command: list[str]) -> list[str]:
        if os.geteuid() != 0:
            return command
        change = ["--reuid", _UNPRIVILEGED, "--regid", "nogroup", "--clear-groups"]
        return [required("setpriv"), *change, *command]

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(
            self._as_nobody(command), cwd=self._directory, capture_output=True, text=True
        )
        if done.returncode:
            self.remove()
            pytest.fail(f"{command[0]}: {done.stdout}{done.stderr}")


class MariadbServer(DatabaseServer):
    scheme = "mariadb"

    def __init__(self) -> None:
        self._program = required("mariadbd")
        self._install = required("mariadb-install-db")
        super().__init__("mariadb")

    def prepare(self) -> list[str]:
        # The database's default is the case-insensitive collation that people usually have.
        users = self._directory / "users.sql"
        users.write_text(
            "CREATE DATABASE IF NOT EXISTS gateway;\n"
            f"CREATE USER IF NOT EXISTS gateway IDENTIFIED BY '{DATABASE_PASSWORD}';\n"
            "GRANT ALL ON *.* TO gateway;\n"
        )
        self._own()
        self._run([self._install, "--no-defaults", f"--datadir={self.data}", "--skip-test-db"])
        return self._as_nobody(
            [
                self._program,
                "--no-defaults",
                f"--datadir={self.data}",
                f"--port={self.port}",
                "--bind-address=127.0.0.1",
                f"--socket={self._directory / 'socket'}",
                f"--pid-file={self._directory / 'pid'}",
                f"--init-file={users}",
                "--character-set-server=latin1",
                "--skip-name-resolve",
                "--innodb-flush-log-at-trx-commit=0",
                "--innodb-buffer-pool-size=16M",
                "--innodb-log-file-size=8M",
            ]
        )

    async def execute(self, statement: str) -> list[tuple[object, ...]]:
        import asyncmy

        connection = await asyncmy.connect(
            host="127.0.0.1", port=self.port, user="gateway", password=DATABASE_PASSWORD
        )
        async with connection, connection.cursor() as cursor:
            await cursor.execute(statement)
            await connection.commit()
            return list(await cursor.fetchall())


class PostgresServer(DatabaseServer):
    scheme = "postgresql"
    stop_signal = signal.SIGINT  # "fast": it does not wait until its clients have gone

    def __init__(self) -> None:
        self._program = _postgres("postgres")
        self._initdb = _postgres("initdb")
        super().__init__("postgres")

    def prepare(self) -> list[str]:
        password = self._directory / "password"
        password.write_text(DATABASE_PASSWORD)
        self._own()
        self._run(
            [
                self._initdb,
                f"--pgdata={self.data}",
                "--username=gateway",
                f"--pwfile={password}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ]
        )
        return self._as_nobody(
            [
                self._program,
                *("-D", str(self.data), "-p", str(self.port), "-h", "127.0.0.1"),
                *("-k", "", "-c", "fsync=off", "-c", "shared_buffers=16MB"),
            ]
        )

    @property
    def url(self) -> str:
        return self.url_of("postgres")

    def freeze(self) -> None:
        super().freeze()
        self._signal_backends(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_backends(signal.SIGCONT)
        super().thaw()

    def _signal_backends(self, number: signal.Signals) -> None:
        """Every connection is served by a process of its own."""
        for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split():
            os.kill(int(pid), number)

    async def execute(self, statement: str) -> list[tuple[object, ...]]:
        import asyncpg

        connection = await asyncpg.connect(self.url)
        try:
            return [tuple(row) for row in await connection.fetch(statement)]
        finally:
            await connection.close()


def _postgres(program: str) -> str:
    """Debian keeps the server's programs out of the PATH, one folder per version."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return str(folders[-1] / program) if folders else required(program)


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariadbServer]:
    """A real MariaDB for tests that do not break it."""
    with MariadbServer() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A real PostgreSQL for tests that do not break it."""
    with PostgresServer() as server:
        yield server


def url_of(kind: str, request: pytest.FixtureRequest) -> str:
    """The URL of one of `DATABASES`, as it is: perhaps with tables, perhaps not."""
    if kind == "sqlite":
        return f"sqlite:///{request.getfixturevalue('tmp_path')}/gateway.db"
    name = "mariadb_server" if kind == "mariadb" else "postgres_server"
    server: DatabaseServer = request.getfixturevalue(name)
    return server.url


async def fresh_url(kind: str, request: pytest.FixtureRequest) -> str:
    """The URL of a database without tables."""
    if kind == "sqlite":
        return url_of(kind, request)
    name = "mariadb_server" if kind == "mariadb" else "postgres_server"
    server: DatabaseServer = request.getfixturevalue(name)
    return await server.fresh_url()


@contextlib.asynccontextmanager
async def opened(url: str, **options: float) -> AsyncIterator[Database]:
    database = Database(url, **options)  # type: ignore[arg-type]
    try:
        yield database
    finally:
        await database.close()


@contextlib.asynccontextmanager
async def emptied(kind: str, request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """One of `DATABASES`, with tables and nothing in them."""
    async with opened(url_of(kind, request)) as database:
        await upgrade(database)
        async with database.writing() as connection:
            for table in reversed(metadata.sorted_tables):
                await connection.execute(table.delete())
        yield database


async def dump(database: Database) -> str:
    """Everything that is in the tables, as somebody who stole them would read it."""
    lines = []
    async with database.reading() as connection:
        for table in metadata.sorted_tables:
            for row in await connection.execute(select(table)):
                lines.append(f"{table.name}: {dict(row._mapping)}")
    return "\n".join(lines)
