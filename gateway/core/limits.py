"""How fast somebody may go."""

import time
from collections import OrderedDict
from collections.abc import Callable

from gateway.domain.errors import LimitReached

_BUCKETS_MAX = 100_000


class RateLimit:
    """A token bucket per name: ``rate`` per second on average, two seconds' worth at once.

    A rate of 0 sets no limit. Names that have been silent longest are forgotten first, with a
    full bucket, so that made-up names cannot fill the memory.
    """

    def __init__(self, rate: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self.change(rate)

    def change(self, rate: int) -> None:
        self._rate = rate
        self._burst = rate * 2

    def spend(self, name: str, amount: int) -> None:
        """Take ``amount`` at once or nothing; raises `LimitReached` with the time to wait."""
        if not self._rate:
            return
        now = self._clock()
        level, since = self._buckets.pop(name, (float(self._burst), now))
        level = min(self._burst, level + (now - since) * self._rate)
        # A full bucket lets one larger batch through and is then in debt for it; otherwise a
        # batch above two seconds' worth could never be sent at all.
        allowed = amount <= level or level == self._burst
        self._buckets[name] = (level - amount if allowed else level, now)
        if len(self._buckets) > _BUCKETS_MAX:
            self._buckets.popitem(last=False)
        if not allowed:
            wait = (min(amount, self._burst) - level) / self._rate
            raise LimitReached(f"more than {self._rate} messages per second", max(wait, 0.001))
