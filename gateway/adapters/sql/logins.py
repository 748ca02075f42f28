"""The logins, in a table: one row each, and no trace of a token in it."""

import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Row, Select, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.adapters.sql.engine import Database
from gateway.adapters.sql.schema import logins, users
from gateway.domain.accounts import Login, is_login_id
from gateway.domain.errors import Conflict, NotFound
from gateway.ports.logins import Logins


class SqlLogins(Logins):
    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def start(self, user_id: int, login_id: str, expires_at: float) -> Login:
        now = self._clock()
        statement = insert(logins).values(
            id=login_id,
            user_id=user_id,
            generation=0,
            rotated_at=now,
            started_at=now,
            expires_at=expires_at,
        )
        try:
            async with self._database.writing() as connection:
                name = await connection.scalar(select(users.c.name).where(users.c.id == user_id))
                if name is None:
                    raise NotFound("there is no such user")
                await connection.execute(statement)
        except IntegrityError:
            raise Conflict("this login exists already") from None
        return Login(login_id, user_id, name, 0, now, now, expires_at)

    async def find(self, login_id: str) -> Login | None:
        if not is_login_id(login_id):
            return None
        async with self._database.reading() as connection:
            return await _find(connection, login_id)

    async def rotate(self, login_id: str, generation: int, now: float) -> Login | None:
        # One statement: the database lets one caller through, and the others see its result.
        statement = (
            update(logins)
            .where(logins.c.id == login_id, logins.c.generation == generation)
            .where(logins.c.ended_at.is_(None), logins.c.expires_at > now)
            .values(generation=generation + 1, rotated_at=now)
        )
        if not is_login_id(login_id):
            return None
        async with self._database.writing() as connection:
            done = await connection.execute(statement)
            return await _find(connection, login_id) if done.rowcount else None

    async def end(self, login_id: str, now: float) -> bool:
        statement = update(logins).where(logins.c.id == login_id, logins.c.ended_at.is_(None))
        if not is_login_id(login_id):
            return False
        async with self._database.writing() as connection:
            done = await connection.execute(statement.values(ended_at=now))
        return done.rowcount == 1

    async def end_all(self, user_id: int, now: float, except_id: str = "") -> list[str]:
        meant = (
            select(logins.c.id)
            .where(logins.c.user_id == user_id, logins.c.ended_at.is_(None))
            .where(logins.c.id != except_id)
            .order_by(logins.c.id)  # two who lock the same rows do so in the same order
            .with_for_update()
        )
        async with self._database.writing() as connection:
            ids = list(await connection.scalars(meant))
            if ids:
                ending = update(logins).where(logins.c.id.in_(ids)).values(ended_at=now)
                await connection.execute(ending)
        return ids

    async def live(self, user_id: int) -> list[Login]:
        statement = _joined().where(
            logins.c.user_id == user_id,
            logins.c.ended_at.is_(None),
            logins.c.expires_at > self._clock(),
        )
        async with self._database.reading() as connection:
            rows = await connection.execute(statement.order_by(logins.c.started_at, logins.c.id))
            return [_login(row) for row in rows]

    async def count_live(self, now: float) -> int:
        statement = select(func.count()).where(
            logins.c.ended_at.is_(None), logins.c.expires_at > now
        )
        async with self._database.reading() as connection:
            return await connection.scalar(statement) or 0

    async def prune(self, before: float) -> int:
        statement = delete(logins).where(
            or_(logins.c.expires_at < before, logins.c.ended_at < before)
        )
        async with self._database.writing() as connection:
            done = await connection.execute(statement)
        return done.rowcount


async def _find(connection: AsyncConnection, login_id: str) -> Login | None:
    rows = await connection.execute(_joined().where(logins.c.id == login_id))
    row = rows.first()
    return _login(row) if row else None


def _joined() -> Select[Any]:
    return select(logins, users.c.name.label("user_name")).join(users)


def _login(row: Row[Any]) -> Login:
    return Login(
        id=row.id,
        user_id=row.user_id,
        user_name=row.user_name,
        generation=row.generation,
        rotated_at=row.rotated_at,
        started_at=row.started_at,
        expires_at=row.expires_at,
        ended_at=row.ended_at,
    )
