"""How often a login may be tried, without letting strangers lock a user out."""

import hashlib
import hmac
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from gateway.core.addresses import bucket_of
from gateway.domain.accounts import fold_name
from gateway.domain.errors import LimitReached, Unavailable
from gateway.ports.limiter import Limiter, Rate

FAMILIAR_SECONDS = 30 * 24 * 3600

_NAME_LENGTH_MAX = 1000
_ALONE_SECONDS = 1.0

T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoginRates:
    """``address`` counts every attempt, the other two those that were not right.

    ``account`` is what all strangers to an account have together; ``familiar`` is what each
    address has from which the account logged in lately.
    """

    address: Rate
    account: Rate
    familiar: Rate


LOGIN_RATES = LoginRates(
    address=Rate(burst=30, per_seconds=2.0),
    account=Rate(burst=10, per_seconds=60.0),  # about 1,500 guesses a day
    familiar=Rate(burst=10, per_seconds=30.0),
)


class LoginLimits:
    """Counts attempts per address and per account, for all replicas together.

    Every attempt takes its unit first, so that many at once are no way around the limit, and
    ends with one of `succeeded`, `failed` and `abandoned`. An account is its name in any
    spelling, whether it exists or not. An account's bucket refills steadily, and an address
    from which the account logged in during the last 30 days has a bucket of its own: from
    there, strangers cannot lock a user out. From a new address they can, while they keep on.

    Without an address (a Unix socket) only the account is counted. While the limiter is
    unavailable, this replica counts alone, in ``fallback``. Names and addresses leave the
    process as keyed hashes only.
    """

    def __init__(
        self,
        limiter: Limiter,
        fallback: Limiter,
        *,
        secret: bytes,
        rates: LoginRates = LOGIN_RATES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limiter = limiter
        self._fallback = fallback
        self._secret = secret
        self._rates = rates
        self._clock = clock
        self._is_alone = False
        self._alone_until = 0.0

    async def attempt(self, address: str, name: str) -> None:
        """Ask before a password is looked at; raises `LimitReached` with the time to wait."""
        keys = self._keys(address, name)

        async def take(limiter: Limiter) -> float:
            takes = [await self._account_bucket(limiter, keys)]
            if keys.address:
                takes.append((keys.address, self._rates.address))
            return await limiter.take(takes)

        wait = await self._ask(take)
        if wait:
            raise LimitReached("too many attempts to log in", wait)

    async def visit(self, address: str) -> None:
        """Count what is no login, and as dear as one: a registration. Raises `LimitReached`."""
        key = self._keys(address, "").address
        rate = self._rates.address
        if key and (wait := await self._ask(lambda limiter: limiter.take([(key, rate)]))):
            raise LimitReached("too many accounts were made from here", wait)

    async def succeeded(self, address: str, name: str) -> None:
        """The password was right: the account has its unit back, and knows the address now."""
        await self.abandoned(address, name)
        familiar = self._keys(address, name).familiar
        if familiar:
            await self._ask(lambda limiter: limiter.remember(familiar, FAMILIAR_SECONDS))
            # Here, too, so that strangers cannot lock out anybody while the limiter is away.
            await self._fallback.remember(familiar, FAMILIAR_SECONDS)

    async def failed(self, address: str, name: str) -> None:
        """The password was wrong: what was taken stays taken, and operators may act on it."""
        logger.info("a login failed from %s", ascii(bucket_of(address)))

    async def abandoned(self, address: str, name: str) -> None:
        """Whether the password is right was never found out: the account has its unit back."""
        keys = self._keys(address, name)

        async def give_back(limiter: Limiter) -> None:
            await limiter.give_back(*await self._account_bucket(limiter, keys))

        await self._ask(give_back)

    async def _account_bucket(self, limiter: Limiter, keys: "_LoginKeys") -> tuple[str, Rate]:
        if keys.familiar and await limiter.remembers(keys.familiar):
            return keys.familiar, self._rates.familiar
        return keys.account, self._rates.account

    async def _ask(self, question: Callable[[Limiter], Awaitable[T]]) -> T:
        if self._clock() < self._alone_until:
            return await question(self._fallback)
        try:
            answer = await question(self._limiter)
        except Unavailable as trouble:
            if not self._is_alone:
                logger.warning("this replica counts logins alone: %s", trouble.detail)
            self._is_alone = True
            # For a moment nobody else waits for an answer that will not come.
            self._alone_until = self._clock() + _ALONE_SECONDS
            return await question(self._fallback)
        if self._is_alone:
            logger.info("all replicas count logins together again")
            self._is_alone = False
        return answer

    def _keys(self, address: str, name: str) -> "_LoginKeys":
        # What is too long for a name is cut before it is folded, which could take seconds.
        bucket, account = bucket_of(address), fold_name(name[:_NAME_LENGTH_MAX])
        return _LoginKeys(
            account=self._key("account", account),
            address=self._key("address", bucket) if bucket else "",
            familiar=self._key("familiar", bucket, account) if bucket else "",
        )

    def _key(self, kind: str, *parts: str) -> str:
        text = "\0".join((kind, *parts)).encode("utf-8", "surrogatepass")
        return f"{kind}:{hmac.digest(self._secret, text, hashlib.sha256)[:16].hex()}"


@dataclass(frozen=True, slots=True)
class _LoginKeys:
    account: str
    address: str
    familiar: str
