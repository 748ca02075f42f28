"""The accounts of a single replica."""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from gateway.domain.accounts import Credentials, User, fold_name, name_key
from gateway.domain.errors import Conflict, NotFound
from gateway.ports.users import Users


class MemoryUsers(Users):
    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._users: dict[int, User] = {}  # in the order of their ids
        self._hashes: dict[int, str] = {}
        self._ids: dict[str, int] = {}  # by folded name
        self._emails: set[str] = set()

    async def add(
        self, name: str, password_hash: str, email: str = "", roles: Iterable[str] = ()
    ) -> User:
        key, email_key = fold_name(name), fold_name(email)
        if key in self._ids:
            raise Conflict("this name is taken")
        if email_key in self._emails:
            raise Conflict("this e-mail address is taken")
        user = User(
            id=len(self._users) + 1,
            name=name,
            email=email,
            roles=frozenset(roles),
            created_at=self._clock(),
        )
        self._users[user.id] = user
        self._hashes[user.id] = password_hash
        self._ids[key] = user.id
        if email_key:
            self._emails.add(email_key)
        return user

    async def find(self, name: str) -> User | None:
        return self._users.get(self._ids.get(name_key(name), 0))

    async def find_by_id(self, user_id: int) -> User | None:
        return self._users.get(user_id)

    async def credentials(self, name: str) -> Credentials | None:
        user = await self.find(name)
        return Credentials(user, self._hashes[user.id]) if user else None

    async def page(self, after_id: int, limit: int) -> list[User]:
        return [user for user in self._users.values() if user.id > after_id][:limit]

    async def count(self) -> int:
        return len(self._users)

    async def set_roles(self, name: str, roles: Iterable[str], tokens_valid_from: int) -> User:
        return await self._changed(name, tokens_valid_from, roles=frozenset(roles))

    async def set_disabled(self, name: str, is_disabled: bool, tokens_valid_from: int) -> User:
        return await self._changed(name, tokens_valid_from, is_disabled=is_disabled)

    async def set_password(self, name: str, password_hash: str, tokens_valid_from: int) -> User:
        user = await self._changed(name, tokens_valid_from)
        self._hashes[user.id] = password_hash
        return user

    async def set_tokens_valid_from(self, name: str, tokens_valid_from: int) -> User:
        return await self._changed(name, tokens_valid_from)

    async def upgrade_hash(self, name: str, old_hash: str, new_hash: str) -> bool:
        user = await self._existing(name)
        if self._hashes[user.id] != old_hash:
            return False
        self._hashes[user.id] = new_hash
        return True

    async def _changed(self, name: str, tokens_valid_from: int, **changes: Any) -> User:
        user = await self._existing(name)
        valid_from = max(user.tokens_valid_from, tokens_valid_from)
        user = replace(user, tokens_valid_from=valid_from, **changes)
        self._users[user.id] = user
        return user

    async def _existing(self, name: str) -> User:
        user = await self.find(name)
        if user is None:
            raise NotFound("there is no such user")
        return user
