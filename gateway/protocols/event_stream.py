"""Server-Sent Events (WHATWG HTML section 9.2), without I/O.

Made for a browser's ``EventSource``, and for ``curl -N``. A message is an event of the default
type, and its id is its position: a browser sends the last one that it has seen as
``Last-Event-ID`` when it comes back. The formats are those of the plain protocol; a notice is an
event of its own type, in ``json`` only.

An event carries lines, and its reader puts a line feed between them: in ``text`` and ``raw`` a
carriage return arrives as a line feed. ``json`` escapes both, and is exact.
"""

import re

from gateway.domain.messages import Message, Position
from gateway.protocols.plain import Format, encode_message

MEDIA_TYPE = "text/event-stream; charset=utf-8"
PING = b": ping\n\n"  # a comment, which no reader hands on; one for all streams

_END = b"\n\n"  # an empty line ends an event, and stands nowhere inside of one
_LINE_BREAK = re.compile(rb"\r\n|\r|\n")


def message_event(format: Format, message: Message) -> bytes:
    """The event that carries the message; the same for every receiver."""
    payload = _lines(encode_message(format, message))
    return b"id: %b\ndata: %b\n\n" % (str(message.position).encode(), payload)


def notice_event(name: str, payload: bytes, position: Position | None = None) -> bytes:
    """An event of a type of its own, which a page hears with ``addEventListener(name, …)``."""
    place = b"" if position is None else b"id: %b\n" % str(position).encode()
    return b"%bevent: %b\ndata: %b\n\n" % (place, name.encode(), _lines(payload))


def position_mark(position: Position) -> bytes:
    """Where the reader is now. It hands nothing on, but comes back with this position."""
    return b"id: %b\n\n" % str(position).encode()


def retry_after(seconds: float) -> bytes:
    """How long a browser waits before it comes back, from now on."""
    return b"retry: %d\n\n" % round(seconds * 1000)


def count_events(events: bytes) -> int:
    return events.count(_END)


def last_event(events: bytes) -> bytes:
    before = events.rfind(_END, 0, -len(_END))
    return events if before < 0 else events[before + len(_END) :]


def _lines(payload: bytes) -> bytes:
    if b"\n" in payload or b"\r" in payload:
        return _LINE_BREAK.sub(b"\ndata: ", payload)
    return payload
