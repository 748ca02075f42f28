"""The archive in this process, for tests: it goes with it."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, takewhile

from gateway.domain.archive import NOWHERE, Entry, Hole, Place, Stretch, entry_of
from gateway.domain.channels import namespace_of
from gateway.domain.messages import BEGINNING, Message, Position
from gateway.ports.archive import Archive

_PRUNED_MAX = 1000


@dataclass
class _Epoch:
    place: Place
    messages: list[Message] = field(default_factory=list)
    holes: list[Hole] = field(default_factory=list)
    last_at: float = 0.0

    def note(self, hole: Hole) -> None:
        """In the place of one that begins there: an epoch that ended went on after all."""
        self.holes = [*(each for each in self.holes if each.first != hole.first), hole]


class MemoryArchive(Archive):
    def __init__(self) -> None:
        self._channels: defaultdict[str, list[_Epoch]] = defaultdict(list)

    async def places(self, channels: Collection[str]) -> dict[str, Place]:
        return {
            name: self._channels[name][-1].place for name in channels if self._channels.get(name)
        }

    async def append(self, stretches: Sequence[Stretch]) -> list[Entry | None]:
        return [self._append(stretch) for stretch in stretches]

    def _append(self, stretch: Stretch) -> Entry | None:
        epochs = self._channels[stretch.channel]
        entry = entry_of(stretch, epochs[-1].place if epochs else NOWHERE)
        if entry is None or entry.place == NOWHERE:
            return entry
        if entry.end:
            epochs[-1].note(entry.end)
        if entry.is_new:
            epochs.append(_Epoch(entry.place))
        epoch = epochs[-1]
        epoch.place = entry.place
        epoch.messages.extend(entry.messages)
        for hole in entry.holes:
            epoch.note(hole)
        epoch.last_at = max([epoch.last_at, *(message.time for message in entry.messages)])
        return entry

    async def after(self, channel: str, position: Position, limit: int) -> list[Message] | None:
        if position == BEGINNING:
            epochs, offset = self._channels.get(channel, []), 0
        else:
            first, offset = self._find(channel, position.epoch), position.offset
            if first is None:
                return None
            epochs = self._channels[channel][first:]

        def way() -> Iterator[Message]:
            for nth, epoch in enumerate(epochs):
                yield from (m for m in epoch.messages if nth or m.position.offset > offset)

        return list(islice(way(), limit))

    async def before(
        self, channel: str, position: Position | None, limit: int
    ) -> list[Message] | None:
        epochs = self._channels.get(channel, [])
        if position is not None:
            last = self._find(channel, position.epoch)
            if last is None:
                return None
            epochs = epochs[: last + 1]

        def way() -> Iterator[Message]:
            for nth, epoch in enumerate(reversed(epochs)):
                for message in reversed(epoch.messages):
                    if nth or position is None or message.position.offset < position.offset:
                        yield message

        return list(islice(way(), limit))

    async def prune(
        self,
        before: float,
        namespaces: Collection[str],
        *,
        all_but: bool = False,
        lapsed_before: float = 0.0,
    ) -> int:
        gone = 0
        for channel, epochs in list(self._channels.items()):
            if (namespace_of(channel) in namespaces) == all_but:
                continue
            for epoch in epochs:
                old = list(takewhile(lambda message: message.time < before, epoch.messages))
                del epoch.messages[: min(len(old), _PRUNED_MAX - gone)]
                gone += min(len(old), _PRUNED_MAX - gone)
            epochs[:] = [each for each in epochs if each.messages or each.last_at >= lapsed_before]
            if not epochs:
                del self._channels[channel]
        return gone

    def holes(self, channel: str) -> list[Hole]:
        """All that are noted, in order."""
        return [hole for epoch in self._channels.get(channel, []) for hole in epoch.holes]

    def _find(self, channel: str, epoch: str) -> int | None:
        """The last one of this name."""
        found = [
            nth
            for nth, each in enumerate(self._channels.get(channel, []))
            if each.place.position.epoch == epoch
        ]
        return found[-1] if found else None
