"""How much memory the history of a gateway without Redis may take."""

from gateway.adapters.memory.history import MemoryHistory
from gateway.domain.history import History, HistoryQuery
from gateway.domain.messages import BEGINNING, Message
from gateway.domain.namespaces import Namespace, Namespaces
from tests.support.brokers import publication

NAMESPACES = Namespaces(
    Namespace(history_length=5, history_seconds=10),
    {"long": Namespace(history_length=5, history_seconds=50)},
)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def make(clock: Clock, channels_max: int = 100, bytes_max: int = 1_000_000) -> MemoryHistory:
    return MemoryHistory(
        NAMESPACES,
        position_seconds=100,
        clock=clock,
        channels_max=channels_max,
        bytes_max=bytes_max,
    )


def add(history: MemoryHistory, channel: str, data: bytes = b"1") -> Message:
    return history.add(publication(channel, data))


def read(history: MemoryHistory, channel: str) -> tuple[list[int], int]:
    answer: History = history.read(channel, HistoryQuery(None, 100))
    return [message.position.offset for message in answer.messages], answer.top.offset


def test_beyond_its_bytes_the_longest_silent_channel_loses_its_oldest_messages() -> None:
    history = make(Clock(), bytes_max=5_000)
    for channel in ("busy", "silent", "silent", "busy", "busy"):
        add(history, channel, b"1" * 500)
    assert (read(history, "silent"), read(history, "busy")) == (([1, 2], 2), ([1, 2, 3], 3))
    add(history, "busy", b"1" * 500)
    assert (read(history, "silent"), read(history, "busy")) == (([2], 2), ([1, 2, 3, 4], 4))
    for _ in range(4):
        add(history, "other", b"1" * 500)
    assert (read(history, "silent"), read(history, "busy")) == (([], 2), ([4], 4))
    assert read(history, "other") == ([1, 2, 3, 4], 4)


def test_a_message_bigger_than_all_the_room_is_not_kept() -> None:
    history = make(Clock(), bytes_max=1_000)
    add(history, "room")
    add(history, "room", b"1" * 2_000)
    assert read(history, "room") == ([], 2)
    add(history, "room")
    assert read(history, "room") == ([3], 3)


def test_beyond_its_channels_the_longest_silent_one_starts_again_under_a_new_epoch() -> None:
    history = make(Clock(), channels_max=2)
    first = add(history, "a").position
    add(history, "b")
    add(history, "a")
    add(history, "c")  # b goes, for a has spoken since
    assert [read(history, channel) for channel in "abc"] == [([1, 2], 2), ([], 0), ([1], 1)]
    add(history, "b")
    assert history.read("a", HistoryQuery(None, 1)).top == BEGINNING
    again = add(history, "a").position
    assert (again.offset, again.epoch != first.epoch) == (1, True)


def test_a_forgotten_channel_is_not_asked_for_its_messages() -> None:
    history = make(Clock(), channels_max=2, bytes_max=3_000)
    for channel in "abcd":
        add(history, channel, b"1" * 500)
    add(history, "d", b"1" * 2_000)
    assert [read(history, channel) for channel in "abcd"] == [([], 0), ([], 0), ([], 1), ([2], 2)]


def test_what_has_lapsed_does_not_come_back_behind_what_lives_longer() -> None:
    clock = Clock()
    history = make(clock)
    add(history, "long:a")
    add(history, "room")
    clock.now = 15
    assert read(history, "room") == ([], 1)
    add(history, "room")
    assert (read(history, "room"), read(history, "long:a")) == (([2], 2), ([1], 1))


def test_what_has_lapsed_takes_no_memory_once_somebody_speaks() -> None:
    clock = Clock()
    history = make(clock)
    for n in range(50):
        add(history, f"room{n}", b"1" * 1_000)
    add(history, "long:a")
    assert history.bytes_kept > 50_000
    clock.now = 10
    add(history, "room")
    assert history.bytes_kept < 2_000
    assert read(history, "long:a") == ([1], 1)
    clock.now = 110
    add(history, "room")
    assert history.channel_count == 1


def test_a_channel_that_is_heard_again_and_again_keeps_counting_its_bytes_right() -> None:
    clock = Clock()
    history = make(clock)
    for n in range(100):
        clock.now += n % 3 * 7
        add(history, ("room", "long:a", "other")[n % 3], b"1" * n)
    clock.now += 200
    add(history, "end", b"1" * 100)
    assert (history.bytes_kept, history.channel_count) == (600, 1)
