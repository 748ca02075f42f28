"""One step on the way from what channels keep to what their archive has."""

import asyncio
import logging
from collections.abc import Collection, Sequence
from enum import Enum
from typing import NamedTuple

from gateway.domain.archive import NOWHERE, Entry, Place, Stretch
from gateway.domain.errors import Unavailable
from gateway.domain.history import History, HistoryQuery
from gateway.domain.messages import BEGINNING, Message, Position
from gateway.ports.archive import Archive
from gateway.ports.broker import Broker

_PLACES_MAX = 10_000
_FAILURES_MAX = 2
_NAMED_MAX = 5

logger = logging.getLogger(__name__)


class Progress(Enum):
    DONE = "the archive has everything that the channel had"
    MORE = "there is more, or it has to be read again"
    REFUSED = "the archive takes others, but nothing of this channel"


class _Reading(NamedTuple):
    stretch: Stretch
    is_all: bool


_Outcome = Entry | Unavailable | None


class Copier:
    """Remembers up to where channels are archived, and asks the archive where it does not know.

    What it remembers may be wrong as soon as somebody else archives: the archive notices that, and
    then it is asked again.
    """

    def __init__(self, broker: Broker, archive: Archive, *, batch_messages: int) -> None:
        self._broker = broker
        self._archive = archive
        self._batch_messages = batch_messages
        self._places: dict[str, Place] = {}
        self._failures = 0
        self._refused: set[str] = set()
        self.rows = 0
        self.holes = 0

    def forget(self) -> None:
        self._places.clear()

    async def copy(self, channels: Sequence[str]) -> list[Progress]:
        """Archive a batch of what is new in these channels; raises `Unavailable`."""
        await self._find_places(channels)
        share = max(self._batch_messages // len(channels), 1)
        readings: list[_Reading] = []
        for found in await asyncio.gather(
            # Of one that was refused, message by message: those before the bad one must pass.
            *(self._read(name, 1 if name in self._refused else share) for name in channels),
            return_exceptions=True,
        ):
            if isinstance(found, BaseException):
                raise found
            readings.append(found)
        outcomes = await self._append([reading.stretch for reading in readings])
        self._report(readings, outcomes)
        return [
            self._progress(reading, outcome)
            for reading, outcome in zip(readings, outcomes, strict=True)
        ]

    async def _find_places(self, channels: Sequence[str]) -> None:
        unknown = [name for name in channels if name not in self._places]
        if len(self._places) + len(unknown) > _PLACES_MAX:
            self._places.clear()
            unknown = list(channels)
        if unknown:
            found = await self._archive.places(unknown)
            self._places |= {name: found.get(name, NOWHERE) for name in unknown}

    async def _read(self, channel: str, limit: int) -> _Reading:
        """What comes after the place where the archive is."""
        at = self._places[channel]
        last = at.position
        query = HistoryQuery(BEGINNING, limit)
        if last != BEGINNING:
            # The last archived message is read once more, to see that it is still the same.
            query = HistoryQuery(Position(last.epoch, last.offset - 1), limit + 1)
        history = await self._broker.history(channel, query)
        is_again = _was_set_back(history, at)
        if is_again:
            history = await self._broker.history(channel, HistoryQuery(BEGINNING, limit))
        messages = [m for m in history.messages if is_again or m.position != last]
        until = messages[-1].position if messages else history.top
        stretch = Stretch(channel, last, until, messages, is_again)
        return _Reading(stretch, is_all=until.offset >= history.top.offset)

    async def _append(self, stretches: Sequence[Stretch]) -> list[_Outcome]:
        try:
            entries = await self._archive.append(stretches)
        except Unavailable as trouble:
            if len(stretches) == 1:
                return [self._failed(stretches[0], trouble)]
        else:
            self._failures = 0
            self._refused.difference_update(stretch.channel for stretch in stretches)
            return [*entries]
        # Perhaps one message is more than the database takes. The others must not wait for it.
        return [outcome for each in stretches for outcome in await self._append([each])]

    def _failed(self, stretch: Stretch, trouble: Unavailable) -> Unavailable:
        self._failures += 1
        if self._failures >= _FAILURES_MAX:
            raise trouble  # it is not this channel
        if stretch.channel not in self._refused:
            logger.warning("the archive takes nothing of %s: %s", stretch.channel, trouble.detail)
        self._refused.add(stretch.channel)
        return trouble

    def _progress(self, reading: _Reading, outcome: _Outcome) -> Progress:
        channel = reading.stretch.channel
        if isinstance(outcome, Unavailable):
            return Progress.REFUSED
        if outcome is None:
            self._places.pop(channel, None)
            return Progress.MORE
        self._places[channel] = outcome.place
        self.rows += len(outcome.messages)
        return Progress.DONE if reading.is_all else Progress.MORE

    def _report(
        self,
        readings: Sequence[_Reading],
        outcomes: Collection[_Outcome],
    ) -> None:
        """Nothing is lost in silence."""
        lost: list[str] = []
        for reading, outcome in zip(readings, outcomes, strict=True):
            if not isinstance(outcome, Entry):
                continue
            channel = reading.stretch.channel
            holes = [*([outcome.end] if outcome.end else ()), *outcome.holes]
            lost += [f"{channel} {hole}" for hole in holes]
            if outcome.place == NOWHERE:
                lost.append(f"{channel} all")  # it came and went before anybody looked
        if lost:
            self.holes += len(lost)
            shown = ", ".join(lost[:_NAMED_MAX])
            more = f" and {len(lost) - _NAMED_MAX} more" if len(lost) > _NAMED_MAX else ""
            logger.warning("gone before the archive could read them: %s%s", shown, more)


def _was_set_back(history: History, at: Place) -> bool:
    """Whether the broker lost its last messages, and has given their offsets to others."""
    last, top = at.position, history.top
    if top.epoch != last.epoch or last == BEGINNING:
        return False
    first: Message | None = history.messages[0] if history.messages else None
    is_other = first is not None and first.position == last and at.id not in ("", first.id)
    return top.offset < last.offset or is_other
