"""What waits for a slow reader: order, limits, and gaps that are told where they are."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.namespaces import SlowConsumer
from gateway.protocols.event_stream import count_events, last_event
from gateway.protocols.frames import payloads_of, text_frame
from gateway.sockets.outbox import Outbox


def batch(*numbers: int) -> bytes:
    return b"".join(text_frame(b"%d" % number) for number in numbers)


def numbers_in(frames: bytes) -> list[int]:
    return [int(payload) for payload in payloads_of(frames)]


def test_within_its_limit_everything_waits_in_order() -> None:
    outbox = Outbox(SlowConsumer.DISCONNECT, 1000)
    assert outbox.put(batch(1, 2))
    assert outbox.put(batch(3))

    assert outbox.take() == (0, batch(1, 2))
    assert outbox.take() == (0, batch(3))
    assert not outbox


def test_beyond_the_limit_the_reader_has_to_go() -> None:
    outbox = Outbox(SlowConsumer.DISCONNECT, 10)
    assert outbox.put(text_frame(b"x" * 8))
    assert not outbox.put(batch(1))


def test_what_waits_in_the_transport_counts() -> None:
    outbox = Outbox(SlowConsumer.DISCONNECT, 10)
    assert not outbox.put(batch(1), elsewhere=9)


def test_the_oldest_go_and_their_number_stands_in_their_place() -> None:
    outbox = Outbox(SlowConsumer.DROP_OLDEST, 12)
    for numbers in ((1, 2), (3, 4), (5, 6), (7,)):
        assert outbox.put(batch(*numbers))

    assert outbox.take() == (4, batch(5, 6))
    assert outbox.take() == (0, batch(7))


def test_a_batch_that_is_larger_than_the_outbox_is_kept_alone() -> None:
    outbox = Outbox(SlowConsumer.DROP_OLDEST, 4)
    assert outbox.put(batch(1))
    assert outbox.put(batch(2, 3, 4))
    assert outbox.take() == (1, batch(2, 3, 4))


def test_of_a_price_only_the_latest_waits() -> None:
    outbox = Outbox(SlowConsumer.LATEST_ONLY, 1000)
    outbox.put(batch(1, 2, 3))
    outbox.put(batch(4, 5))

    assert outbox.take() == (4, batch(5))
    assert not outbox


def test_it_counts_and_cuts_events_as_well() -> None:
    def events(*numbers: int) -> bytes:
        return b"".join(b"data: %d\n\n" % number for number in numbers)

    prices = Outbox(SlowConsumer.LATEST_ONLY, 1000, count_events, last_event)
    prices.put(events(1, 2, 3))
    prices.put(events(4, 5))
    assert prices.take() == (4, events(5))

    logs = Outbox(SlowConsumer.DROP_OLDEST, 20, count_events, last_event)
    logs.put(events(1, 2))
    logs.put(events(3))
    assert logs.take() == (2, events(3))


@given(
    policy=st.sampled_from([SlowConsumer.DROP_OLDEST, SlowConsumer.LATEST_ONLY]),
    bytes_max=st.integers(5, 60),
    steps=st.lists(st.integers(0, 4), max_size=60),
)
def test_whatever_happens_order_holds_and_every_gap_is_told(
    policy: SlowConsumer, bytes_max: int, steps: list[int]
) -> None:
    outbox = Outbox(policy, bytes_max)
    next_number, expected = 1, 1

    def take() -> None:
        nonlocal expected
        missing, frames = outbox.take()
        numbers = numbers_in(frames)
        assert numbers == list(range(expected + missing, expected + missing + len(numbers)))
        expected += missing + len(numbers)

    for size in steps:
        if size == 0:
            if outbox:
                take()
            continue
        outbox.put(batch(*range(next_number, next_number + size)))
        next_number += size
        assert outbox.waiting_bytes <= bytes_max or len(outbox) == 1
    while outbox:
        take()
    assert expected == next_number
