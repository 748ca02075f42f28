"""The promise of whatever knows which channels the archive has to look at, and who does that."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Mark(NamedTuple):
    """Says that a channel has news; each mark has another token."""

    channel: str
    token: str


class News(Protocol):
    """Marks on channels, set by the broker, and the lead: who archives for all replicas.

    Every adapter keeps these promises; ``tests/contracts/test_news.py`` checks them:

    - a channel whose namespace has an archive is marked when a message of it has its receipt,
      on whichever replica;
    - a mark stays until it is cleared, and clearing an old mark leaves a newer one;
    - while the lead is prolonged in time, nobody else has it; when that ends, another replica
      gets it within the lease.

    Every call raises `Unavailable` when the marks cannot be reached.
    """

    @abstractmethod
    async def lead(self) -> bool:
        """Take or prolong the lead; False while another replica has it."""

    @abstractmethod
    async def resign(self) -> None:
        """Let another replica have the lead at once."""

    @abstractmethod
    async def marks(self, cursor: int = 0) -> tuple[Sequence[Mark], int]:
        """A page of the marks, and where the next one begins: 0 at the end.

        What is marked from the first page to the last is on one of them.
        """

    @abstractmethod
    async def clear(self, marks: Sequence[Mark]) -> None:
        """Remove these marks from the channels that have no newer one."""
