"""What of a stretch is news, wherever the archive is."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.archive import NOWHERE, Entry, Hole, Place, Stretch, entry_of
from gateway.domain.messages import BEGINNING, Message, Position


def messages(epoch: str, offsets: Sequence[int]) -> list[Message]:
    return [
        Message("room", b"1", f"{epoch}{offset}", "alice", 1.0, Position(epoch, offset))
        for offset in offsets
    ]


def stretch(since: str, until: str, offsets: Sequence[int], is_again: bool = False) -> Stretch:
    top = Position.parse(until)
    return Stretch("room", Position.parse(since), top, messages(top.epoch, offsets), is_again)


def place(position: str, id: str = "", is_ended: bool = False) -> Place:
    return Place(Position.parse(position), id, is_ended)


def offsets_of(entry: Entry | None) -> list[int]:
    assert entry is not None
    return [message.position.offset for message in entry.messages]


def test_the_first_stretch_of_a_channel_begins_its_epoch() -> None:
    entry = entry_of(stretch(":0", "a:3", [1, 2, 3]), NOWHERE)

    assert entry is not None
    assert entry == (messages("a", [1, 2, 3]), [], None, place("a:3", "a3"), True)


def test_what_is_archived_already_is_no_news() -> None:
    entry = entry_of(stretch("a:1", "a:4", [2, 3, 4]), place("a:3", "a3"))
    assert offsets_of(entry) == [4]

    entry = entry_of(stretch("a:1", "a:2", [2]), place("a:3", "a3"))
    assert entry == ((), (), None, place("a:3", "a3"), False)


def test_holes_are_found_before_between_and_behind() -> None:
    entry = entry_of(stretch("a:2", "a:12", [5, 6, 9]), place("a:2"))

    assert entry is not None
    assert entry.holes == [Hole("a", 3, 4), Hole("a", 7, 8), Hole("a", 10, 12)]
    assert entry.place == place("a:12", "")


def test_the_end_of_an_epoch_is_open() -> None:
    entry = entry_of(stretch("a:2", "b:2", [1, 2]), place("a:2", "a2"))
    assert entry is not None
    assert (entry.end, entry.is_new) == (Hole("a", 3, None), True)
    assert str(entry.end) == "a:3-?"

    ended = entry_of(stretch("a:2", "b:2", [1, 2]), place("a:2", "a2", is_ended=True))
    assert ended is not None
    assert ended.end is None


def test_what_is_kept_no_more_when_offsets_come_again_is_no_hole() -> None:
    """It was archived the first time."""
    entry = entry_of(stretch("a:9", "a:7", [5, 6, 7], is_again=True), place("a:9", "a9"))

    assert entry is not None
    assert (offsets_of(entry), entry.holes, entry.is_new) == ([5, 6, 7], [], True)
    assert entry.end == Hole("a", 10, None)
    assert entry.place == place("a:7", "a7")


@pytest.mark.parametrize(
    ("read", "at"),
    [
        (stretch("a:5", "a:6", [6]), "a:4"),
        (stretch("a:5", "b:1", [1]), "a:4"),
        (stretch("a:5", "b:1", [1]), "c:9"),
        (stretch(":0", "b:1", [1]), "c:9"),
        (stretch("a:5", "a:6", [6]), ":0"),
        (stretch("a:5", ":0", []), "b:1"),
        (stretch("a:5", "a:3", [3], is_again=True), "a:6"),
        (stretch("a:5", "a:3", [3], is_again=True), "a:3"),
    ],
)
def test_a_stretch_that_begins_elsewhere_does_not_fit(read: Stretch, at: str) -> None:
    assert entry_of(read, place(at)) is None


def test_a_lost_state_is_noted_once() -> None:
    lost = stretch("a:5", ":0", [])
    entry = entry_of(lost, place("a:5", "a5"))
    assert entry is not None
    assert (entry.end, entry.place.is_ended) == (Hole("a", 6, None), True)
    assert entry_of(lost, entry.place) == ((), (), None, entry.place, False)
    assert entry_of(stretch(":0", ":0", []), NOWHERE) == ((), (), None, NOWHERE, False)


TOP = 20


@given(
    st.sets(st.integers(1, TOP)),
    st.lists(st.tuples(st.integers(0, TOP), st.integers(1, TOP)), max_size=8),
)
def test_whatever_is_read_every_offset_is_a_message_or_in_a_hole_once(
    kept: set[int], reads: list[tuple[int, int]]
) -> None:
    at, found, missing = NOWHERE, list[int](), list[int]()
    for begin, until in [*reads, (0, TOP)]:
        since = Position("a", begin) if begin else BEGINNING
        offsets = [offset for offset in sorted(kept) if begin < offset <= until]
        read = Stretch("room", since, Position("a", until), messages("a", offsets))
        entry = entry_of(read, at)
        if entry is None:
            assert begin > at.position.offset
            continue
        found += offsets_of(entry)
        missing += [n for hole in entry.holes for n in range(hole.first, (hole.last or 0) + 1)]
        at = entry.place
    assert found == sorted(kept)
    assert sorted(found + missing) == list(range(1, TOP + 1))
