"""Who listens to what."""

from collections.abc import Mapping, Set
from typing import Generic, TypeVar

S = TypeVar("S")
G = TypeVar("G")

_NOBODY: Mapping[object, Set[object]] = {}


class Subscriptions(Generic[G, S]):
    """A two-way index: channel -> group -> subscribers, and subscriber -> channels.

    A group is whatever lets its members share one encoded form of a message, so that delivery
    encodes once per group and never looks at a subscriber to find out.
    """

    def __init__(self) -> None:
        self._audiences: dict[str, dict[G, set[S]]] = {}
        self._channels: dict[S, dict[str, G]] = {}

    def add(self, subscriber: S, channel: str, group: G) -> bool:
        """Return True when this is the channel's first subscriber here."""
        first = channel not in self._audiences
        channels = self._channels.setdefault(subscriber, {})
        if channels.get(channel, group) != group:
            raise ValueError("already subscribed in another group")
        channels[channel] = group
        self._audiences.setdefault(channel, {}).setdefault(group, set()).add(subscriber)
        return first

    def remove(self, subscriber: S, channel: str) -> bool:
        """Return True when this was the channel's last subscriber here."""
        channels = self._channels.get(subscriber, {})
        if channel not in channels:
            return False
        group = channels.pop(channel)
        # Empty entries are dropped, or clients could grow our memory by
        # subscribing to millions of channels and leaving them again.
        if not channels:
            del self._channels[subscriber]
        audience = self._audiences[channel]
        audience[group].discard(subscriber)
        if not audience[group]:
            del audience[group]
        if audience:
            return False
        del self._audiences[channel]
        return True

    def audience(self, channel: str) -> Mapping[G, Set[S]]:
        """The channel's subscribers by group; a live view, empty when there are none."""
        return self._audiences.get(channel, _NOBODY)  # type: ignore[arg-type]

    def channels_of(self, subscriber: S) -> list[str]:
        return list(self._channels.get(subscriber, ()))

    def pairs(self) -> list[tuple[S, str]]:
        """Every subscriber with each of its channels; a copy."""
        return [
            (subscriber, channel)
            for subscriber, channels in self._channels.items()
            for channel in channels
        ]

    def sizes(self) -> dict[str, int]:
        """Every channel with the number of its subscribers."""
        return {
            channel: sum(map(len, audience.values()))
            for channel, audience in self._audiences.items()
        }

    def __contains__(self, channel: str) -> bool:
        return channel in self._audiences

    @property
    def subscriber_count(self) -> int:
        return len(self._channels)

    @property
    def channel_count(self) -> int:
        return len(self._audiences)
