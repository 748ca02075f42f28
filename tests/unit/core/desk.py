"""A login desk with everything that it needs, in memory, at a time of the test's choosing."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable

from gateway.adapters.memory.broker import MemoryBroker
from gateway.adapters.memory.limiter import MemoryLimiter
from gateway.adapters.memory.logins import MemoryLogins
from gateway.adapters.memory.revocation_log import MemoryRevocationLog
from gateway.adapters.memory.users import MemoryUsers
from gateway.core.accounts import Accounts
from gateway.core.login_limits import LoginLimits
from gateway.core.logins import LoginDesk, LoginTimes, Tokens
from gateway.core.passwords import Passwords, Verdict
from gateway.core.revocations import Revocations
from gateway.core.signals import Signals
from gateway.core.tokens import SigningKey, TokenIssuer, TokenVerifier
from gateway.domain.accounts import Credentials, User
from gateway.domain.principal import Principal
from gateway.domain.revocations import Revocation
from tests.support.brokers import make_memory_broker

NOW = 1_000_000.25
ADDRESS = "192.0.2.1"
PASSWORD = "correct horse battery"
TIMES = LoginTimes(access_token=900, refresh_token=86_400, refresh_grace=10, leeway=5)
KEYS = [SigningKey(kid, bytes(range(start, start + 32))) for kid, start in (("a", 1), ("b", 101))]

Hook = Callable[[], Awaitable[object]]


class QuickPasswords(Passwords):
    """Compares without hashing; ``meanwhile`` is what happens while it does."""

    def __init__(self) -> None:
        self.compared: list[str | None] = []
        self.is_old = False
        self.meanwhile: Hook | None = None

    async def hash(self, password: str) -> str:
        await asyncio.sleep(0)
        return f"new:{password}"

    async def verify(self, password: str, stored: str | None) -> Verdict:
        self.compared.append(stored)
        hook, self.meanwhile = self.meanwhile, None
        await (hook() if hook else asyncio.sleep(0))
        is_right = stored in (f"new:{password}", f"old:{password}")
        better = f"new:{password}" if is_right and stored and stored.startswith("old:") else None
        return Verdict(is_right, better)


class WatchedUsers(MemoryUsers):
    """``after_read`` happens when a user has been read and nobody has acted on it yet."""

    after_read: Hook | None = None

    async def find_by_id(self, user_id: int) -> User | None:
        user = await super().find_by_id(user_id)
        await self._have_been_read()
        return user

    async def credentials(self, name: str) -> Credentials | None:
        credentials = await super().credentials(name)
        await self._have_been_read()
        return credentials

    async def _have_been_read(self) -> None:
        hook, self.after_read = self.after_read, None
        if hook:
            await hook()


class Desk:
    """The parts by their names, and the few things that most tests do with them."""

    def __init__(self) -> None:
        self.now = NOW
        self.behind = 0.0  # so far is our clock behind that of others
        self.users = WatchedUsers(self.clock)
        self.logins = MemoryLogins(self.users, self.clock)
        self.passwords = QuickPasswords()
        self.limiter = MemoryLimiter(clock=self.clock)
        self.ended: list[Revocation] = []
        self.log = MemoryRevocationLog()
        self.broker: MemoryBroker = make_memory_broker()
        self.revocations = Revocations(
            self.log, None, Signals(self.broker), self.ended.append, clock=self.clock
        )
        self.use(self.passwords)

    def use(self, passwords: Passwords) -> None:
        self._passwords = passwords
        self.accounts = Accounts(
            self.users,
            self.logins,
            passwords,
            self.revocations,
            token_seconds_max=900,
            latest=lambda: self.now + self.behind,
            clock=self.clock,
        )
        self.verifier = self.make_verifier(*KEYS[:1])
        self.desk = self.make_desk(KEYS[0], self.verifier)

    def clock(self) -> float:
        return self.now

    def make_verifier(self, *keys: SigningKey) -> TokenVerifier:
        return TokenVerifier(
            keys,
            issuer="us",
            audience="us",
            leeway_seconds=5,
            lifetime_seconds_max=900,
            check=self.revocations.check,
            clock=self.clock,
        )

    def make_desk(
        self, key: SigningKey, verifier: TokenVerifier, times: LoginTimes = TIMES
    ) -> LoginDesk:
        return LoginDesk(
            self.users,
            self.logins,
            self.accounts,
            self._passwords,
            LoginLimits(
                self.limiter, MemoryLimiter(clock=self.clock), secret=b"limits", clock=self.clock
            ),
            self.revocations,
            TokenIssuer(key, issuer="us", audience="us", lifetime_seconds_max=900),
            verifier,
            times,
            clock=self.clock,
        )

    def rotate_keys(self, *verifying: SigningKey) -> None:
        """Sign with the second key from now on; ``verifying`` are those that still count."""
        self.verifier = self.make_verifier(KEYS[1], *verifying)
        self.desk = self.make_desk(KEYS[1], self.verifier)

    def without_grace(self) -> None:
        times = dataclasses.replace(TIMES, refresh_grace=0)
        self.desk = self.make_desk(KEYS[0], self.verifier, times)

    async def add(self, name: str = "alice", *roles: str) -> User:
        return await self.accounts.add(name, PASSWORD, roles=roles)

    async def log_in(self, name: str = "alice", password: str = PASSWORD) -> Tokens:
        return await self.desk.login(name, password, ADDRESS)

    def who(self, tokens: Tokens) -> Principal:
        return self.verifier.verify(tokens.access_token)
