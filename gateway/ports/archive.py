"""The promise of whatever keeps the messages that channels keep no longer."""

from abc import abstractmethod
from collections.abc import Collection, Sequence
from typing import Protocol

from gateway.domain.archive import Entry, Place, Stretch
from gateway.domain.messages import Message, Position


class Archive(Protocol):
    """All messages of a channel, in the order of its epochs and of their offsets.

    Every adapter keeps these promises; ``tests/contracts/test_archive*.py`` check them:

    - an appended batch is there as a whole, or not at all;
    - what is appended again changes nothing, also when several append at once;
    - epochs have the order in which they were appended first;
    - what a call has returned or changed, the next call sees, on every replica;
    - what is missing between two messages has been noted as a hole.

    Every call raises `Unavailable` when the archive cannot be reached in time, or takes no such
    messages.
    """

    @abstractmethod
    async def places(self, channels: Collection[str]) -> dict[str, Place]:
        """Up to where these channels are archived; those that are not are left out."""

    @abstractmethod
    async def append(self, stretches: Sequence[Stretch]) -> list[Entry | None]:
        """Add what `entry_of` finds to be news in each of them; a channel is in one of them.

        Returns what was added, in the same order; None for a stretch that does not fit.
        """

    @abstractmethod
    async def after(self, channel: str, position: Position, limit: int) -> list[Message] | None:
        """The first messages after a position, oldest first, and on into the epochs that follow.

        None when the archive has nothing of the position's epoch. `BEGINNING` stands before all.
        """

    @abstractmethod
    async def before(
        self, channel: str, position: Position | None, limit: int
    ) -> list[Message] | None:
        """The last messages before a position, newest first, and back into the epochs before.

        None when the archive has nothing of the position's epoch. Without one: the last of all.
        """

    @abstractmethod
    async def prune(
        self,
        before: float,
        namespaces: Collection[str],
        *,
        all_but: bool = False,
        lapsed_before: float = 0.0,
    ) -> int:
        """Remove some of the messages that were published before this time, the oldest first.

        Only those of channels in these namespaces, or in all others. Nothing is removed behind a
        message that stays. Returns how many are gone; 0 when there are none left. Then also forgets
        where channels were that have no messages left and got their last before ``lapsed_before``.
        """
