"""Tickets of a single replica."""

import time
from collections import OrderedDict
from collections.abc import Callable

from gateway.ports.tickets import Tickets

_TICKETS_MAX = 100_000


class MemoryTickets(Tickets):
    """Holds 100,000 tickets at most; after that the oldest is forgotten for a new one."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: OrderedDict[str, tuple[bytes, float]] = OrderedDict()

    async def put(self, ticket_key: str, value: bytes, lifetime_seconds: float) -> None:
        now = self._clock()
        self._kept[ticket_key] = (value, now + lifetime_seconds)
        while len(self._kept) > _TICKETS_MAX or next(iter(self._kept.values()))[1] <= now:
            self._kept.popitem(last=False)

    async def take(self, ticket_key: str) -> bytes | None:
        value, until = self._kept.pop(ticket_key, (b"", 0.0))
        return value if until > self._clock() else None
