"""What the generator sends is what the gateway understands, and what it expects is sent."""

import orjson
import pytest
from websockets.frames import Opcode
from websockets.protocol import OPEN, SERVER, Protocol

from gateway.adapters.redis.channels.envelope import decode_payload
from gateway.adapters.redis.keys import Keys
from gateway.bench.stream import (
    DATA_BYTES,
    OFFSET_FIRST,
    RING,
    Envelopes,
    Stream,
    client_frames,
    command,
    data_of,
    delivered,
    position_command,
)
from gateway.domain.messages import Message, Position
from gateway.protocols.frames import text_frame
from gateway.protocols.plain import Format, encode_message


def test_data_has_one_size_and_starts_again_after_the_ring() -> None:
    assert {len(data_of(number)) for number in (0, 7, RING - 1, RING, 10**9)} == {DATA_BYTES}
    assert data_of(RING + 3) == data_of(3) != data_of(4)


def test_a_piece_of_the_stream_goes_over_the_end_of_the_ring() -> None:
    stream = Stream([b"aa", b"bb", b"cc"], chunk_bytes=8)

    assert bytes(stream.piece(2, 4)) == b"ccaabbcc"
    assert bytes(stream.piece(301, 1)) == b"bb"
    with pytest.raises(ValueError, match="longer than a chunk"):
        stream.piece(0, 5)


def test_frames_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="one size"):
        Stream([b"aa", b"b"])


def test_what_is_expected_is_what_the_gateway_writes() -> None:
    message = Message("bench", orjson.dumps(data_of(5).decode()), "", "", 0.0, Position("e", 1))

    assert delivered("bench")[5] == text_frame(encode_message(Format.TEXT, message))


def test_a_publisher_sends_valid_masked_frames() -> None:
    parser = Protocol(SERVER, state=OPEN)
    parser.receive_data(b"".join(client_frames()[:3]))

    frames = parser.events_received()

    assert [frame.opcode for frame in frames if hasattr(frame, "opcode")] == [Opcode.TEXT] * 3
    assert [bytes(frame.data) for frame in frames if hasattr(frame, "data")] == [
        data_of(number) for number in range(3)
    ]


def test_envelopes_are_what_the_gateway_reads_from_redis() -> None:
    envelopes = Envelopes("gw", "bench-1", 4)

    for number in (0, 1, 5, 1_000_000):
        start, payload = _words(envelopes.command(number))
        assert start == [b"PUBLISH", Keys("gw").topic("bench-1").encode()]
        message = decode_payload("bench-1", payload, 65_536)
        assert message.position == ("bench", OFFSET_FIRST + number)
        assert orjson.loads(message.data) == data_of(number % 4).decode()


def test_a_piece_of_envelopes_is_one_command_after_the_other() -> None:
    envelopes = Envelopes("gw", "bench-1", 4)

    assert envelopes.piece(3, 2) == envelopes.command(3) + envelopes.command(4)


def test_the_first_envelope_follows_the_position_in_redis() -> None:
    start, offset = _words(position_command("gw", "bench-1"))

    assert start[:2] == [b"HSET", Keys("gw").state("bench-1").encode()]
    assert int(offset) + 1 == OFFSET_FIRST


def test_a_command_is_written_as_redis_reads_it() -> None:
    assert command("GET", b"k\r\n") == b"*2\r\n$3\r\nGET\r\n$3\r\nk\r\n\r\n"


def _words(command: bytes) -> tuple[list[bytes], bytes]:
    """A command's words but the last, and the last; lengths are checked on the way."""
    count, _, rest = command.removeprefix(b"*").partition(b"\r\n")
    words: list[bytes] = []
    while rest:
        size, _, rest = rest.removeprefix(b"$").partition(b"\r\n")
        words.append(rest[: int(size)])
        assert rest[int(size) : int(size) + 2] == b"\r\n"
        rest = rest[int(size) + 2 :]
    assert len(words) == int(count)
    return words[:-1], words[-1]
