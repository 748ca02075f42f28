"""The promise of whatever knows who listens to which channel, on all replicas."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import NamedTuple, Protocol


class Headcount(NamedTuple):
    """How many users a channel has, and how many connections they have together."""

    members: int
    connections: int


NOBODY = Headcount(0, 0)


class Crossing(NamedTuple):
    """The first connection of a user in the cluster joined a channel, or the last one left it."""

    channel: str
    user: str
    joined: bool


class Announced(NamedTuple):
    """``is_whole`` is False where the table lacks what this replica had announced before.

    Then `ChannelPresence.renew` says what to do, and some or all of the counts are not in the
    table.
    """

    crossings: Sequence[Crossing]
    is_whole: bool


class Lease(Enum):
    """What is in the table of all that this replica has announced."""

    HELD = "all of it"
    ENDED = "nothing; the others have taken it out, and told so, or it has just begun"
    EMPTIED = "nothing, for the table was lost, also what the others had announced"


class MembersPage(NamedTuple):
    """Users and their connections by name; go on behind ``cursor``, "" at the end."""

    members: Sequence[tuple[str, int]]
    cursor: str


class ChannelsPage(NamedTuple):
    """Channels by name; go on behind ``cursor``, "" at the end. A page may be short, or empty."""

    channels: Sequence[tuple[str, Headcount]]
    cursor: str


class ChannelPresence(Protocol):
    """A table of channel -> user -> number of connections, over all replicas, held by leases.

    Every adapter keeps these promises; ``tests/contracts/test_channel_presence.py`` and, for
    leases, ``test_channel_leases.py`` check them:

    - what a replica announced is seen by every replica once `announce` has returned;
    - a count that is announced again changes nothing;
    - of all the calls on all replicas, exactly one reports a crossing, and the table shows it
      from then on; when its answer is lost, nobody reports it;
    - a replica that stops renewing keeps its place until its lease runs out, and then `sweep`
      of the others takes out what it held: each membership once, and never while it lives on;
    - a replica whose lease ran out cannot announce anything before it has renewed;
    - where nobody could renew for a while, everybody gets a whole lease to come back;
    - counting members and connections does not depend on how many there are.

    Every call raises `Unavailable` when the table cannot be reached. `renew`, `announce` and
    `sweep` belong to one task, one call at a time.
    """

    @abstractmethod
    async def renew(self) -> Lease:
        """Prolong this replica's lease, or begin one, in which nothing has been announced."""

    @abstractmethod
    async def announce(self, counts: Mapping[str, Mapping[str, int]]) -> Announced:
        """Set, by channel, the connections of these users on this replica; 0 removes a user.

        After `Unavailable` some of it may be in the table.
        """

    @abstractmethod
    async def sweep(self) -> Sequence[Crossing] | None:
        """Take out some of what replicas without a lease held; None when nothing is left."""

    @abstractmethod
    async def headcount(self, channel: str) -> Headcount: ...

    @abstractmethod
    async def members(self, channel: str, limit: int, after: str = "") -> MembersPage:
        """Whoever is there during all pages of a listing is in it exactly once."""

    @abstractmethod
    async def channels(self, limit: int, after: str = "") -> ChannelsPage:
        """The channels that have members; as `members`."""

    @abstractmethod
    async def close(self) -> None:
        """Give back connections. What this replica holds stays until its lease runs out."""
