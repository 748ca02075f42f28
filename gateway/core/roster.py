"""Who is connected here, with which sessions, and telling the other replicas about it."""

import asyncio
import logging
from collections.abc import Collection, Mapping
from typing import Protocol

from gateway.domain.errors import GatewayError, InvalidToken, LimitReached, Unavailable
from gateway.domain.principal import Principal
from gateway.domain.revocations import Revocation
from gateway.ports.presence import Presence

_RETRY_SECONDS = 1.0
_CHANGES_PER_CALL_MAX = 1000

logger = logging.getLogger(__name__)


class Connection(Protocol):
    """What the roster knows of a session, whatever its protocol."""

    @property
    def principal(self) -> Principal: ...

    def end(self, error: GatewayError) -> None:
        """Close the socket for this reason; never wait."""


class Roster:
    """Counts connections per user on this replica and keeps the shared table current.

    Counting is synchronous and never fails. The table follows at once while it can be reached,
    one call at a time: what changes during a call goes into the next one, so a storm of
    connects costs a few calls. What is announced are counts, not steps, so that repeating an
    announcement that may have been carried out does no harm.
    """

    def __init__(
        self,
        presence: Presence,
        *,
        replica: str,
        renew_interval_seconds: float,
        connections_max: int = 0,
    ) -> None:
        self._presence = presence
        self._replica = replica
        self._renew_interval_seconds = renew_interval_seconds
        self._connections_max = connections_max
        # In the order of their coming: beyond a limit the newest go.
        self._connections: dict[str, dict[Connection, None]] = {}
        self._connection_count = 0
        self._changed: set[str] = set()
        self._wake = asyncio.Event()

    def join(self, connection: Connection) -> None:
        user = connection.principal.subject
        self._connections.setdefault(user, {})[connection] = None
        self._connection_count += 1
        self._mark(user)

    def leave(self, connection: Connection) -> None:
        """Raises `KeyError` for one that has not joined: the table would go wrong for good."""
        user = connection.principal.subject
        connections = self._connections[user]
        del connections[connection]
        if not connections:
            del self._connections[user]
        self._connection_count -= 1
        self._mark(user)

    def connections_of(self, user: str) -> Collection[Connection]:
        """A copy: ending one of them takes it out."""
        return tuple(self._connections.get(user, ()))

    def count_of(self, user: str) -> int:
        return len(self._connections.get(user, ()))

    @property
    def connection_count(self) -> int:
        return self._connection_count

    def end_revoked(self, revocation: Revocation) -> None:
        """Close every connection whose token a revocation means."""
        error = InvalidToken(f"the token has been revoked: {revocation.reason}")
        for connection in self.connections_of(revocation.user):
            if revocation.means(connection.principal):
                connection.end(error)

    async def connected(self) -> dict[str, dict[str, int]]:
        """User -> replica -> connections, on all replicas; raises `Unavailable`."""
        table = await self._presence.connected()
        # Our own line is taken from the source: its announcement may still be under way.
        for replicas in table.values():
            replicas.pop(self._replica, None)
        for user, connections in self._connections.items():
            table.setdefault(user, {})[self._replica] = len(connections)
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
                self._changed.update(self._connections)
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
            await self._presence.announce({user: self.count_of(user) for user in users})
            if self._connections_max:
                self._end_excess(await self._presence.totals(users))
        except BaseException:
            self._changed.update(users)
            raise

    def _end_excess(self, totals: Mapping[str, int]) -> None:
        # Each replica looks after it has announced itself, so the one that comes last sees that
        # it is too much, and ends what it has just let in; a connect waits for nobody.
        most = self._connections_max
        error = LimitReached(f"limit: a user has at most {most} sockets", 5)
        for user, total in totals.items():
            excess = total - most
            if excess > 0:
                for connection in tuple(self.connections_of(user))[-excess:]:
                    connection.end(error)

    def _mark(self, user: str) -> None:
        self._changed.add(user)
        self._wake.set()
