"""Frames as a client of the same standard reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import CLIENT, OPEN, Protocol

from gateway.protocols.frames import (
    CLOSE,
    PING,
    PING_FRAME,
    REASON_BYTES_MAX,
    TEXT,
    close_frame,
    frame,
    payloads_of,
    text_frame,
)


def read_by_a_client(data: bytes) -> tuple[Protocol, list[Frame]]:
    client = Protocol(CLIENT, state=OPEN, max_size=None)
    client.receive_data(data)
    if client.parser_exc is not None:
        raise client.parser_exc
    frames = [event for event in client.events_received() if isinstance(event, Frame)]
    return client, frames


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65535, 65536, 70000])
def test_a_payload_of_any_length_arrives_whole(length: int) -> None:
    payload = b"x" * length
    _, frames = read_by_a_client(text_frame(payload))
    assert frames == [Frame(Opcode.TEXT, payload)]


@pytest.mark.parametrize(("length", "header"), [(125, 2), (126, 4), (65535, 4), (65536, 10)])
def test_the_shortest_header_that_fits_is_used(length: int, header: int) -> None:
    """RFC 6455 section 5.2 demands it, and strict clients check it."""
    assert len(text_frame(b"x" * length)) == header + length


@given(st.lists(st.binary(max_size=300), max_size=10))
def test_joined_frames_come_apart_again(payloads: list[bytes]) -> None:
    _, frames = read_by_a_client(b"".join(map(text_frame, payloads)))
    assert [bytes(frame.data) for frame in frames] == payloads
    assert all(frame.opcode is Opcode.TEXT and frame.fin for frame in frames)


@given(st.sampled_from([TEXT, 0x2]), st.binary(max_size=70_000))
def test_any_payload_arrives_as_it_was(opcode: int, payload: bytes) -> None:
    _, frames = read_by_a_client(frame(opcode, payload))
    assert frames == [Frame(Opcode(opcode), payload)]


@given(st.integers(1000, 1014).filter(lambda code: code not in (1004, 1005, 1006)), st.text())
def test_a_client_reads_the_close_code_and_the_start_of_the_reason(code: int, reason: str) -> None:
    data = close_frame(code, reason)
    assert len(data) <= 127
    client, _ = read_by_a_client(data)
    assert client.close_rcvd is not None
    assert client.close_rcvd.code == code
    assert reason.startswith(client.close_rcvd.reason)
    fits = len(reason.encode()) <= REASON_BYTES_MAX
    assert (client.close_rcvd.reason == reason) == fits


@given(st.lists(st.sampled_from([0, 1, 125, 126, 300, 65535, 65536]).map(bytes), max_size=10))
def test_our_own_frames_can_be_taken_apart(payloads: list[bytes]) -> None:
    assert list(payloads_of(b"".join(map(text_frame, payloads)))) == payloads


def test_a_long_reason_is_cut_between_two_characters() -> None:
    client, _ = read_by_a_client(close_frame(1008, "x" + "€" * 100))
    assert client.close_rcvd == Close(1008, "x" + "€" * 40)


def test_the_ping_is_empty_and_answered() -> None:
    client, frames = read_by_a_client(PING_FRAME)
    assert frames == [Frame(Opcode.PING, b"")]
    assert client.data_to_send()[0][0] == 0x80 | Opcode.PONG


def test_nothing_is_masked() -> None:
    """RFC 6455 section 5.1: a client must close the connection otherwise."""
    for data in (text_frame(b"x"), close_frame(1000, ""), PING_FRAME, frame(TEXT, b"x" * 70000)):
        assert not data[1] & 0x80


def test_the_opcodes_are_those_of_the_standard() -> None:
    assert (TEXT, CLOSE, PING) == (Opcode.TEXT, Opcode.CLOSE, Opcode.PING)
