"""The promise of whatever counts, for all replicas, how often something was done."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Rate:
    """``burst`` units at once; after that one comes back every ``per_seconds``."""

    burst: int
    per_seconds: float

    def __post_init__(self) -> None:
        if self.burst < 1 or not self.per_seconds > 0:
            raise ValueError("a rate has a burst of at least 1 and a time above 0")


class Limiter(Protocol):
    """Buckets of units, which replicas share, and marks that last for a while.

    Every adapter keeps these promises; ``tests/contracts/test_limiter.py`` checks them:

    - a bucket that nobody knows is full;
    - in any time, no more is taken from a bucket than its burst and what came back meanwhile,
      whoever takes, from wherever, and at whatever moment;
    - a refused take has changed nothing, in none of its buckets;
    - when as much time has passed as a refusal said, and nobody else took, the take succeeds.

    Every call raises `Unavailable` when the buckets cannot be reached; a take may have been
    carried out then.
    """

    @abstractmethod
    async def take(self, takes: Sequence[tuple[str, Rate]]) -> float:
        """Take one unit from every bucket, or from none.

        Returns 0.0 when taken; otherwise after how many seconds it makes sense to try again.
        """

    @abstractmethod
    async def give_back(self, key: str, rate: Rate) -> None:
        """Undo one take; a bucket never holds more than its burst."""

    @abstractmethod
    async def remember(self, key: str, seconds: float) -> None:
        """Mark a key for this long, counted from now."""

    @abstractmethod
    async def remembers(self, key: str) -> bool: ...
