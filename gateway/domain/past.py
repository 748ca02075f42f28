"""One answer of two sources: what a channel still keeps, and what its archive has."""

from collections.abc import Sequence

from gateway.domain.history import History, HistoryQuery
from gateway.domain.messages import BEGINNING, Message, Position


def is_enough(query: HistoryQuery, kept: History) -> bool:
    """Whether an archive has nothing to add to what is kept."""
    has_limit = len(kept.messages) >= query.limit
    if query.since is None:
        return has_limit and kept.top != BEGINNING
    if query.since == BEGINNING:
        # There may be older epochs, but nothing stands before them.
        return query.is_reverse
    # Going back, a whole answer that is short has come to the epoch's first message.
    return kept.is_complete and (has_limit or not query.is_reverse)


def answer_of(query: HistoryQuery, top: Position, way: Sequence[Message]) -> History:
    """Make the answer of messages of all epochs, in the order of the way that leads from
    ``since`` on or back, or back from the end. ``top`` is where the channel is; see `History`.

    An answer that crosses from one epoch into another is never complete: nobody knows how far
    the old one came.
    """
    messages = list(way[: query.limit])
    if query.since is None:
        return History(messages if query.is_reverse else messages[::-1], top, True)
    return History(messages, top, _is_complete(query, query.since, top, way[: query.reach]))


def _is_complete(
    query: HistoryQuery, since: Position, top: Position, way: Sequence[Message]
) -> bool:
    epoch, last = since.epoch, since.offset + query.reach
    if since == BEGINNING:
        epoch = way[0].position.epoch if way else top.epoch
    if epoch == top.epoch:
        if since.offset > top.offset:
            return False
        last = min(last, top.offset)
    due = range(since.offset + 1, last + 1)
    if query.is_reverse:
        due = range(since.offset - 1, max(since.offset - 1 - query.reach, 0), -1)
    return [message.position for message in way] == [Position(epoch, offset) for offset in due]


def newer_than(archived: Sequence[Message], kept: History) -> list[Message]:
    """What of the kept messages comes after those of the archive; both are oldest first."""
    if not archived:
        return list(kept.messages)
    last, current = archived[-1].position, kept.top.epoch
    if last.epoch == current:
        return [message for message in kept.messages if message.position.offset > last.offset]
    # Where the archive has gone on to another epoch meanwhile, what is kept was of an old one.
    has_gone_on = any(message.position.epoch == current for message in archived)
    return [] if has_gone_on else list(kept.messages)
