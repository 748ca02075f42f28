"""How many newcomers a replica takes at once, and when the others are to try again."""

import random
import time
from collections.abc import Callable

_RETRY_MIN_SECONDS, _RETRY_MAX_SECONDS = 0.5, 30.0
_JITTER = 0.25


class Pace:
    """A token bucket: ``rate`` newcomers per second on average, and ``burst`` of them at once.

    Who does not get in is given a time at which there is room for one more, behind everybody who
    was turned away before; so a herd of N comes back over N / rate seconds, and not as one again.
    A rate of 0 sets no limit.
    """

    def __init__(
        self, rate: int, burst: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._updated = clock()
        self._next_return = 0.0
        self._rate = rate
        self._burst = burst
        self._level = float(burst)

    def change(self, rate: int, burst: int) -> None:
        """Go on at another rate, with a full bucket; nothing happens where it is the same."""
        if (rate, burst) != (self._rate, self._burst):
            self._rate, self._burst = rate, burst
            self._level = float(burst)

    def wait_seconds(self) -> float:
        """0 for a newcomer who may come in, and is counted; else how long it should wait."""
        if not self._rate:
            return 0.0
        now = self._clock()
        self._level = min(self._level + (now - self._updated) * self._rate, self._burst)
        self._updated = now
        if self._level >= 1:
            self._level -= 1
            return 0.0
        self._next_return = max(self._next_return, now + _RETRY_MIN_SECONDS) + 1 / self._rate
        wait = self._next_return - now
        if wait > _RETRY_MAX_SECONDS:
            # So many cannot all be given a time of their own. Nobody waits for longer, and who
            # comes too early is given another time.
            self._next_return = now + _RETRY_MAX_SECONDS
            wait = random.uniform(_RETRY_MIN_SECONDS, _RETRY_MAX_SECONDS)
        return min(wait * (1 + random.random() * _JITTER), _RETRY_MAX_SECONDS)
