"""The promise of a clock that all replicas see."""

from abc import abstractmethod
from typing import Protocol


class CommonClock(Protocol):
    """One clock, wherever it is asked from; nobody promises that it is right.

    ``tests/contracts/test_common_clock.py`` checks it.
    """

    @abstractmethod
    async def time(self) -> float:
        """Seconds since 1970; raises `Unavailable` when it cannot be read in time."""
