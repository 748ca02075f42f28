"""Checks what every socket receives, byte by byte, and counts it."""

from collections.abc import Callable, Sequence

from gateway.bench.stream import Stream

# How far one socket may be ahead of another, in messages; far more than is ever outstanding.
_SPREAD_MAX = 1 << 14

_CLOSE, _PING, _PONG = 0x88, 0x89, 0x8A
_SHOWN_BYTES = 48


class Misdelivered(Exception):
    """A server lost, doubled, changed or reordered something; the text says what, and where."""


class Checker:
    """Knows how far each socket has come in the stream that it must receive.

    ``answer`` is called with a socket's index and a pong when a ping came in between.
    """

    def __init__(
        self,
        streams: Sequence[Stream],
        buffer: bytearray,
        answer: Callable[[int, bytes], None],
    ) -> None:
        """One stream per socket, all of the same sizes; chunks are read into ``buffer``."""
        self.frame_bytes = streams[0].frame_bytes
        self._ring_bytes = streams[0].ring_bytes
        if any(
            (s.frame_bytes, s.ring_bytes) != (self.frame_bytes, self._ring_bytes) for s in streams
        ):
            raise ValueError("the streams of one checker have one size")
        self._streams = streams
        self._rings = [stream.ring for stream in streams]
        self._view = memoryview(buffer)
        self._answer = answer
        self._bytes = [0] * len(streams)
        # How many sockets have received how many messages, modulo _SPREAD_MAX; `done` is the
        # smallest number that somebody stands at, so keeping it up costs two steps per chunk.
        self._standing = [0] * _SPREAD_MAX
        self._standing[0] = len(streams)
        self._parts: dict[int, bytes] = {}  # a control frame of which the rest is to come
        self.done = 0  # how many messages every socket has
        self.delivered = 0  # how many messages all sockets together have

    def take(self, index: int, count: int) -> None:
        """Check the first ``count`` bytes of the buffer, which socket ``index`` has received.

        Raises `Misdelivered`. Comparing is one ``memcmp``; nothing is copied.
        """
        start = self._bytes[index]
        if (
            not count
            or self._parts
            or not self._rings[index].startswith(self._view[:count], start % self._ring_bytes)
        ):
            count = self._look_closer(index, count)
        end = start + count
        self._bytes[index] = end
        before, after = start // self.frame_bytes, end // self.frame_bytes
        if before != after:
            standing = self._standing
            standing[before % _SPREAD_MAX] -= 1
            standing[after % _SPREAD_MAX] += 1
            self.delivered += after - before
            while not standing[self.done % _SPREAD_MAX]:
                self.done += 1

    def messages(self, index: int) -> int:
        """How many whole messages this socket has received."""
        return self._bytes[index] // self.frame_bytes

    def require(self, messages: int) -> None:
        """Raise `Misdelivered` unless every socket has received exactly so many messages."""
        wrong = [
            (i, count)
            for i, count in enumerate(self._bytes)
            if count != messages * self.frame_bytes
        ]
        if wrong:
            index, count = wrong[0]
            whole, rest = divmod(count, self.frame_bytes)
            raise Misdelivered(
                f"{len(wrong)} of {len(self._bytes)} sockets did not get what was sent: socket "
                f"{index} got {whole} messages{f' and {rest} bytes' if rest else ''}, "
                f"and {messages} were published"
            )

    # When the plain comparison fails.

    def _look_closer(self, index: int, count: int) -> int:
        """Step over control frames; return how many bytes of the stream came, or raise."""
        if not count:
            raise Misdelivered(
                f"socket {index} was closed by the server after {self.messages(index)} messages"
            )
        data = self._parts.pop(index, b"") + self._view[:count].tobytes()
        position = self._bytes[index]
        while data:
            same = self._same(index, position, data)
            position, data = position + same, data[same:]
            if data:
                data = self._control(index, position, data)
        return position - self._bytes[index]

    def _same(self, index: int, position: int, data: bytes) -> int:
        expected = self._expected(index, position, len(data))
        if expected == data:
            return len(data)
        return next(
            at for at, pair in enumerate(zip(expected, data, strict=True)) if pair[0] != pair[1]
        )

    def _control(self, index: int, position: int, data: bytes) -> bytes:
        """Take the control frame at the start of ``data``; return what follows it."""
        if position % self.frame_bytes or data[0] not in (_CLOSE, _PING, _PONG):
            raise Misdelivered(self._difference(index, position, data))
        if len(data) < 2 or len(data) < 2 + data[1]:
            self._parts[index] = data
            return b""
        end = 2 + data[1]
        if data[0] == _CLOSE:
            code, reason = int.from_bytes(data[2:4], "big"), data[4:end].decode(errors="replace")
            raise Misdelivered(
                f"socket {index} was closed by the server after {position // self.frame_bytes} "
                f"messages: {code} {reason!r}"
            )
        if data[0] == _PING:
            self._answer(index, bytes((_PONG, 0x80 | data[1], 0, 0, 0, 0)) + data[2:end])
        return data[end:]

    def _difference(self, index: int, position: int, data: bytes) -> str:
        number, at = divmod(position, self.frame_bytes)
        # What came before the difference was right, so the frame can be put together again.
        came = (self._expected(index, position - at, at) + data)[: self.frame_bytes]
        expected = self._expected(index, position - at, self.frame_bytes)
        where = f"socket {index}, message {number}"
        frames = self._streams[index].frames
        if came in frames:
            step = (frames.index(came) - number) % len(frames)
            if step <= len(frames) // 2:
                return f"{where}: message {number + step} came instead, {step} were lost"
            return f"{where}: message {number + step - len(frames)} came again instead"
        return (
            f"{where}: wrong from byte {at} on: "
            f"expected {expected[:_SHOWN_BYTES]!r}…, got {came[:_SHOWN_BYTES]!r}…"
        )

    def _expected(self, index: int, position: int, count: int) -> bytes:
        start = position % self._ring_bytes
        return self._rings[index][start : start + count]
