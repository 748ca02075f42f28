"""Buckets and marks of a single replica."""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from gateway.ports.limiter import Limiter, Rate

_BUCKETS_MAX = 100_000
_MARKS_MAX = 100_000


class MemoryLimiter(Limiter):
    """A bucket is the moment at which it will be full again.

    Buckets that have been silent longest are forgotten first, and are full then; whoever keeps
    trying stays in memory.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._full_at: OrderedDict[str, float] = OrderedDict()
        self._marked_until: OrderedDict[str, float] = OrderedDict()

    async def take(self, takes: Sequence[tuple[str, Rate]]) -> float:
        now, wait = self._clock(), 0.0
        full_at: dict[str, float] = {}
        for key, rate in takes:
            before = full_at.get(key, self._full_at.get(key, now))
            full_at[key] = max(before, now) + rate.per_seconds
            wait = max(wait, full_at[key] - now - rate.burst * rate.per_seconds)
            if key in self._full_at:
                self._full_at.move_to_end(key)
        # What is left of a rounding error is no reason to refuse.
        if wait > 1e-6:
            return wait
        self._full_at.update(full_at)
        while len(self._full_at) > _BUCKETS_MAX:
            self._full_at.popitem(last=False)
        return 0.0

    async def give_back(self, key: str, rate: Rate) -> None:
        full_at = self._full_at.get(key, 0.0) - rate.per_seconds
        if full_at > self._clock():
            self._full_at[key] = full_at
        else:
            self._full_at.pop(key, None)

    async def remember(self, key: str, seconds: float) -> None:
        self._marked_until.pop(key, None)
        self._marked_until[key] = self._clock() + seconds
        while len(self._marked_until) > _MARKS_MAX:
            self._marked_until.popitem(last=False)

    async def remembers(self, key: str) -> bool:
        return self._marked_until.get(key, 0.0) > self._clock()
