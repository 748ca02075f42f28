"""Frames that break the protocol: each ends its own socket, says why, and disturbs nobody else."""

import contextlib
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clients import RawClient, client_frame, publish_now
from tests.support.servers import GatewayProcess

TEXT, BINARY, CONT, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
LIMIT = 65_536  # message_bytes_max


@pytest.fixture(autouse=True)
def bystander(
    gateway: GatewayProcess, channel: str, publisher: str, listener: str
) -> Iterator[RawClient]:
    """A socket that was there before, and is still served after everything that a test did."""
    with RawClient(gateway.port, timeout=2).listen(channel, listener) as client:
        yield client
        publish_now(gateway.http, channel, "undisturbed", publisher)
        assert client.read_json()["data"] == "undisturbed"
    assert "Traceback" not in gateway.log


@pytest.fixture
def client(gateway: GatewayProcess, publisher: str) -> Iterator[RawClient]:
    with RawClient(gateway.port).listen("rough", publisher) as client:
        yield client


def close_payload(code: int, reason: bytes = b"") -> bytes:
    return struct.pack("!H", code) + reason


def with_first_byte(byte: int, payload: bytes = b"") -> bytes:
    return bytes([byte]) + client_frame(0, payload)[1:]


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (client_frame(TEXT, b"hi", masked=False), 1002),
        (with_first_byte(0xC1, b"hi"), 1002),  # a reserved bit without an extension
        (with_first_byte(0xA1, b"hi"), 1002),
        (with_first_byte(0x91, b"hi"), 1002),
        (with_first_byte(0x83), 1002),  # a reserved opcode
        (with_first_byte(0x8B), 1002),
        (client_frame(PING, b"p" * 126), 1002),
        (client_frame(PING, b"p", fin=False), 1002),
        (client_frame(CLOSE, close_payload(1000, b"r" * 124)), 1002),
        (client_frame(CONT, b"of what?"), 1002),
        (client_frame(TEXT, b"a", fin=False) + client_frame(TEXT, b"b"), 1002),
        (client_frame(TEXT, b"a", fin=False) + client_frame(BINARY, b"b"), 1002),
        (client_frame(TEXT, b"\xff"), 1007),
        (client_frame(TEXT, b"\xed\xa0\x80"), 1007),  # half of a surrogate pair
        (client_frame(TEXT, b"\xe2\x82", fin=False) + client_frame(CONT, b"x"), 1007),
        (client_frame(TEXT, b"ok", fin=False) + client_frame(CONT, b"\xc3"), 1007),
        (client_frame(CLOSE, b"\x03"), 1002),
        (client_frame(CLOSE, close_payload(999)), 1002),
        (client_frame(CLOSE, close_payload(1004)), 1002),
        (client_frame(CLOSE, close_payload(1005)), 1002),
        (client_frame(CLOSE, close_payload(1006)), 1002),
        (client_frame(CLOSE, close_payload(1015)), 1002),
        (client_frame(CLOSE, close_payload(2999)), 1002),
        (client_frame(CLOSE, close_payload(5000)), 1002),
        (client_frame(CLOSE, close_payload(1000, b"\xff")), 1007),
        (client_frame(TEXT, b"x" * (LIMIT + 1)), 1009),
        (client_frame(TEXT, b"x" * LIMIT, fin=False) + client_frame(CONT, b"x"), 1009),
        (b"GET / HTTP/1.1\r\n\r\n", 1002),
    ],
)
def test_a_broken_rule_ends_the_socket_with_its_code(
    client: RawClient, frames: bytes, code: int
) -> None:
    client.send(frames)
    given, reason = client.read_close()
    assert given == code
    assert reason
    assert client.read_to_end() == b""


def test_the_first_broken_rule_counts_even_when_others_follow_in_one_breath(
    client: RawClient,
) -> None:
    client.send(client_frame(TEXT, b"\xff") + client_frame(PING, b"p" * 126))
    assert client.read_close()[0] == 1007


@pytest.mark.parametrize(
    "broken", [client_frame(TEXT, b"\xff"), client_frame(PING, b"p", fin=False)]
)
def test_what_came_before_a_broken_rule_is_published(
    gateway: GatewayProcess, bystander: RawClient, channel: str, publisher: str, broken: bytes
) -> None:
    with RawClient(gateway.port).listen(channel, publisher) as client:
        client.send(client_frame(TEXT, b"sound") + broken + client_frame(TEXT, b"too late"))
        client.read_close()
    assert bystander.read_json()["data"] == "sound"


def test_a_frame_may_come_byte_by_byte(client: RawClient) -> None:
    for byte in client_frame(TEXT, "ñandú".encode()):
        client.send(bytes([byte]))
    assert client.read_json()["data"] == "ñandú"


@pytest.mark.parametrize("payload", [b"", close_payload(1000), close_payload(4999, b"bye")])
def test_a_proper_close_is_answered_in_kind(client: RawClient, payload: bytes) -> None:
    client.send(client_frame(CLOSE, payload))
    assert client.read_frame() == (CLOSE, payload)
    assert client.read_to_end() == b""


def test_nothing_counts_after_the_close_frame(
    gateway: GatewayProcess, bystander: RawClient, channel: str, publisher: str
) -> None:
    with RawClient(gateway.port).listen(channel, publisher) as client:
        client.send(client_frame(CLOSE, close_payload(1000)) + client_frame(TEXT, b"too late"))
        client.read_close()
    publish_now(gateway.http, channel, "in time", publisher)
    assert bystander.read_json()["data"] == "in time"


@pytest.mark.parametrize("in_fragments", [False, True])
def test_a_client_that_is_still_sending_too_much_reads_why_it_was_closed(
    client: RawClient, in_fragments: bool
) -> None:
    size = 8_000_000
    if in_fragments:
        client.send(client_frame(TEXT, b"x", fin=False))
        piece = client_frame(CONT, b"x" * 4000, fin=False)
        rest = piece * (size // len(piece))
    else:
        head = struct.pack("!BBQ", 0x81, 0xFF, size) + os.urandom(4)
        rest = head + bytes(size)
    for start in range(0, len(rest), 100_000):
        client.send(rest[start : start + 100_000])
    code, reason = client.read_close()
    assert code == 1009
    assert reason


def test_a_flood_of_empty_fragments_is_cut_short(
    gateway: GatewayProcess, client: RawClient, bystander: RawClient, channel: str, publisher: str
) -> None:
    client.send(client_frame(TEXT, b"", fin=False))
    flood = client_frame(CONT, b"", fin=False) * 1_000_000
    started = time.monotonic()
    with contextlib.suppress(OSError):
        client.send(flood[:600_000])
    code, reason = client.read_close()
    assert time.monotonic() - started < 2
    assert code == 1008
    assert reason == "too many fragments in one message"

    # What comes after the close is not even looked at.
    busy = cpu_seconds(gateway)
    with contextlib.suppress(OSError):
        client.send(flood)
    publish_now(gateway.http, channel, "meanwhile", publisher)
    assert bystander.read_json()["data"] == "meanwhile"
    assert cpu_seconds(gateway) - busy < 0.5


def test_a_client_that_broke_a_rule_and_does_not_leave_is_thrown_out(client: RawClient) -> None:
    client.send(client_frame(PING, b"p" * 126))
    client.read_close()
    assert client.is_thrown_out(seconds=5)


def cpu_seconds(gateway: GatewayProcess) -> float:
    fields = Path(f"/proc/{gateway.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
