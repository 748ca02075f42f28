"""Accounts: who may log in, with which roles, and what a change means for what is open already.

Every change that takes something away reaches live sockets on all replicas within a moment: the
tokens issued before it are revoked. A change is written down before it is told.
"""

import time
from collections.abc import Callable, Iterable

from gateway.core.passwords import Passwords
from gateway.core.revocations import Revocations
from gateway.core.tokens.claims import is_name
from gateway.domain.accounts import (
    Login,
    User,
    check_email,
    check_name,
    check_password,
    check_roles,
)
from gateway.domain.errors import InvalidCredentials, NotFound
from gateway.domain.revocations import Revocation, RevocationKind
from gateway.ports.logins import Logins
from gateway.ports.users import Users


def as_dict(user: User) -> dict[str, object]:
    """What an account looks like to its user and to administrators, over HTTP and in a shell."""
    return {
        "user_id": user.id,
        "username": user.name,
        "email": user.email,
        "roles": sorted(user.roles),
        "disabled": user.is_disabled,
        "created_at": user.created_at,
    }


class Accounts:
    """``token_seconds_max`` is how long any access token could be valid, leeway included.

    ``latest`` is the moment that no replica is past; see `CommonTime`. What is revoked is what
    was issued until then, for the token may come from a replica whose clock is ahead of ours.
    """

    def __init__(
        self,
        users: Users,
        logins: Logins,
        passwords: Passwords,
        revocations: Revocations,
        *,
        token_seconds_max: int,
        latest: Callable[[], float],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._users = users
        self._logins = logins
        self._passwords = passwords
        self._revocations = revocations
        self._token_seconds_max = token_seconds_max
        self._clock = clock
        self._latest = latest

    async def add(
        self, name: str, password: str, *, email: str = "", roles: Iterable[str] = ()
    ) -> User:
        """Raises `InvalidRequest` for what cannot be used, `Conflict` for what is taken."""
        name, email, roles = check_name(name), check_email(email), check_roles(roles)
        password_hash = await self._passwords.hash(check_password(password))
        return await self._users.add(name, password_hash, email, roles)

    async def find(self, name: str) -> User:
        """Raises `NotFound`."""
        user = await self._users.find(name)
        if user is None:
            raise NotFound("there is no such user")
        return user

    async def logins_of(self, user: User) -> list[Login]:
        """Those that are alive, the oldest first."""
        return await self._logins.live(user.id)

    async def page(self, after_id: int, limit: int) -> list[User]:
        return await self._users.page(after_id, limit)

    async def set_roles(self, name: str, roles: Iterable[str]) -> User:
        """Their sockets close; the next refresh brings a token with the new roles."""
        user = await self._users.set_roles(name, check_roles(roles), 0)
        await self._cut_off(user, "roles")
        return user

    async def disable(self, name: str) -> User:
        """End every login and every socket of the user."""
        user = await self._users.set_disabled(name, True, 0)
        await self._logins.end_all(user.id, self._clock())
        await self._cut_off(user, "disabled")
        return user

    async def enable(self, name: str) -> User:
        return await self._users.set_disabled(name, False, 0)

    async def reset_password(self, name: str, password: str) -> User:
        """What an administrator does: whoever knew the old one is out."""
        password_hash = await self._passwords.hash(check_password(password))
        user = await self._users.set_password(name, password_hash, 0)
        await self._logins.end_all(user.id, self._clock())
        await self._cut_off(user, "password")
        return user

    async def change_password(self, name: str, old: str, new: str, *, session_id: str) -> User:
        """What a user does: the login that asks stays, every other one ends."""
        credentials = await self._users.credentials(name)
        stored = credentials.password_hash if credentials else None
        if not (await self._passwords.verify(old, stored)).is_right or credentials is None:
            raise InvalidCredentials("the old password is not right")
        password_hash = await self._passwords.hash(check_password(new))
        user = await self._users.set_password(name, password_hash, 0)
        for ended in await self._logins.end_all(user.id, self._clock(), except_id=session_id):
            await self._revoke_session(user.name, ended, "password")
        return user

    async def end_all(self, name: str, reason: str) -> bool:
        """End every login, token and socket of this name; whether all replicas know already.

        The name may be that of somebody whose tokens another issuer signs.
        """
        user = await self._users.find(name)
        if user is None:
            if not is_name(name):
                raise NotFound("no token can name such a user")
            return await self._revoke_user(name, int(self._latest()) + 1, reason)
        await self._logins.end_all(user.id, self._clock())
        return await self._cut_off(user, reason)

    async def end_login(self, name: str, session_id: str, reason: str) -> bool:
        """End one login with its tokens and sockets; whether all replicas know already."""
        await self._logins.end(session_id, self._clock())
        return await self._revoke_session(name, session_id, reason)

    async def _cut_off(self, user: User, reason: str) -> bool:
        """Revoke what was issued to the user until now; ``user`` is as the change left it.

        A token says the second of its making only, so those of the current one are revoked, too,
        and one that is made later in this second says that it is of the next one. Who issues a
        token looks at the clock before the user is read (see `LoginDesk`): no token that lacks
        the change says a later second than the one that is taken here.
        """
        cutoff = max(int(self._latest()), user.tokens_valid_from) + 1
        await self._users.set_tokens_valid_from(user.name, cutoff)
        return await self._revoke_user(user.name, cutoff, reason)

    async def _revoke_user(self, name: str, cutoff: int, reason: str) -> bool:
        until = cutoff + self._token_seconds_max
        return await self._revocations.revoke(
            Revocation(RevocationKind.USER, name, name, cutoff, until, reason)
        )

    async def _revoke_session(self, name: str, session_id: str, reason: str) -> bool:
        until = int(self._latest()) + 1 + self._token_seconds_max
        return await self._revocations.revoke(
            Revocation(RevocationKind.SESSION, session_id, name, 0, until, reason)
        )
