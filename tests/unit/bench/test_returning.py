"""What a listener that comes back asks for, and what it finds wrong."""

from typing import Any

import pytest

from bench.scaling.frames import CLOSE, PONG, TEXT, client_frame, split_frames
from bench.scaling.handover import listen_drops, percentile, repeated
from bench.scaling.returning import BACKOFF_SECONDS_MAX, Listener, jittered_seconds
from gateway.bench.checker import Misdelivered
from gateway.protocols.frames import close_frame, text_frame


def listener() -> Listener:
    return Listener(0, "scale-000000", "TOKEN", 8000)


def message(offset: int, epoch: str = "e") -> dict[str, Any]:
    return {"data": "x", "epoch": epoch, "offset": offset}


def test_it_comes_back_with_the_position_of_its_last_message() -> None:
    one = listener()
    assert b"GET /ws/scale-000000?token=TOKEN HTTP/1.1\r\n" in one.request()

    assert one.take(message(7)) == ""

    assert b"?token=TOKEN&since=e:7 HTTP/1.1\r\n" in one.request()


@pytest.mark.parametrize(
    "next", [message(9), message(7), message(6), message(8, "other")], ids=lambda m: str(m)
)
def test_a_hole_a_repetition_and_another_epoch_are_noticed(next: dict[str, Any]) -> None:
    one = listener()
    assert one.take(message(6)) == ""
    assert one.take(message(7)) == ""

    assert "came after e:7" in one.take(next)


def test_caught_up_stands_where_the_last_message_stood() -> None:
    one = listener()
    one.take(message(7))

    assert one.take({"type": "caught_up", "epoch": "e", "offset": 7}) == ""
    assert one.caught_up_at > 0
    assert "caught up at 8" in one.take({"type": "caught_up", "epoch": "e", "offset": 8})


def test_a_gap_is_wrong_and_another_notice_is_not() -> None:
    assert "gap" in listener().take({"type": "gap", "since": "e:1", "next": "e:3"})
    assert listener().take({"type": "restored"}) == ""


def test_after_a_restart_of_redis_one_gap_from_where_it_stands_is_right() -> None:
    one = listener()
    one.take(message(7))
    gap = {"type": "gap", "since": "e:7", "next": "e:1000000008"}
    assert "gap" in one.take(gap)
    one.may_leap = True
    assert "gap" in one.take({**gap, "since": "e:6"})
    assert one.take(gap) == ""
    assert not one.may_leap
    assert one.take(message(1_000_000_008)) == ""
    assert "gap" in one.take({**gap, "since": "e:1000000008"})


def test_the_time_to_wait_is_spread_over_a_bound_that_doubles() -> None:
    first = [jittered_seconds(0) for _ in range(200)]
    third = [jittered_seconds(2) for _ in range(200)]
    late = [jittered_seconds(50) for _ in range(200)]

    assert 0 <= min(first) < 0.2 < 0.8 < max(first) <= 1
    assert 2 < max(third) <= 4
    assert 15 < max(late) <= BACKOFF_SECONDS_MAX


@pytest.mark.parametrize("size", [5, 200, 70_000])
def test_frames_are_split_wherever_a_read_ends(size: int) -> None:
    data = text_frame(b"a" * size) + text_frame(b"b")

    for end in {0, 1, 2, 3, 5, 9, size, len(data) - 1}:
        frames, rest = split_frames(data[:end])
        more, rest = split_frames(rest + data[end:])
        assert frames + more == [(TEXT, b"a" * size), (TEXT, b"b")]
        assert rest == b""


def test_a_close_frame_carries_its_code() -> None:
    frames, _ = split_frames(close_frame(1013, "later; retry_ms=5"))

    assert frames == [(CLOSE, (1013).to_bytes(2, "big") + b"later; retry_ms=5")]
    assert client_frame(PONG, b"hi") == b"\x8a\x82\0\0\0\0hi"


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(n) for n in range(1, 101)]

    assert percentile(values, 50) == 50
    assert percentile(values, 99) == 99
    assert percentile([3.0], 99) == 3


def test_what_fails_in_the_background_ends_the_measurement() -> None:
    def act() -> float:
        raise OSError("gone")

    with pytest.raises(Misdelivered, match="gone"), repeated(act):
        pass


def test_the_kernel_says_what_it_dropped() -> None:
    assert listen_drops() >= 0
