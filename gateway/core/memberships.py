"""Who listens to what, in numbers."""

from collections.abc import Iterator, Mapping
from typing import TypeAlias

Membership: TypeAlias = tuple[str, str]
"""A channel and a user."""


class Counts:
    """Channel -> user -> a count above 0; takes no memory for anything else."""

    def __init__(self) -> None:
        self._channels: dict[str, dict[str, int]] = {}

    def of(self, membership: Membership) -> int:
        channel, user = membership
        users = self._channels.get(channel)
        return users.get(user, 0) if users else 0

    def set(self, membership: Membership, count: int) -> None:
        channel, user = membership
        if count:
            self._channels.setdefault(channel, {})[user] = count
        elif users := self._channels.get(channel):
            users.pop(user, None)
            if not users:
                del self._channels[channel]

    def clear(self) -> None:
        self._channels.clear()

    def __iter__(self) -> Iterator[Membership]:
        return ((channel, user) for channel, users in self._channels.items() for user in users)


def by_channel(counts: Mapping[Membership, int]) -> dict[str, dict[str, int]]:
    channels: dict[str, dict[str, int]] = {}
    for (channel, user), count in counts.items():
        channels.setdefault(channel, {})[user] = count
    return channels
