"""Who listens to which channel, for a single replica."""

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence

from gateway.ports.channel_presence import (
    NOBODY,
    Announced,
    ChannelPresence,
    ChannelsPage,
    Crossing,
    Headcount,
    Lease,
    MembersPage,
)


class _Channel:
    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.connections = 0

    @property
    def headcount(self) -> Headcount:
        return Headcount(len(self.counts), self.connections)

    def set(self, user: str, count: int) -> int:
        """Return what it was before."""
        before = self.counts.get(user, 0)
        self.connections += count - before
        if count:
            self.counts[user] = count
        elif before:
            del self.counts[user]
        return before


class MemoryChannelPresence(ChannelPresence):
    def __init__(self) -> None:
        self._channels: dict[str, _Channel] = {}
        self._has_begun = False

    async def renew(self) -> Lease:
        held, self._has_begun = self._has_begun, True
        return Lease.HELD if held else Lease.ENDED

    async def announce(self, counts: Mapping[str, Mapping[str, int]]) -> Announced:
        crossings: list[Crossing] = []
        if not self._has_begun:
            return Announced(crossings, False)
        for name, users in counts.items():
            channel = self._channels.setdefault(name, _Channel())
            for user, count in users.items():
                before = channel.set(user, count)
                if bool(before) != bool(count):
                    crossings.append(Crossing(name, user, joined=not before))
            if not channel.counts:
                del self._channels[name]
        return Announced(crossings, True)

    async def sweep(self) -> None:
        return None

    async def headcount(self, channel: str) -> Headcount:
        found = self._channels.get(channel)
        return found.headcount if found else NOBODY

    async def members(self, channel: str, limit: int, after: str = "") -> MembersPage:
        found = self._channels.get(channel)
        counts = found.counts if found else {}
        names, cursor = _page(counts, limit, after)
        return MembersPage([(user, counts[user]) for user in names], cursor)

    async def channels(self, limit: int, after: str = "") -> ChannelsPage:
        names, cursor = _page(self._channels, limit, after)
        return ChannelsPage([(name, self._channels[name].headcount) for name in names], cursor)

    async def close(self) -> None:
        pass


def _page(names: Collection[str], limit: int, after: str) -> tuple[Sequence[str], str]:
    # In the order of their bytes, as Redis has it, which Python's order of characters is, too.
    ordered = sorted(names)
    first = bisect_right(ordered, after)
    page = ordered[first : first + limit]
    return page, page[-1] if first + limit < len(ordered) else ""
