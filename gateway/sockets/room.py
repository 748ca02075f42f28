"""How many sockets there is room for: per second, in all, per user and per address."""

import logging
from collections import Counter
from dataclasses import dataclass, field

from gateway.core.addresses import bucket_of
from gateway.core.drain import Drain
from gateway.core.pacing import Pace
from gateway.core.roster import Connection, Roster
from gateway.core.wheel import Wheel
from gateway.domain.errors import Crowded, GatewayError, LimitReached, Unavailable
from gateway.domain.namespaces import SlowConsumer
from gateway.domain.principal import Principal

_CROWD_NOTE_SECONDS = 10

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class SocketCounts:
    """Totals since the start of this replica; ``open`` and ``joining`` as of now."""

    open: int = 0
    joining: int = 0
    accepted: int = 0
    refused: int = 0
    refused_by_pace: int = 0  # of those
    slow_closed: int = 0
    dead_closed: int = 0
    refusals: Counter[str] = field(default_factory=Counter)  # by the code of the error
    dropped: Counter[SlowConsumer] = field(default_factory=Counter)  # messages, by policy


@dataclass(slots=True, eq=False)
class Room:
    """Counts those who are in, and keeps the limits; see `gateway.settings` for each limit."""

    drain: Drain
    pace: Pace
    roster: Roster
    sockets_max: int
    sockets_per_user_max: int
    sockets_per_address_max: int
    counts: SocketCounts = field(default_factory=SocketCounts)
    by_address: Counter[str] = field(default_factory=Counter)
    crowd_noted_at: int = -_CROWD_NOTE_SECONDS

    def check(self) -> None:
        """Raise a `GatewayError` while nobody is let in, whoever it is.

        Asked before anything else: in a storm most of what comes is turned away here, and that
        has to cost next to nothing.
        """
        self.drain.check()
        if wait := self.pace.wait_seconds():
            self.counts.refused_by_pace += 1
            self._note_crowd()
            raise Crowded(wait)
        if self.counts.open + self.counts.joining >= self.sockets_max:
            raise Unavailable("this replica is full", retry_after_seconds=5)

    def _note_crowd(self) -> None:
        now = Wheel.now()
        if now >= self.crowd_noted_at + _CROWD_NOTE_SECONDS:
            self.crowd_noted_at = now
            logger.warning(
                "more sockets come than handshakes_per_second_max lets in; they are told when to "
                "come back, %d so far",
                self.counts.refused_by_pace,
            )

    def check_user(self, principal: Principal) -> None:
        """Raise `LimitReached` for who has as many as they may."""
        # Here for this replica alone, at once; the roster counts on all of them.
        most = self.sockets_per_user_max
        if most and self.roster.count_of(principal.subject) >= most:
            raise LimitReached(f"limit: a user has at most {most} sockets", 5)

    def check_address(self, address: str) -> None:
        """Raise `LimitReached` for where as many come from as may."""
        most = self.sockets_per_address_max
        if most and address and self.by_address[bucket_of(address)] >= most:
            raise LimitReached(f"limit: an address has at most {most} sockets", 5)

    def enter(self, connection: Connection, address: str) -> None:
        """One more; `leave` has to follow."""
        self.counts.open += 1
        self.counts.accepted += 1
        self.roster.join(connection)
        if self.sockets_per_address_max and address:
            self.by_address[bucket_of(address)] += 1

    def leave(self, connection: Connection, address: str) -> None:
        self.counts.open -= 1
        self.roster.leave(connection)
        if self.sockets_per_address_max and address:
            bucket = bucket_of(address)
            self.by_address[bucket] -= 1
            if not self.by_address[bucket]:
                del self.by_address[bucket]

    def count_refusal(self, refusal: GatewayError) -> None:
        self.counts.refused += 1
        self.counts.refusals[refusal.code] += 1
