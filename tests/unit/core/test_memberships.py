"""Numbers of connections by channel and user."""

from gateway.core.memberships import Counts, by_channel


def test_what_was_set_is_there() -> None:
    counts = Counts()
    counts.set(("room", "alice"), 2)
    counts.set(("room", "bob"), 1)
    counts.set(("lobby", "alice"), 1)
    assert counts.of(("room", "alice")) == 2
    assert counts.of(("room", "zoe")) == counts.of(("nowhere", "alice")) == 0
    assert sorted(counts) == [("lobby", "alice"), ("room", "alice"), ("room", "bob")]
    counts.clear()
    assert list(counts) == []


def test_nothing_takes_no_memory() -> None:
    counts = Counts()
    for number in range(10):
        counts.set((f"room{number}", "alice"), 1)
        counts.set((f"room{number}", "alice"), 0)
        counts.set((f"room{number}", "bob"), 0)
    assert counts._channels == {}


def test_counts_are_grouped_by_channel() -> None:
    counts = {("room", "alice"): 2, ("lobby", "alice"): 1, ("room", "bob"): 0}
    assert by_channel(counts) == {"room": {"alice": 2, "bob": 0}, "lobby": {"alice": 1}}
