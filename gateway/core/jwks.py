"""Keeps the keys of another issuer current, without ever letting a token wait for them."""

import asyncio
import logging
import time
from collections.abc import Callable

from gateway.core.tokens import KeyRing
from gateway.domain.errors import Unavailable
from gateway.ports.jwks import JwksSource

_RETRY_SECONDS = 1.0

logger = logging.getLogger(__name__)


class JwksKeeper:
    """Fetches the document from time to time, and sooner when a token names an unknown key.

    Tokens are verified with the keys that are there. While the source is down the old keys stay
    valid, for at most ``stale_seconds``. A token with an unknown kid costs at most one fetch in
    ``refetch_interval_seconds``, whoever sends how many of them; until the answer is there its
    sender is asked to try again, and after that an unknown kid is simply wrong.
    """

    def __init__(
        self,
        source: JwksSource,
        ring: KeyRing,
        *,
        refresh_seconds: float = 300,
        stale_seconds: float = 86_400,
        refetch_interval_seconds: float = 30,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if stale_seconds < refresh_seconds:
            raise ValueError("keys are refreshed before they are stale")
        self.ring = ring
        self._source = source
        self._refresh_seconds = refresh_seconds
        self._stale_seconds = stale_seconds
        self._refetch_interval_seconds = refetch_interval_seconds
        self._clock = clock
        self._fetched_at: float | None = None
        self._failures = 0
        self._next_at = 0.0
        self._refetch_allowed_at = 0.0
        self._is_fetching = False
        self._wake = asyncio.Event()
        ring.when_unknown(self._seconds_until_known)

    async def run(self) -> None:
        """Keep the ring current until cancelled."""
        while True:
            await self.refresh()
            self._next_at = self._clock() + self._delay_seconds()
            try:
                async with asyncio.timeout(self._delay_seconds()):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def refresh(self) -> bool:
        """Fetch once; False when it failed, and the ring holds what it held before."""
        self._is_fetching = True
        try:
            self.ring.update(await self._source.fetch())
        except (Unavailable, ValueError) as trouble:
            self._failures += 1
            self._forget_stale()
            logger.warning(
                "the keys of %s cannot be fetched, %d older ones stay valid: %s",
                self.ring.name,
                len(self.ring),
                trouble,
            )
            return False
        finally:
            self._is_fetching = False
            self._wake.clear()
        self._fetched_at, self._failures = self._clock(), 0
        return True

    def _delay_seconds(self) -> float:
        if not self._failures:
            return self._refresh_seconds
        # Soon at first, for both may be starting together; then no more often than for a token.
        delay_seconds = min(
            _RETRY_SECONDS * 2.0 ** min(self._failures - 1, 16), self._longest_retry
        )
        if self._fetched_at is None:
            return delay_seconds
        stale_in_seconds = self._fetched_at + self._stale_seconds - self._clock()
        return min(delay_seconds, stale_in_seconds) if stale_in_seconds > 0 else delay_seconds

    @property
    def _longest_retry(self) -> float:
        return min(self._refetch_interval_seconds, self._refresh_seconds)

    def _forget_stale(self) -> None:
        if self._fetched_at is None or self._clock() < self._fetched_at + self._stale_seconds:
            return
        logger.error("the keys of %s are too old; its tokens count no longer", self.ring.name)
        self.ring.clear()
        self._fetched_at = None

    def _seconds_until_known(self) -> float | None:
        """For the ring: it is asked while a token is verified, so it decides without waiting."""
        now = self._clock()
        if self._is_fetching or self._wake.is_set():
            return _RETRY_SECONDS
        if self._fetched_at is None or self._failures:
            # What the issuer's keys are now is not known, so the token may be right.
            return max(_RETRY_SECONDS, self._next_at - now)
        if now < self._refetch_allowed_at:
            return None
        self._refetch_allowed_at = now + self._refetch_interval_seconds
        self._wake.set()
        return _RETRY_SECONDS
