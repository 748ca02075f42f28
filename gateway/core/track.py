"""Where a channel stands on this replica, and whether what comes next is what comes next.

Without I/O: the hub asks, and reads from the broker what is missing.
"""

from collections.abc import Sequence
from typing import NamedTuple

from gateway.domain.history import History
from gateway.domain.messages import BEGINNING, Message, Position

# While the missing messages are being read. They can be read once more, so the oldest may go.
_PARKED_MAX = 10_000
_RECENT_MAX = 10_000


class Gap(NamedTuple):
    """Messages that nobody can get any more: those after ``after`` and before ``before``."""

    after: Position
    before: Position

    @property
    def reason(self) -> str:
        is_new_epoch = self.after.epoch not in (BEGINNING.epoch, self.before.epoch)
        return "epoch_changed" if is_new_epoch else "history_lost"


class Track:
    """The position up to which everybody here has got everything, or has been told that not.

    ``last`` is read from the broker before this replica listens to the channel, so that the
    very first message can be seen to be missing.
    """

    __slots__ = ("_asked", "_parked", "_recent", "_watchers", "last")

    def __init__(self, last: Position) -> None:
        self.last = last
        self._parked: list[Message] | None = None
        self._asked = 0  # how many were parked when the repair began to read
        self._recent: list[Message] | None = None
        self._watchers = 0

    # What arrives.

    @property
    def is_parking(self) -> bool:
        """Whether messages wait for a repair that is under way."""
        return self._parked is not None

    def take(self, messages: Sequence[Message]) -> Sequence[Message]:
        """What of this is to be delivered now, in order; the rest is parked for a repair."""
        if self._parked is not None:
            self._parked.extend(messages)
            excess = max(len(self._parked) - _PARKED_MAX, 0)
            del self._parked[:excess]
            self._asked = max(self._asked - excess, 0)
            return ()
        last, first, final = self.last, messages[0].position, messages[-1].position
        if follows(last, first) and (
            final is first
            or (final.offset - first.offset == len(messages) - 1 and final.epoch == first.epoch)
        ):
            self.last = final
            return messages if self._recent is None else self._handed_out(messages)
        return self._handed_out(self._sort_out(messages))

    def _sort_out(self, messages: Sequence[Message]) -> Sequence[Message]:
        ready: list[Message] = []
        for index, message in enumerate(messages):
            if follows(self.last, message.position):
                ready.append(message)
                self.last = message.position
            elif not is_behind(message.position, self.last):
                self._parked = list(messages[index:])
                break
        return ready

    # Repair.

    def ask(self) -> Position:
        """The history after this position is read now; what arrives meanwhile is parked."""
        self._parked = self._parked or []
        self._asked = len(self._parked)
        return self.last

    def fill(self, history: History) -> tuple[Sequence[Message], Gap | None]:
        """Go on with what was read.

        Returns what is to be delivered, and the gap that stands in front of it. Afterwards
        `is_parking` tells whether more has to be read.
        """
        # What had arrived before the read, and was not there for the read, is of an epoch that is
        # over, or was lost: nothing of it will ever be continued.
        top = history.top
        parked = [
            message
            for index, message in enumerate(self._parked or ())
            if index >= self._asked or is_behind(message.position, top)
        ]
        self._parked = None
        self._asked = 0  # of what is parked from here on, nothing is older than the read
        after, has_gone_back = self.last, top != self.last and is_behind(top, self.last)
        if has_gone_back:
            # The broker lost its last writes, and will give their offsets to other messages.
            self.last = top
        found = [m for m in history.messages if not is_behind(m.position, self.last)]
        next = found[0].position if found else self._next(top, parked)
        if next is None and has_gone_back:
            next = Position(top.epoch, top.offset + 1)
        gap = None
        if next is not None and (has_gone_back or not follows(self.last, next)):
            gap = Gap(after, next)
            self.last = Position(next.epoch, next.offset - 1)
        if found:
            # Holes inside are entries that no replica wrote: this is all there is.
            self.last = found[-1].position
        return [*self._handed_out(found), *(self.take(parked) if parked else ())], gap

    def _next(self, top: Position, parked: Sequence[Message]) -> Position | None:
        """Where it goes on when nothing is kept; None when there is nothing new."""
        for message in parked:
            if not is_behind(message.position, self.last):
                return message.position
        if top == BEGINNING or is_behind(top, self.last):
            return None
        return Position(top.epoch, top.offset + 1)

    # Resuming.

    def resume(self, start: "Start", history: History) -> "Resumption | None":
        """What somebody has to get who joins here; None when another read or a repair is due.

        ``history`` is what is kept, read while `watch` was on.
        """
        last, top = self.last, history.top
        if top.epoch != last.epoch and BEGINNING not in (top, last):
            return None
        recent = self._since(top)
        if recent is None:
            return None
        # What this replica has not delivered yet will come to everybody in its time.
        messages = [m for m in history.messages if is_behind(m.position, last)] + recent
        since = start.since
        if since is None:
            return Resumption(messages[-start.newest :] if start.newest else [], None, last)
        if self.is_ahead(since):
            # The hub has had this replica catch up, so those messages were lost again.
            return Resumption([], Gap(since, Position(last.epoch, last.offset + 1)), last)
        missed = [m for m in messages if not is_behind(m.position, since)]
        if missed:
            is_whole = follows(since, missed[0].position)
            next = missed[0].position
        else:
            is_whole = is_behind(last, since)
            next = Position(last.epoch, last.offset + 1)
        return Resumption(missed, None if is_whole else Gap(since, next), last)

    def adopt(self, since: Position) -> Position:
        """Somebody who joined before the first message may know an offset and no epoch."""
        is_nameless = not since.epoch and since.offset > 0
        return Position(self.last.epoch, since.offset) if is_nameless else since

    def is_ahead(self, since: Position) -> bool:
        """Whether somebody has heard more than this replica: on another one, a moment ago."""
        return since.epoch == self.last.epoch and since.offset > self.last.offset

    # Those who are reading the history, and must not miss what is delivered meanwhile.

    def watch(self) -> None:
        self._watchers += 1
        if self._recent is None:
            self._recent = []

    def unwatch(self) -> None:
        self._watchers -= 1
        if not self._watchers:
            self._recent = None

    def _handed_out(self, messages: Sequence[Message]) -> Sequence[Message]:
        if self._recent is not None:
            self._recent.extend(messages)
            del self._recent[:-_RECENT_MAX]
        return messages

    def _since(self, position: Position) -> list[Message] | None:
        """What was delivered after this position; None when that cannot be told any more."""
        recent = [
            message
            for message in self._recent or ()
            if message.position.epoch == self.last.epoch
            and not is_behind(message.position, position)
        ]
        if recent:
            return recent if follows(position, recent[0].position) else None
        return recent if position == BEGINNING or is_behind(self.last, position) else None


class Start(NamedTuple):
    """Where somebody wants to begin: behind a position, or with the ``newest`` messages."""

    since: Position | None
    newest: int = 0

    @property
    def is_now(self) -> bool:
        """Nothing that is kept is asked for, only where the channel is."""
        return self.since is None and not self.newest


NOW = Start(None)


class Resumption(NamedTuple):
    """What a newcomer gets first; everything after ``position`` comes as it is published."""

    messages: Sequence[Message]
    gap: Gap | None
    position: Position


def follows(last: Position, next: Position) -> bool:
    """Whether nothing is missing between the two."""
    return next.offset == last.offset + 1 and last.epoch in (next.epoch, BEGINNING.epoch)


def is_behind(position: Position, last: Position) -> bool:
    """Whether the position has been passed."""
    return position.epoch == last.epoch and position.offset <= last.offset
