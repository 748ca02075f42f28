"""The promise of whatever knows who is connected, on all replicas."""

from abc import abstractmethod
from collections.abc import Collection, Mapping
from typing import Protocol


class Presence(Protocol):
    """A table of replica -> user -> number of connections, held by leases.

    Every adapter keeps these promises; ``tests/contracts/test_presence.py`` checks them:

    - what a replica announced is seen by every replica once `announce` has returned;
    - a replica that stops renewing is forgotten when its lease runs out, with all its users;
    - `withdraw` forgets this replica at once.

    Every call raises `Unavailable` when the table cannot be reached.
    """

    @abstractmethod
    async def announce(self, counts: Mapping[str, int]) -> None:
        """Set the number of connections of these users on this replica; 0 removes a user."""

    @abstractmethod
    async def totals(self, users: Collection[str]) -> dict[str, int]:
        """The number of connections of these users on all replicas; 0 is left out."""

    @abstractmethod
    async def renew(self) -> bool:
        """Prolong this replica's lease; False when it was lost, and all must be announced anew."""

    @abstractmethod
    async def withdraw(self) -> None: ...

    @abstractmethod
    async def connected(self) -> dict[str, dict[str, int]]:
        """User -> replica -> number of connections, from every replica with a valid lease."""
