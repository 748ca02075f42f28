"""What is sent and what must arrive: frames of one size in a known order, so every byte is known.

The data of message ``n`` is the number ``n`` modulo `RING`, padded with zeros to 8 digits, and a
filler up to `DATA_BYTES`. A server that loses, doubles, changes or reorders anything sends a byte
that does not stand at its place.
"""

from collections.abc import Sequence
from typing import Protocol

import orjson

from gateway.adapters.redis.channels.envelope import encode_body
from gateway.adapters.redis.keys import Keys
from gateway.domain.messages import Publication
from gateway.protocols.frames import text_frame

DATA_BYTES = 128
RING = 1000
ROW_RING = 40

OFFSET_FIRST = 1_000_000  # seven digits all the way, so that a message keeps its size
_EPOCH = b"bench"
_MASKED = 0x80


class Publications(Protocol):
    """What is published, in its order, ready to be sent."""

    def piece(self, first: int, count: int) -> bytes | memoryview:
        """So many of them, joined."""


class Stream(Publications):
    """``frames`` again and again for ever; any part of up to ``chunk_bytes`` is in one piece."""

    def __init__(self, frames: Sequence[bytes], chunk_bytes: int = 1 << 16) -> None:
        self.frame_bytes = len(frames[0])
        if any(len(frame) != self.frame_bytes for frame in frames):
            raise ValueError("the frames of a stream have one size")
        self.frames = frames
        self.ring_bytes = self.frame_bytes * len(frames)
        once = b"".join(frames)
        self.ring = (once * (2 + chunk_bytes // self.ring_bytes))[: self.ring_bytes + chunk_bytes]
        self._chunk_bytes = chunk_bytes
        self._view = memoryview(self.ring)

    def piece(self, first: int, count: int) -> memoryview:
        """The frames ``first`` up to ``first + count``, without copying them."""
        size = self.frame_bytes
        if count * size > self._chunk_bytes:
            raise ValueError("the piece is longer than a chunk")
        start = (first % len(self.frames)) * size
        return self._view[start : start + count * size]


def data_of(number: int) -> bytes:
    return b"%08d" % (number % RING) + b"." * (DATA_BYTES - 8)


def delivered(channel: str, ring: int = RING) -> list[bytes]:
    """What a subscriber in text format receives, as the gateway and the seed's design write it."""
    prefix = f"[{channel}] ".encode()
    return [text_frame(prefix + data_of(number)) for number in range(ring)]


def client_frames() -> list[bytes]:
    """What a publisher sends over its WebSocket: masked as RFC 6455 section 5.3 wants it.

    The mask is zero, so masking leaves the data as it is; a server cannot take a short cut.
    """
    head = bytes((0x81, _MASKED | 126)) + DATA_BYTES.to_bytes(2, "big") + bytes(4)
    return [head + data_of(number) for number in range(RING)]


def triggers() -> list[bytes]:
    """What makes the bare loop send its next frame."""
    return [b"."] * RING


def plain_commands(channel: str) -> list[bytes]:
    """PUBLISH of the data alone, for a server whose messages have no envelope."""
    return [command("PUBLISH", channel, data_of(number)) for number in range(RING)]


class Envelopes(Publications):
    """PUBLISH of one channel's messages in the envelope that `publish.lua` puts around them.

    Only the offset differs from one round of the ring to the next, and it has a fixed size.
    """

    def __init__(self, prefix: str, channel: str, ring: int) -> None:
        topic = Keys(prefix).topic(channel)
        self._head: list[bytes] = []
        self._tail: list[bytes] = []
        for number in range(ring):
            data = orjson.dumps(data_of(number).decode())
            body = encode_body(Publication(channel, data, "0" * 24, "bench", 1.5))
            whole = command("PUBLISH", topic, b"g1:%d:%b:%b" % (OFFSET_FIRST, _EPOCH, body))
            head, _, tail = whole.partition(b"%d" % OFFSET_FIRST)
            self._head.append(head)
            self._tail.append(tail)

    def command(self, number: int) -> bytes:
        at = number % len(self._head)
        return b"%b%d%b" % (self._head[at], OFFSET_FIRST + number, self._tail[at])

    def piece(self, first: int, count: int) -> bytes:
        return b"".join(map(self.command, range(first, first + count)))


def position_command(prefix: str, channel: str) -> bytes:
    """Make the first of `Envelopes` the one that follows what Redis remembers of the channel."""
    last = b"%d" % (OFFSET_FIRST - 1)
    return command("HSET", Keys(prefix).state(channel), b"e", _EPOCH, b"o", last)


def command(*words: str | bytes) -> bytes:
    """A Redis command, in the form in which it travels."""
    parts = [word.encode() if isinstance(word, str) else word for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(p), p) for p in parts)
