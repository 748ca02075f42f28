"""What of a channel goes into its archive, and what is known to be missing there."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gateway.domain.messages import BEGINNING, Message, Position


class Place(NamedTuple):
    """Up to where a channel is archived.

    ``id`` is that of the message at the position; "" where the archive lacks it. ``is_ended``:
    the channel's state was lost since, and the hole behind the position has been noted.
    """

    position: Position
    id: str = ""
    is_ended: bool = False


NOWHERE = Place(BEGINNING)


class Hole(NamedTuple):
    """Messages that the archive lacks; ``last`` is None where an epoch ended nobody knows where."""

    epoch: str
    first: int
    last: int | None

    def __str__(self) -> str:
        return f"{self.epoch}:{self.first}-{'?' if self.last is None else self.last}"


class Stretch(NamedTuple):
    """What a channel still kept of the time between two positions, read for the archive.

    ``since`` is where the archive was then. The messages are in order and of the epoch of
    ``until``; what is not among them is lost. An ``until`` of `BEGINNING` says that the channel's
    state is gone. ``is_again``: the broker was set back within its epoch, and counts through
    offsets that the archive has already; the messages are then all that the channel keeps.
    """

    channel: str
    since: Position
    until: Position
    messages: Sequence[Message]
    is_again: bool = False


class Entry(NamedTuple):
    """What has to be written, so that the archive is at ``place``.

    ``end`` is the hole at the end of the epoch in which it was before, ``holes`` are those of the
    epoch in which it is then. ``is_new``: that epoch begins, for the first time or again.
    """

    messages: Sequence[Message]
    holes: Sequence[Hole]
    end: Hole | None
    place: Place
    is_new: bool


def entry_of(stretch: Stretch, at: Place) -> Entry | None:
    """What of a stretch is news to an archive that is at this place.

    None where the two do not fit, so that something would be left out or an old epoch would be
    taken for a new one: the archive is not where it was when the stretch was read.
    """
    since, until, last = stretch.since, stretch.until, at.position
    is_new = until != BEGINNING and (stretch.is_again or until.epoch != last.epoch)
    is_old_stretch = since.epoch != last.epoch and (is_new or until == BEGINNING)
    is_ahead = since.epoch == last.epoch and since.offset > last.offset
    if is_old_stretch or is_ahead or (stretch.is_again and since != last):
        return None
    is_over = is_new or until == BEGINNING
    end = None
    if is_over and last != BEGINNING and not at.is_ended:
        end = Hole(last.epoch, last.offset + 1, None)
    if until == BEGINNING:
        return Entry((), (), end, at._replace(is_ended=last != BEGINNING), is_new=False)
    reached = 0 if is_new else last.offset
    if until.offset <= reached:
        return Entry((), (), None, at, is_new=False)
    if stretch.is_again:  # what it does not keep any more is in the archive
        reached = stretch.messages[0].position.offset - 1 if stretch.messages else until.offset
    messages = [message for message in stretch.messages if message.position.offset > reached]
    is_whole = bool(messages) and messages[-1].position.offset == until.offset
    place = Place(until, messages[-1].id if is_whole else "")
    offsets = (message.position.offset for message in messages)
    return Entry(messages, list(_holes(until, reached, offsets)), end, place, is_new)


def _holes(until: Position, reached: int, offsets: Iterable[int]) -> Iterable[Hole]:
    for offset in (*offsets, until.offset + 1):
        if offset > reached + 1:
            yield Hole(until.epoch, reached + 1, offset - 1)
        reached = offset
