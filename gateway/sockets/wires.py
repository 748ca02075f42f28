"""How messages and notices become the frames of a WebSocket."""

from collections.abc import Callable, Sequence

from gateway.core.track import Gap
from gateway.domain.messages import Message, Position
from gateway.protocols.compression import compressed_text_frame
from gateway.protocols.frames import text_frame
from gateway.protocols.plain import Format, encode_message, encode_notice


class FrameWire:
    """Messages of one format as WebSocket frames, joined into one write."""

    def __init__(self, format: Format, frame_of: Callable[[bytes], bytes]) -> None:
        self._format = format
        self._frame_of = frame_of

    def encode(self, messages: Sequence[Message]) -> bytes:
        if len(messages) == 1:  # mostly, where there are many channels
            return self._frame_of(encode_message(self._format, messages[0]))
        return b"".join(
            [self._frame_of(encode_message(self._format, message)) for message in messages]
        )

    def gap(self, channel: str, gap: Gap) -> bytes:
        return text_frame(encode_gap(channel, gap)) if self._format is Format.JSON else b""

    def caught_up(self, channel: str, position: Position) -> bytes:
        if self._format is not Format.JSON:
            return b""
        return text_frame(encode_caught_up(channel, position))

    def notice(self, kind: str, **fields: object) -> bytes:
        return text_frame(encode_notice(kind, **fields)) if self._format is Format.JSON else b""


def encode_gap(channel: str, gap: Gap) -> bytes:
    since, next = str(gap.after), str(gap.before)
    return encode_notice("gap", channel=channel, reason=gap.reason, since=since, next=next)


def encode_caught_up(channel: str, position: Position) -> bytes:
    epoch, offset = position
    return encode_notice("caught_up", channel=channel, epoch=epoch, offset=offset)


FRAME_WIRES = {format: FrameWire(format, text_frame) for format in Format}
COMPRESSED_WIRES = {format: FrameWire(format, compressed_text_frame) for format in Format}
