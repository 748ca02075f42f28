"""The promise of whatever keeps tickets until somebody uses them."""

from abc import abstractmethod
from typing import Protocol


class Tickets(Protocol):
    """Values that can be taken once, by whoever knows the key, on any replica.

    Every adapter keeps these promises; ``tests/contracts/test_tickets.py`` checks them:

    - of all who take the same ticket, also at the same moment, at most one gets its value;
    - a ticket is gone when its lifetime is over;
    - what leaves the process holds nothing from which a usable key could be read.

    Every call raises `Unavailable` when the tickets cannot be reached; a ticket may be lost then.
    """

    @abstractmethod
    async def put(self, ticket_key: str, value: bytes, lifetime_seconds: float) -> None:
        """Keep the value; the key has never been used before."""

    @abstractmethod
    async def take(self, ticket_key: str) -> bytes | None:
        """The value, if nobody has taken it and its time is not over."""
