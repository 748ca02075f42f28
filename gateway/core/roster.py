"""Who is connected here, and telling the other replicas about it."""

import asyncio
import logging
from collections import Counter

from gateway.domain.errors import Unavailable
from gateway.ports.presence import Presence

_RETRY_SECONDS = 1.0
_CHANGES_PER_CALL_MAX = 1000

logger = logging.getLogger(__name__)


class Roster:
    """Counts connections per user on this replica and keeps the shared table current.

    Counting is synchronous and never fails. The table follows at once while it can be reached,
    one call at a time: what changes during a call goes into the next one, so a storm of
    connects costs a few calls. What is announced are counts, not steps, so that repeating an
    announcement that may have been carried out does no harm.
    """

    def __init__(self, presence: Presence, *, replica: str, renew_interval_seconds: float) -> None:
        self._presence = presence
        self._replica = replica
        self._renew_interval_seconds = renew_interval_seconds
        self._counts: Counter[str] = Counter()
        self._changed: set[str] = set()
        self._wake = asyncio.Event()

    def join(self, user: str) -> None:
        self._counts[user] += 1
        self._mark(user)

    def leave(self, user: str) -> None:
        self._counts[user] -= 1
        if not self._counts[user]:
            del self._counts[user]
        self._mark(user)

    def connections_of(self, user: str) -> int:
        return self._counts.get(user, 0)

    @property
    def connection_count(self) -> int:
        return self._counts.total()

    async def connected(self) -> dict[str, dict[str, int]]:
        """User -> replica -> connections, on all replicas; raises `Unavailable`."""
        table = await self._presence.connected()
        # Our own line is taken from the source: its announcement may still be under way.
        for replicas in table.values():
            replicas.pop(self._replica, None)
        for user, count in self._counts.items():
            table.setdefault(user, {})[self._replica] = count
        return {user: replicas for user, replicas in sorted(table.items()) if replicas}

    async def run(self) -> None:
        """Keep the table current until cancelled, then withdraw this replica from it."""
        try:
            while True:
                try:
                    await self._follow()
                except Unavailable as trouble:
                    logger.warning("who is connected here cannot be announced: %s", trouble.detail)
                    await asyncio.sleep(_RETRY_SECONDS)
        finally:
            try:
                await self._presence.withdraw()
            except Unavailable:
                logger.warning("this replica could not withdraw; its lease will run out")

    async def _follow(self) -> None:
        while True:
            if not await self._presence.renew():
                self._changed.update(self._counts)
            while self._changed:
                await self._announce()
            self._wake.clear()
            try:
                async with asyncio.timeout(self._renew_interval_seconds):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _announce(self) -> None:
        users = [self._changed.pop() for _ in range(min(len(self._changed), _CHANGES_PER_CALL_MAX))]
        try:
            await self._presence.announce({user: self._counts.get(user, 0) for user in users})
        except BaseException:
            self._changed.update(users)
            raise

    def _mark(self, user: str) -> None:
        self._changed.add(user)
        self._wake.set()
