"""What a listener over plain HTTP gets to read, and what it says when it comes back."""

from collections.abc import Mapping, Sequence

from gateway.core.track import Gap
from gateway.domain.errors import GatewayError, InvalidRequest, LimitReached, Unavailable
from gateway.domain.messages import Message, Position
from gateway.protocols.event_stream import (
    message_event,
    notice_event,
    position_mark,
    retry_after,
)
from gateway.protocols.plain import Format, encode_notice
from gateway.sockets.wires import encode_caught_up, encode_gap

_NOWHERE = str(Position("unknown", 0))


class EventWire:
    """Messages of one format as events, joined into one write."""

    def __init__(self, format: Format) -> None:
        self._format = format

    def encode(self, messages: Sequence[Message]) -> bytes:
        return b"".join(message_event(self._format, message) for message in messages)

    def gap(self, channel: str, gap: Gap) -> bytes:
        if self._format is not Format.JSON:
            return b""
        # Who comes back after that need not be told again.
        before = Position(gap.before.epoch, gap.before.offset - 1)
        return notice_event("gap", encode_gap(channel, gap), before)

    def caught_up(self, channel: str, position: Position) -> bytes:
        if self._format is not Format.JSON:
            return position_mark(position)
        return notice_event("caught_up", encode_caught_up(channel, position), position)

    def notice(self, kind: str, **fields: object) -> bytes:
        if self._format is not Format.JSON:
            return b""
        return notice_event(kind, encode_notice(kind, **fields))


EVENT_WIRES = {format: EventWire(format) for format in Format}


def continued(
    query: Mapping[str, Sequence[str]], headers: Mapping[str, str]
) -> Mapping[str, Sequence[str]]:
    """The query with the place to which an ``EventSource`` comes back.

    That counts more than what the URL says, which is the same at every reconnect. One that is no
    position of ours is as good as one of an epoch that is over: a gap, and what is kept. It comes
    from another server that answered under this URL; a refusal would end the page's stream for
    good, though the page has done nothing wrong, and could do nothing about it.
    """
    last = headers.get("last-event-id")
    if not last:
        return query
    try:
        Position.parse(last)
    except InvalidRequest:
        last = _NOWHERE
    given = {name: values for name, values in query.items() if name not in ("since", "history")}
    return {**given, "since": [last]}


def farewell(format: Format, error: GatewayError) -> bytes:
    """What a close code and its reason are to a socket."""
    words = b""
    if isinstance(error, LimitReached | Unavailable):
        words = retry_after(error.retry_after_seconds)
    if format is Format.JSON:
        words += notice_event("end", encode_notice("end", error=error.code, detail=error.detail))
    return words
