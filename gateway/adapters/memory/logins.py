"""The logins of a single replica."""

import time
from collections.abc import Callable
from dataclasses import replace

from gateway.domain.accounts import Login
from gateway.domain.errors import Conflict, NotFound
from gateway.ports.logins import Logins
from gateway.ports.users import Users


class MemoryLogins(Logins):
    def __init__(self, users: Users, clock: Callable[[], float] = time.time) -> None:
        self._users = users
        self._clock = clock
        self._logins: dict[str, Login] = {}  # in the order of their start

    async def start(self, user_id: int, login_id: str, expires_at: float) -> Login:
        user = await self._users.find_by_id(user_id)
        if user is None:
            raise NotFound("there is no such user")
        if login_id in self._logins:
            raise Conflict("this login exists already")
        now = self._clock()
        login = Login(
            id=login_id,
            user_id=user.id,
            user_name=user.name,
            generation=0,
            rotated_at=now,
            started_at=now,
            expires_at=expires_at,
        )
        self._logins[login_id] = login
        return login

    async def find(self, login_id: str) -> Login | None:
        return self._logins.get(login_id)

    async def rotate(self, login_id: str, generation: int, now: float) -> Login | None:
        login = self._logins.get(login_id)
        if login is None or login.generation != generation or not login.is_live(now):
            return None
        login = replace(login, generation=generation + 1, rotated_at=now)
        self._logins[login_id] = login
        return login

    async def end(self, login_id: str, now: float) -> bool:
        login = self._logins.get(login_id)
        if login is None or login.ended_at is not None:
            return False
        self._logins[login_id] = replace(login, ended_at=now)
        return True

    async def end_all(self, user_id: int, now: float, except_id: str = "") -> list[str]:
        meant = [
            login.id
            for login in self._logins.values()
            if login.user_id == user_id and login.id != except_id
        ]
        return [login_id for login_id in meant if await self.end(login_id, now)]

    async def live(self, user_id: int) -> list[Login]:
        now = self._clock()
        return [
            login
            for login in self._logins.values()
            if login.user_id == user_id and login.is_live(now)
        ]

    async def count_live(self, now: float) -> int:
        return sum(login.is_live(now) for login in self._logins.values())

    async def prune(self, before: float) -> int:
        gone = [
            login.id
            for login in self._logins.values()
            if min(login.expires_at, login.ended_at or login.expires_at) < before
        ]
        for login_id in gone:
            del self._logins[login_id]
        return len(gone)
