"""Who is connected here, with which sessions, and telling the other replicas about it."""

import logging
from collections.abc import Collection, Mapping
from typing import NoReturn, Protocol

from gateway.core.changes import Changes, keep_trying
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

    The table follows at once while it can be reached, one call at a time; see
    `gateway.core.changes`.
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
        self._changes: Changes[str] = Changes()

    def join(self, connection: Connection) -> None:
        user = connection.principal.subject
        self._connections.setdefault(user, {})[connection] = None
        self._connection_count += 1
        self._changes.add(user)

    def leave(self, connection: Connection) -> None:
        """Raises `KeyError` for one that has not joined: the table would go wrong for good."""
        user = connection.principal.subject
        connections = self._connections[user]
        del connections[connection]
        if not connections:
            del self._connections[user]
        self._connection_count -= 1
        self._changes.add(user)

    def connections_of(self, user: str) -> Collection[Connection]:
        """A copy: ending one of them takes it out."""
        return tuple(self._connections.get(user, ()))

    def count_of(self, user: str) -> int:
        return len(self._connections.get(user, ()))

    def connections(self) -> list[Connection]:
        """Everybody's, as of now."""
        return [one for connections in self._connections.values() for one in connections]

    def __contains__(self, connection: Connection) -> bool:
        return connection in self._connections.get(connection.principal.subject, ())

    @property
    def user_count(self) -> int:
        return len(self._connections)

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
            await keep_trying(self._follow, "who is connected here", retry_seconds=_RETRY_SECONDS)
        finally:
            try:
                await self._presence.withdraw()
            except Unavailable:
                logger.warning("this replica could not withdraw; its lease will run out")

    async def _follow(self) -> NoReturn:
        while True:
            if not await self._presence.renew():
                self._changes.update(self._connections)
            while self._changes:
                await self._announce()
            await self._changes.wait(self._renew_interval_seconds)

    async def _announce(self) -> None:
        with self._changes.taken(_CHANGES_PER_CALL_MAX) as users:
            await self._presence.announce({user: self.count_of(user) for user in users})
            if self._connections_max:
                self._end_excess(await self._presence.totals(users))

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
