"""The checker sees every byte that is missing, doubled, changed or out of order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.bench.checker import Checker, Misdelivered
from gateway.bench.stream import Stream, delivered
from gateway.protocols.frames import PING_FRAME, close_frame, frame

FRAMES = delivered("bench", 20)
STREAM = Stream(FRAMES, chunk_bytes=4096)


class Feed:
    """A checker with a buffer and a memory of what it answered."""

    def __init__(self, sockets: int = 1) -> None:
        self.buffer = bytearray(4096)
        self.answers: list[tuple[int, bytes]] = []
        self.checker = Checker(
            [STREAM] * sockets, self.buffer, lambda *answer: self.answers.append(answer)
        )

    def __call__(self, data: bytes, index: int = 0) -> None:
        self.buffer[: len(data)] = data
        self.checker.take(index, len(data))


@given(st.lists(st.integers(1, 3000), max_size=20))
def test_the_right_bytes_are_right_however_they_are_cut(cuts: list[int]) -> None:
    feed = Feed()
    whole = b"".join(FRAMES) * 25
    position = 0

    for cut in cuts:
        feed(whole[position : position + cut])
        position += cut

    assert feed.checker.messages(0) == position // len(FRAMES[0])
    assert feed.checker.delivered == feed.checker.done == position // len(FRAMES[0])


def test_a_message_is_done_when_the_last_socket_has_it() -> None:
    feed = Feed(sockets=3)
    feed(FRAMES[0] + FRAMES[1], 0)
    feed(FRAMES[0], 1)
    assert feed.checker.done == 0

    feed(FRAMES[0] + FRAMES[1] + FRAMES[2], 2)
    assert feed.checker.done == 1
    feed(FRAMES[1], 1)
    assert feed.checker.done == 2
    assert feed.checker.delivered == 7


def test_a_lost_message_is_named() -> None:
    feed = Feed()
    feed(FRAMES[0])

    with pytest.raises(Misdelivered, match="message 1: message 3 came instead, 2 were lost"):
        feed(FRAMES[3])


def test_a_doubled_message_is_named() -> None:
    feed = Feed()
    feed(FRAMES[0] + FRAMES[1])

    with pytest.raises(Misdelivered, match="message 2: message 1 came again"):
        feed(FRAMES[1])


def test_two_messages_in_the_wrong_order_are_seen_in_one_chunk() -> None:
    with pytest.raises(Misdelivered, match="message 0: message 1 came instead"):
        Feed()(FRAMES[1] + FRAMES[0])


@given(st.integers(0, len(FRAMES[0]) - 1), st.integers(1, 255))
def test_any_changed_byte_is_seen(at: int, change: int) -> None:
    wrong = bytearray(FRAMES[0])
    wrong[at] ^= change

    # More follows, because what looks like the start of a control frame is only waited for.
    with pytest.raises(Misdelivered):
        Feed()(bytes(wrong) + FRAMES[1] * 3)


def test_a_difference_is_seen_in_a_frame_that_came_in_two_parts() -> None:
    feed = Feed()
    feed(FRAMES[0] + FRAMES[2][:10])

    with pytest.raises(Misdelivered, match="message 1: message 2 came instead, 1 were lost"):
        feed(FRAMES[2][10:])


def test_what_nobody_sent_is_shown() -> None:
    with pytest.raises(Misdelivered, match=r"wrong from byte 4 on: expected .*got .*not published"):
        Feed()(FRAMES[0][:4] + b'{"error":"not published"}'.ljust(len(FRAMES[0]) - 4))


def test_a_message_too_few_or_too_many_is_seen_at_the_end() -> None:
    feed = Feed(sockets=2)
    feed(FRAMES[0], 0)
    feed(FRAMES[0] + FRAMES[1], 1)

    with pytest.raises(Misdelivered, match=r"1 of 2 sockets .* socket 0 got 1 messages, and 2"):
        feed.checker.require(2)
    with pytest.raises(Misdelivered, match=r"1 of 2 sockets .* socket 1 got 2 messages, and 1"):
        feed.checker.require(1)
    feed(FRAMES[1], 0)
    feed.checker.require(2)


def test_half_a_message_too_much_is_seen_at_the_end() -> None:
    feed = Feed()
    feed(FRAMES[0] + FRAMES[1][:7])

    with pytest.raises(Misdelivered, match="1 messages and 7 bytes"):
        feed.checker.require(1)


@pytest.mark.parametrize("ping", [PING_FRAME, frame(0x9, b"abcd")], ids=["empty", "full"])
def test_a_ping_between_messages_is_answered_and_not_counted(ping: bytes) -> None:
    for cut in range(1, len(ping) + 1):
        feed = Feed(sockets=2)
        feed(FRAMES[0] + ping[:cut])
        feed(FRAMES[0], 1)
        feed(ping[cut:] + FRAMES[1])

        assert feed.answers == [(0, bytes((0x8A, 0x80 | len(ping[2:]), 0, 0, 0, 0)) + ping[2:])]
        assert feed.checker.messages(0) == 2


def test_a_close_frame_is_put_into_words() -> None:
    feed = Feed()
    feed(FRAMES[0])

    with pytest.raises(Misdelivered, match="closed by the server after 1 messages: 1013 'slow'"):
        feed(close_frame(1013, "slow"))


def test_a_connection_that_ends_is_an_error() -> None:
    with pytest.raises(Misdelivered, match="closed by the server after 0 messages"):
        Feed()(b"")
