"""The accounts, in a table."""

import json
import time
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import Row, case, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.adapters.sql.engine import Database
from gateway.adapters.sql.schema import users
from gateway.domain.accounts import Credentials, User, fold_name, name_key
from gateway.domain.errors import Conflict, NotFound
from gateway.ports.users import Users

_ID_MAX = (1 << 63) - 1


class SqlUsers(Users):
    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def add(
        self, name: str, password_hash: str, email: str = "", roles: Iterable[str] = ()
    ) -> User:
        roles = frozenset(roles)
        created_at = self._clock()
        statement = insert(users).values(
            name=name,
            name_key=fold_name(name),
            email=email,
            email_key=fold_name(email) or None,
            password_hash=password_hash,
            roles=_as_json(roles),
            is_disabled=False,
            tokens_valid_from=0,
            created_at=created_at,
        )
        try:
            async with self._database.writing() as connection:
                done = await connection.execute(statement)
        except IntegrityError:
            taken = "name" if await self.find(name) else "e-mail address"
            raise Conflict(f"this {taken} is taken") from None
        (user_id,) = done.inserted_primary_key or (0,)
        return User(user_id, name, email, roles, created_at=created_at)

    async def find(self, name: str) -> User | None:
        found = await self.credentials(name)
        return found.user if found else None

    async def find_by_id(self, user_id: int) -> User | None:
        if not 0 < user_id <= _ID_MAX:
            return None
        async with self._database.reading() as connection:
            rows = await connection.execute(select(users).where(users.c.id == user_id))
            row = rows.first()
        return _user(row) if row else None

    async def credentials(self, name: str) -> Credentials | None:
        key = name_key(name)
        if not key:
            return None
        async with self._database.reading() as connection:
            row = await _row(connection, key)
        return Credentials(_user(row), row.password_hash) if row else None

    async def page(self, after_id: int, limit: int) -> list[User]:
        statement = select(users).where(users.c.id > min(after_id, _ID_MAX))
        async with self._database.reading() as connection:
            rows = await connection.execute(statement.order_by(users.c.id).limit(limit))
            return [_user(row) for row in rows]

    async def count(self) -> int:
        async with self._database.reading() as connection:
            return await connection.scalar(select(func.count()).select_from(users)) or 0

    async def set_roles(self, name: str, roles: Iterable[str], tokens_valid_from: int) -> User:
        return await self._changed(name, tokens_valid_from, roles=_as_json(roles))

    async def set_disabled(self, name: str, is_disabled: bool, tokens_valid_from: int) -> User:
        return await self._changed(name, tokens_valid_from, is_disabled=is_disabled)

    async def set_password(self, name: str, password_hash: str, tokens_valid_from: int) -> User:
        return await self._changed(name, tokens_valid_from, password_hash=password_hash)

    async def set_tokens_valid_from(self, name: str, tokens_valid_from: int) -> User:
        return await self._changed(name, tokens_valid_from)

    async def upgrade_hash(self, name: str, old_hash: str, new_hash: str) -> bool:
        key = name_key(name)
        statement = update(users).where(users.c.name_key == key, users.c.password_hash == old_hash)
        async with self._database.writing() as connection:
            done = await connection.execute(statement.values(password_hash=new_hash))
            if done.rowcount == 0 and await _row(connection, key) is None:
                raise NotFound("there is no such user")
            return done.rowcount == 1

    async def _changed(self, name: str, tokens_valid_from: int, **changes: Any) -> User:
        key = name_key(name)
        known = users.c.tokens_valid_from
        changes["tokens_valid_from"] = case(
            (known < tokens_valid_from, tokens_valid_from), else_=known
        )
        async with self._database.writing() as connection:
            await connection.execute(update(users).where(users.c.name_key == key).values(changes))
            row = await _row(connection, key)
        if row is None:
            raise NotFound("there is no such user")
        return _user(row)


async def _row(connection: AsyncConnection, key: str) -> Row[Any] | None:
    rows = await connection.execute(select(users).where(users.c.name_key == key))
    return rows.first()


def _user(row: Row[Any]) -> User:
    return User(
        id=row.id,
        name=row.name,
        email=row.email,
        roles=frozenset(json.loads(row.roles)),
        is_disabled=row.is_disabled,
        tokens_valid_from=row.tokens_valid_from,
        created_at=row.created_at,
    )


def _as_json(roles: Iterable[str]) -> str:
    return json.dumps(sorted(roles))
