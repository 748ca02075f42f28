"""How a replica stops without losing anybody: who is closed when, and when to come back.

Plain synchronous code over a clock. The server asks it ten times a second what is due, and stops
when nothing is left.
"""

import logging
import math
import random
import time
from collections.abc import Callable

from gateway.core.roster import Connection, Roster
from gateway.domain.errors import Restarting

DRAIN = "drain"  # the name under which the lifespan state carries it to the server
TICK_SECONDS = 0.1
# A client that comes back at once would meet the balancer before that has looked again; one that
# waits for half a minute has a user who presses reload.
_RETRY_MIN_SECONDS, _RETRY_SPREAD_SECONDS, _RETRY_SPREAD_MAX_SECONDS = 1.0, 2.0, 30.0
_RETURNS_PER_SECOND = 1000

logger = logging.getLogger(__name__)


def batch_size(left: int, seconds_left: float) -> int:
    """How many of ``left`` sockets to close in this tick, so that the last one goes in time.

    Asked in every tick, it never grows from one to the next, unless ticks came late: then those
    that are left are spread over the time that is left. Few sockets are gone long before.
    """
    ticks = max(math.floor(seconds_left / TICK_SECONDS + 1e-6), 1)
    return math.ceil(left / ticks)


def retry_spread_seconds(count: int, closing_seconds: float, returns_per_second: int) -> float:
    """Over how long those who are closed come back, one of them after the other.

    They are closed over a time already; where that is too short for so many, the rest is waited
    for by the clients. One survivor is reckoned with, which is the worst case.
    """
    needed = count / (returns_per_second or _RETURNS_PER_SECOND) - closing_seconds
    return min(max(needed, _RETRY_SPREAD_SECONDS), _RETRY_SPREAD_MAX_SECONDS)


class Drain:
    """From the wish to stop until every socket is closed, in three steps.

    First nothing changes but the readiness, for as long as a balancer needs to notice. Then
    nobody is let in any more, and the sockets are closed in small batches that make up a window.
    A server that carries this out says so with `attach`; under another one nothing begins.
    """

    def __init__(
        self,
        roster: Roster,
        hand_over: Callable[[], None],
        *,
        pause_seconds: float,
        closing_seconds: float,
        returns_per_second: int = _RETURNS_PER_SECOND,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``hand_over`` is called before the first socket closes: they will come back elsewhere."""
        self._roster = roster
        self._hand_over = hand_over
        self.pause_seconds = pause_seconds
        self.closing_seconds = closing_seconds
        self._returns_per_second = returns_per_second
        self._clock = clock
        self._closes_at = math.inf
        self._ends_at = math.inf
        self._waiting: list[Connection] = []
        self._retry_spread_seconds = _RETRY_SPREAD_SECONDS
        self.is_attached = False
        self.has_begun = False
        self.is_closing = False

    def attach(self) -> None:
        """From now on somebody calls `advance`, and ends the process when it is time."""
        self.is_attached = True

    @property
    def trouble(self) -> str:
        """Why this replica should get no clients; "" while it should."""
        return "draining" if self.has_begun else ""

    @property
    def sockets_left(self) -> int:
        return self._roster.connection_count

    def begin(self, *, pauses: bool = True) -> None:
        """Start; whoever asks again changes nothing. Without the pause nobody is waited for."""
        if self.has_begun:
            return
        self.has_begun = True
        pause = self.pause_seconds if pauses else 0.0
        self._closes_at = self._clock() + pause
        logger.info("draining: %d sockets, to be closed after %g s", self.sockets_left, pause)

    def check(self) -> None:
        """Raise `Restarting` where it is too late to come in."""
        if self.is_closing:
            raise self.farewell()

    def farewell(self) -> Restarting:
        """What one client is told; each gets a time of its own to come back."""
        return Restarting(_RETRY_MIN_SECONDS + random.random() * self._retry_spread_seconds)

    def advance(self) -> bool:
        """Do what is due now; True when every socket has been told."""
        now = self._clock()
        if now < self._closes_at:
            return False
        if not self.is_closing:
            self._start_closing(now)
        due = batch_size(len(self._waiting), self._ends_at - now)
        while due and self._waiting:
            connection = self._waiting.pop()
            if connection in self._roster:  # who left by itself needs no goodbye
                connection.end(self.farewell())
                due -= 1
        return not self._waiting

    def _start_closing(self, now: float) -> None:
        self.is_closing = True
        self._ends_at = now + self.closing_seconds
        # In no order: those of one channel or one user do not all go in the same moment.
        self._waiting = self._roster.connections()
        random.shuffle(self._waiting)
        self._retry_spread_seconds = retry_spread_seconds(
            len(self._waiting), self.closing_seconds, self._returns_per_second
        )
        self._hand_over()
