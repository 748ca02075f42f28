"""One timer for all sockets.

A timer per socket costs memory and wake-ups; here each waits in the set of the second in which
it is due, and one task visits one set a second.
"""

import asyncio
import logging
import time
from typing import Protocol

_NEVER = 0

logger = logging.getLogger(__name__)


class Timed(Protocol):
    """What the wheel needs of its passengers."""

    due: int
    """The second it waits in; 0 while it waits in none. Only the wheel writes it."""

    def tick(self, now: int) -> int:
        """Do what is due; return the second of the next visit, or 0 for none."""


class Wheel:
    """Visits each passenger in the second for which it asked, by the monotonic clock."""

    def __init__(self) -> None:
        self._slots: dict[int, set[Timed]] = {}
        self._visited = self.now()

    @staticmethod
    def now() -> int:
        return int(time.monotonic())

    def schedule(self, passenger: Timed, second: int) -> None:
        """Visit the passenger in this second instead of the one it waited for."""
        self.discard(passenger)
        # What is due in the past is due next: the slots behind us are not visited again.
        passenger.due = max(second, self._visited + 1)
        self._slots.setdefault(passenger.due, set()).add(passenger)

    def discard(self, passenger: Timed) -> None:
        if passenger.due != _NEVER:
            slot = self._slots.get(passenger.due, set())
            slot.discard(passenger)
            if not slot:
                self._slots.pop(passenger.due, None)
            passenger.due = _NEVER

    def advance(self, now: int) -> None:
        """Visit everybody who is due up to ``now``."""
        while self._visited < now:
            self._visited += 1
            for passenger in self._slots.pop(self._visited, ()):
                if passenger.due != self._visited:
                    continue  # another's visit took it off, or put it into another second
                passenger.due = _NEVER
                try:
                    again = passenger.tick(now)
                except Exception:
                    # One broken passenger must not stop the pings of all the others.
                    logger.exception("a timed visit failed")
                    continue
                if again != _NEVER:
                    self.schedule(passenger, again)

    async def run(self) -> None:
        """Turn until cancelled."""
        while True:
            await asyncio.sleep(1 - time.monotonic() % 1)
            self.advance(self.now())

    def __len__(self) -> int:
        return sum(map(len, self._slots.values()))
