"""WebSocket frames from server to client (RFC 6455 section 5): unmasked, never fragmented."""

import struct
from collections.abc import Iterator

TEXT = 0x1
BINARY = 0x2
CLOSE = 0x8
PING = 0x9

_HEAD_16 = struct.Struct("!BBH").pack
_HEAD_64 = struct.Struct("!BBQ").pack

REASON_BYTES_MAX = 123  # RFC 6455 section 5.5: a control frame carries 125 bytes, 2 are the code


def frame(opcode: int, payload: bytes) -> bytes:
    length = len(payload)
    if length < 126:
        return bytes((0x80 | opcode, length)) + payload
    if length < 1 << 16:
        return _HEAD_16(0x80 | opcode, 126, length) + payload
    return _HEAD_64(0x80 | opcode, 127, length) + payload


def payloads_of(frames: bytes) -> Iterator[bytes]:
    """Take apart what `frame` made, several of them joined; for a door that sends messages."""
    for _, start, end in _spans(frames):
        yield frames[start:end]


def count_frames(frames: bytes) -> int:
    return sum(1 for _ in _spans(frames))


def last_frame(frames: bytes) -> bytes:
    *_, (start, _, _) = _spans(frames)
    return frames[start:]


def _spans(frames: bytes) -> Iterator[tuple[int, int, int]]:
    """Where each frame starts, where its payload starts, and where both end."""
    start = 0
    while start < len(frames):
        length, payload = frames[start + 1], start + 2
        if length == 126:
            (length,) = struct.unpack_from("!H", frames, payload)
            payload += 2
        elif length == 127:
            (length,) = struct.unpack_from("!Q", frames, payload)
            payload += 8
        yield start, payload, payload + length
        start = payload + length


def text_frame(payload: bytes) -> bytes:
    return frame(TEXT, payload)


def binary_frame(payload: bytes) -> bytes:
    return frame(BINARY, payload)


def close_frame(code: int, reason: str) -> bytes:
    """A close frame; the reason is cut at a character so that it fits."""
    encoded = reason.encode()[:REASON_BYTES_MAX].decode(errors="ignore").encode()
    return frame(CLOSE, struct.pack("!H", code) + encoded)


PING_FRAME = frame(PING, b"")  # one for all sockets: a pong to it carries nothing personal
