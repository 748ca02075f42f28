"""The two-way index, against examples and against a model that is too simple to be wrong."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.domain.subscriptions import Subscriptions


@pytest.fixture
def index() -> Subscriptions[str, str]:
    return Subscriptions()


def test_the_first_subscriber_of_a_channel_is_told_apart(index: Subscriptions[str, str]) -> None:
    assert index.add("alice", "room", "json") is True
    assert index.add("bob", "room", "json") is False
    assert index.add("carol", "room", "text") is False
    assert index.add("alice", "hall", "json") is True


def test_the_last_subscriber_of_a_channel_is_told_apart(index: Subscriptions[str, str]) -> None:
    index.add("alice", "room", "json")
    index.add("bob", "room", "text")
    assert index.remove("alice", "room") is False
    assert index.remove("bob", "room") is True
    assert index.remove("bob", "room") is False


def test_removing_somebody_who_never_came_changes_nothing(index: Subscriptions[str, str]) -> None:
    index.add("alice", "room", "json")
    assert index.remove("bob", "room") is False
    assert index.remove("alice", "hall") is False
    assert index.audience("room") == {"json": {"alice"}}


def test_subscribing_twice_counts_once(index: Subscriptions[str, str]) -> None:
    index.add("alice", "room", "json")
    assert index.add("alice", "room", "json") is False
    assert index.remove("alice", "room") is True
    assert "room" not in index


def test_one_subscriber_is_in_one_group_of_a_channel(index: Subscriptions[str, str]) -> None:
    index.add("alice", "room", "json")
    with pytest.raises(ValueError, match="another group"):
        index.add("alice", "room", "text")
    assert index.audience("room") == {"json": {"alice"}}


def test_the_audience_is_sorted_into_groups(index: Subscriptions[str, str]) -> None:
    index.add("alice", "room", "json")
    index.add("bob", "room", "text")
    index.add("carol", "room", "json")
    assert index.audience("room") == {"json": {"alice", "carol"}, "text": {"bob"}}
    assert index.audience("nowhere") == {}


def test_the_channels_of_a_subscriber_are_a_copy(index: Subscriptions[str, str]) -> None:
    index.add("alice", "room", "json")
    index.add("alice", "hall", "json")
    for channel in index.channels_of("alice"):
        index.remove("alice", channel)
    assert index.channels_of("alice") == []


def test_the_pairs_are_a_copy(index: Subscriptions[str, str]) -> None:
    for subscriber, channel in (("a", "news"), ("a", "chat"), ("b", "news")):
        index.add(subscriber, channel, "json")
    for subscriber, channel in index.pairs():
        index.remove(subscriber, channel)
    assert index.pairs() == []


def test_nothing_stays_behind_of_channels_that_were_left(index: Subscriptions[str, str]) -> None:
    for number in range(100):
        index.add("alice", f"room{number}", f"group{number}")
        index.remove("alice", f"room{number}")
    assert [*vars(index).values()] == [{}, {}]


subscribers = st.sampled_from(["alice", "bob", "carol"])
channels = st.sampled_from(["room", "hall", "yard"])
groups = st.sampled_from(["json", "text"])


class AgainstAModel(RuleBasedStateMachine):
    """The model is one dictionary; every answer is found by looking through all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.index: Subscriptions[str, str] = Subscriptions()
        self.model: dict[tuple[str, str], str] = {}

    def listeners(self, channel: str) -> list[str]:
        return [who for who, what in self.model if what == channel]

    @rule(subscriber=subscribers, channel=channels, group=groups)
    def add(self, subscriber: str, channel: str, group: str) -> None:
        if self.model.get((subscriber, channel), group) != group:
            with pytest.raises(ValueError):
                self.index.add(subscriber, channel, group)
            return
        first = not self.listeners(channel)
        assert self.index.add(subscriber, channel, group) == first
        self.model[subscriber, channel] = group

    @rule(subscriber=subscribers, channel=channels)
    def remove(self, subscriber: str, channel: str) -> None:
        last = self.listeners(channel) == [subscriber]
        assert self.index.remove(subscriber, channel) == last
        self.model.pop((subscriber, channel), None)

    @invariant()
    def the_views_agree(self) -> None:
        for channel in ("room", "hall", "yard"):
            audience: dict[str, set[str]] = {}
            for (who, what), group in self.model.items():
                if what == channel:
                    audience.setdefault(group, set()).add(who)
            assert self.index.audience(channel) == audience
            assert (channel in self.index) == bool(audience)
        for subscriber in ("alice", "bob", "carol"):
            expected = {what for who, what in self.model if who == subscriber}
            assert set(self.index.channels_of(subscriber)) == expected

    @invariant()
    def the_counts_agree(self) -> None:
        assert self.index.subscriber_count == len({who for who, _ in self.model})
        assert self.index.channel_count == len({what for _, what in self.model})


TestAgainstAModel = AgainstAModel.TestCase
TestAgainstAModel.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
