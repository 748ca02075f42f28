"""Logging in, staying logged in, logging out.

A refresh token names its login and a generation, and the login knows which generation is valid:
neither the token nor a hash of it is stored, and the same generation always gives the same text.
So a client whose answer was lost may ask again and gets the same successor, while a token that
comes back later is a stolen one and ends the login for everybody who has a part of it.
"""

import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.core.accounts import Accounts
from gateway.core.login_limits import LoginLimits
from gateway.core.passwords import Passwords
from gateway.core.revocations import Revocations
from gateway.core.tokens import RefreshClaims, TokenIssuer, TokenVerifier
from gateway.domain.accounts import Credentials, Login, User
from gateway.domain.errors import Conflict, Denied, InvalidCredentials, InvalidToken
from gateway.domain.principal import Principal
from gateway.domain.revocations import Revocation, RevocationKind
from gateway.ports.logins import Logins
from gateway.ports.users import Users

_DISABLED = "account: this account is disabled"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoginTimes:
    """How long things last, in seconds."""

    access_token: int
    refresh_token: int
    refresh_grace: int
    leeway: int


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a login or a refresh gives; ``expires_in`` is in seconds."""

    user: User
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int


class LoginDesk:
    """One per replica; what it knows is in the database."""

    def __init__(
        self,
        users: Users,
        logins: Logins,
        accounts: Accounts,
        passwords: Passwords,
        limits: LoginLimits,
        revocations: Revocations,
        issuer: TokenIssuer,
        verifier: TokenVerifier,
        times: LoginTimes,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._users = users
        self._logins = logins
        self._accounts = accounts
        self._passwords = passwords
        self._limits = limits
        self._revocations = revocations
        self._issuer = issuer
        self._verifier = verifier
        self._times = times
        self._clock = clock

    async def login(self, name: str, password: str, address: str) -> Tokens:
        """Raises `InvalidCredentials`, `Denied`, `LimitReached` or `Unavailable`."""
        await self._limits.attempt(address, name)
        try:
            credentials = await self._users.credentials(name)
            stored = credentials.password_hash if credentials else None
            verdict = await self._passwords.verify(password, stored)
        except BaseException:
            await self._limits.abandoned(address, name)
            raise
        if credentials is None or not verdict.is_right:
            await self._limits.failed(address, name)
            raise InvalidCredentials("Incorrect username or password")
        await self._limits.succeeded(address, name)
        user = credentials.user
        if user.is_disabled:
            raise Denied(_DISABLED)
        if verdict.better_hash:
            await self._users.upgrade_hash(name, credentials.password_hash, verdict.better_hash)
        login = await self._start(user)
        read_at = self._clock()
        now_stored = await self._users.credentials(name)
        known = (credentials.password_hash, verdict.better_hash)
        if now_stored is None or not await self._is_still_right(password, now_stored, known):
            await self._logins.end(login.id, self._clock())
            raise InvalidCredentials("the password was changed a moment ago")
        return await self._tokens_of_new(login, now_stored.user, read_at)

    async def login_without_password(self, name: str) -> Tokens:
        """For the demo setting alone: whoever asks is whom it claims to be."""
        user = await self._users.find(name)
        if user is None:
            try:
                user = await self._accounts.add(name, secrets.token_urlsafe(32), roles=["user"])
            except Conflict:  # somebody else asked at the same moment
                user = await self._accounts.find(name)
        login = await self._start(user)
        read_at = self._clock()
        return await self._tokens_of_new(login, await self._accounts.find(name), read_at)

    async def admit_registration(self, address: str) -> None:
        """Raises `LimitReached` for an address that makes too many accounts."""
        await self._limits.visit(address)

    async def change_password(self, principal: Principal, old: str, new: str, address: str) -> None:
        """For the user; raises `InvalidCredentials`, `InvalidRequest` or `LimitReached`."""
        name = principal.subject
        await self._limits.attempt(address, name)
        try:
            await self._accounts.change_password(name, old, new, session_id=principal.session_id)
        except InvalidCredentials:
            await self._limits.failed(address, name)
            raise
        except BaseException:
            await self._limits.abandoned(address, name)
            raise
        await self._limits.succeeded(address, name)

    async def refresh(self, refresh_token: str) -> Tokens:
        """Rotate; raises `InvalidToken` or `Unavailable`."""
        claims = self._verifier.verify_refresh(refresh_token)
        now = self._clock()
        login = await self._logins.rotate(claims.session_id, claims.generation, now)
        if login is None:
            login = await self._repeated(claims, now)
        read_at = self._clock()
        user = await self._users.find_by_id(login.user_id)
        if user is None or user.is_disabled:
            raise InvalidToken("the account is disabled")
        return self._tokens(user, login, read_at)

    async def _repeated(self, claims: RefreshClaims, now: float) -> Login:
        """The login of a refresh that lost against another one, or was answered before."""
        login = await self._logins.find(claims.session_id)
        if login is None or not login.is_live(now):
            raise InvalidToken("the login has ended")
        is_last_but_one = login.generation == claims.generation + 1
        if is_last_but_one and now - login.rotated_at <= self._times.refresh_grace:
            return login
        if claims.generation >= login.generation:
            # Of a time that the database has forgotten, as after a restored backup.
            raise InvalidToken("the refresh token is not known")
        logger.warning("a used refresh token came back: the login %s ends", login.id)
        await self._accounts.end_login(login.user_name, login.id, "reuse")
        raise InvalidToken("the refresh token was used before, so the login has ended")

    async def logout(self, principal: Principal) -> bool:
        """End the login that the token belongs to; whether all replicas know already."""
        if principal.session_id:
            return await self._accounts.end_login(principal.subject, principal.session_id, "logout")
        until = principal.expires_at + self._times.leeway + 1
        token, user = principal.token_id, principal.subject
        return await self._revocations.revoke(
            Revocation(RevocationKind.TOKEN, token, user, 0, until, "logout")
        )

    async def logout_everywhere(self, principal: Principal) -> bool:
        return await self._accounts.end_all(principal.subject, "logout")

    async def count_live(self) -> int:
        """How many logins are alive, on all replicas."""
        return await self._logins.count_live(self._clock())

    async def prune(self) -> int:
        """Forget logins that no refresh token can name any more."""
        return await self._logins.prune(self._clock() - self._times.refresh_token)

    async def _start(self, user: User) -> Login:
        # A whole second, as in the token: the last refresh has to leave it some time to live.
        expires_at = int(self._clock()) + self._times.refresh_token
        return await self._logins.start(user.id, secrets.token_urlsafe(16), expires_at)

    async def _is_still_right(
        self, password: str, stored: Credentials, known: tuple[str | None, ...]
    ) -> bool:
        # Comparing takes a while, in a queue perhaps seconds. Who changed the password meanwhile
        # has ended every login that there was, and this one was not there yet.
        if stored.password_hash in known:
            return True
        return (await self._passwords.verify(password, stored.password_hash)).is_right

    async def _tokens_of_new(self, login: Login, user: User, read_at: float) -> Tokens:
        if user.is_disabled:
            await self._logins.end(login.id, self._clock())
            raise Denied(_DISABLED)
        return self._tokens(user, login, read_at)

    def _tokens(self, user: User, login: Login, read_at: float) -> Tokens:
        """``read_at`` is from before the user was read.

        What has been taken from the user since then revokes all tokens up to its own second, so
        also this one; see `Accounts`.
        """
        access = self._issuer.issue(
            user.name,
            lifetime_seconds=self._times.access_token,
            roles=sorted(user.roles),
            session_id=login.id,
            issued_at=max(int(read_at), user.tokens_valid_from),
        )
        refresh = self._issuer.issue_refresh(
            user.name, login.id, login.generation, int(login.rotated_at), int(login.expires_at)
        )
        return Tokens(user, access, refresh, self._times.access_token)
