"""What arrives on a WebSocket: bytes become whole messages, and the answers the protocol demands.

Without I/O. The frames are parsed by a proven parser; what it leaves to its user is done here:
joining fragments, checking UTF-8, and a limit on fragments.
"""

import logging
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from websockets.extensions import Extension
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, SERVER
from websockets.protocol import Protocol as FrameParser

from gateway.protocols.frames import close_frame

INVALID_DATA = 1007
_TOO_MANY = 1008
_FRAGMENTS_MAX = 1000

# The parser logs whole frames at DEBUG and every close at INFO: neither is for our log.
_parser_logger = logging.getLogger("gateway.sockets.frames")
_parser_logger.setLevel(logging.WARNING)


class End(Enum):
    CLOSED = "the peer sent its close frame"
    BROKEN = "the peer broke the protocol, and may still be sending"


class Incoming(NamedTuple):
    """What some bytes meant. A message is a text, or None for a binary one.

    ``reply`` are the frames that answer: pongs, and the close frame where ``end`` says so.
    The end is told once, and ``closing`` is its code and reason. ``binaries`` has what each
    None stands for, in their order.
    """

    messages: Sequence[str | None]
    reply: bytes = b""
    end: End | None = None
    closing: tuple[int, str] | None = None
    binaries: Sequence[bytes] = ()


class MessageReader:
    """Reads one connection; after the end it reads nothing more."""

    __slots__ = ("_end", "_fragments", "_is_binary", "_parser")

    def __init__(self, message_bytes_max: int, extensions: Sequence[Extension] = ()) -> None:
        self._parser = FrameParser(
            SERVER, state=OPEN, max_size=message_bytes_max, logger=_parser_logger
        )
        self._parser.extensions = list(extensions)
        self._fragments: list[bytes] = []
        self._is_binary = False
        self._end: End | None = None

    def read(self, data: bytes) -> Incoming:
        if self._end is not None:
            return Incoming(())  # thrown away unparsed: a flood costs nothing
        parser = self._parser
        parser.receive_data(data)
        messages: list[str | None] = []
        binaries: list[bytes] = []
        for event in parser.events_received():
            if isinstance(event, Frame) and (violation := self._take(event, messages, binaries)):
                self._end = End.BROKEN
                return Incoming(messages, close_frame(*violation), self._end, violation, binaries)
        outputs = parser.data_to_send()
        closing = None
        if b"" in outputs:  # the parser wants the connection closed
            self._end = End.BROKEN if parser.close_rcvd is None else End.CLOSED
            if close := parser.close_rcvd or parser.close_sent:
                closing = (int(close.code), close.reason)
        return Incoming(messages, b"".join(outputs), self._end, closing, binaries)

    def _take(
        self, frame: Frame, messages: list[str | None], binaries: list[bytes]
    ) -> tuple[int, str] | None:
        """Add the message that this frame completes; return a violation's code and reason."""
        if frame.opcode not in _MESSAGE_OPCODES:
            return None
        if frame.opcode is not Opcode.CONT:
            self._is_binary = frame.opcode is Opcode.BINARY
        self._fragments.append(bytes(frame.data))
        if not frame.fin:
            # Empty fragments cost the sender nothing, and no size limit stops them.
            is_flood = len(self._fragments) >= _FRAGMENTS_MAX
            return (_TOO_MANY, "too many fragments in one message") if is_flood else None
        data = b"".join(self._fragments)
        self._fragments.clear()
        if self._is_binary:
            messages.append(None)
            binaries.append(data)
            return None
        try:
            messages.append(data.decode())
        except UnicodeDecodeError:
            return INVALID_DATA, "a text message is UTF-8"
        return None


_MESSAGE_OPCODES = frozenset((Opcode.TEXT, Opcode.BINARY, Opcode.CONT))
