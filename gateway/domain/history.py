"""What a channel still keeps: how one asks for it, and what the answer says."""

from collections.abc import Sequence
from typing import NamedTuple

from gateway.domain.messages import BEGINNING, Message, Position


class HistoryQuery(NamedTuple):
    """Which of the kept messages somebody wants, at most ``limit`` of them (0 or more).

    - With ``since``: the first ones after that position, or, with ``is_reverse``, the first
      ones before it going back. The last message's position is the ``since`` of the next page.
    - Without: the last ones of the channel.

    ``is_reverse`` also says the order: newest first. A ``since`` of another epoch says nothing
    about this one; the question is then taken as one for the first page.
    """

    since: Position | None
    limit: int
    is_reverse: bool = False

    @property
    def reach(self) -> int:
        """How many messages to look at: one tells whether any is missing after ``since``."""
        return self.limit if self.since is None else max(self.limit, 1)

    def is_about(self, epoch: str) -> bool:
        return self.since is None or self.since == BEGINNING or self.since.epoch == epoch

    def from_the_start(self) -> "HistoryQuery":
        """The question for the first page, which can be answered in every epoch."""
        return self._replace(since=None if self.is_reverse else BEGINNING)


class History(NamedTuple):
    """An answer to a `HistoryQuery`.

    ``messages`` may be shared with others who asked the same. ``top`` is the position of the
    channel's last message, kept or not; `BEGINNING` if there was none in living memory.

    ``is_complete`` tells somebody who has everything up to ``since`` whether nothing is missing:
    the answer starts right behind it, leaves nothing out, and where it has fewer than ``limit``
    messages, it reaches the top (or, going back, the channel's first message). It is False when
    ``since`` is of another epoch, or above the top, which happens to a Redis that lost its last
    writes. Without ``since`` there is nothing to miss, and it is True.
    """

    messages: Sequence[Message]
    top: Position
    is_complete: bool


def history_of(query: HistoryQuery, top: Position, found: Sequence[Message]) -> History:
    """Make the answer of what was found.

    ``found`` are the first `HistoryQuery.reach` kept messages on the way that leads from
    ``since`` on or back, or back from the top.
    """
    if not query.is_about(top.epoch):
        return history_of(query.from_the_start(), top, found)._replace(is_complete=False)
    messages = list(found[: query.limit])
    if query.since is None:
        return History(messages if query.is_reverse else messages[::-1], top, True)
    return History(messages, top, _is_complete(query, query.since.offset, top.offset, found))


def _is_complete(query: HistoryQuery, since: int, top: int, found: Sequence[Message]) -> bool:
    if since > top:
        return False
    if query.is_reverse:
        due = range(since - 1, max(since - 1 - query.reach, 0), -1)
    else:
        due = range(since + 1, min(since + query.reach, top) + 1)
    return [message.position.offset for message in found] == list(due)
