"""WebSocket frames, as a client reads and writes them (RFC 6455 section 5.2)."""

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA

_LENGTH_BYTES = {126: 2, 127: 8}


def split_frames(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The whole frames as opcodes and payloads, and what is there of the next one.

    A server masks nothing, and ours sends each message in one frame.
    """
    frames: list[tuple[int, bytes]] = []
    at = 0
    while len(data) >= at + 2:
        start, length = at + 2, data[at + 1] & 0x7F
        if more := _LENGTH_BYTES.get(length, 0):
            start += more
            length = int.from_bytes(data[at + 2 : start], "big")
        if len(data) < start or len(data) < start + length:
            break
        frames.append((data[at] & 0x0F, data[start : start + length]))
        at = start + length
    return frames, data[at:]


def client_frame(opcode: int, payload: bytes) -> bytes:
    """A short frame, masked with zeros, which leave the payload as it is."""
    return bytes((0x80 | opcode, 0x80 | len(payload))) + bytes(4) + payload
