"""Where a channel stands: against a model of a broker that loses, delays and forgets."""

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.track import Gap, Resumption, Start, Track, follows, is_behind
from gateway.domain.history import History, HistoryQuery, history_of
from gateway.domain.messages import BEGINNING, Message, Position


def message(offset: int, epoch: str = "e") -> Message:
    return Message("room", str(offset).encode(), "id", "alice", 1.0, Position(epoch, offset))


def messages(*offsets: int) -> list[Message]:
    return [message(offset) for offset in offsets]


def offsets_of(given: object) -> list[int]:
    return [m.position.offset for m in given]  # type: ignore[attr-defined]


def at(offset: int, epoch: str = "e") -> Position:
    return Position(epoch, offset)


def kept(track: Track, top: Position, *offsets: int) -> History:
    """What a broker answers that keeps these."""
    query = HistoryQuery(track.ask(), 1000)
    found = [m for m in (message(o, top.epoch) for o in offsets)]
    if query.since is not None and query.is_about(top.epoch):
        found = [m for m in found if m.position.offset > query.since.offset]
    return history_of(query, top, found)


# What arrives.


def test_what_follows_is_delivered_at_once() -> None:
    track = Track(at(3))
    batch = messages(4, 5, 6)
    assert track.take(batch) is batch
    assert (track.last, track.is_parking) == (at(6), False)


def test_the_first_message_of_a_channel_follows_its_beginning() -> None:
    track = Track(BEGINNING)
    assert offsets_of(track.take(messages(1, 2))) == [1, 2]


def test_what_has_been_delivered_is_not_delivered_again() -> None:
    track = Track(at(5))
    assert offsets_of(track.take(messages(4, 5, 6))) == [6]
    assert not track.is_parking


@pytest.mark.parametrize("batch", [[7], [5, 7], [5, 6, 8]])
def test_a_jump_lets_everything_behind_it_wait(batch: list[int]) -> None:
    track = Track(at(4))
    before_jump = [o for o in batch if o == 5 or (o == 6 and 5 in batch)]
    assert offsets_of(track.take(messages(*batch))) == before_jump
    assert track.is_parking
    assert track.take(messages(20)) == ()


def test_another_epoch_is_a_jump() -> None:
    track = Track(at(4))
    assert track.take([message(5, "other")]) == []
    assert track.is_parking


# Repair.


def test_a_gap_is_filled_and_nothing_comes_twice() -> None:
    track = Track(at(4))
    track.take(messages(7, 8))
    ready, gap = track.fill(kept(track, at(8), 4, 5, 6, 7, 8))
    assert (offsets_of(ready), gap) == ([5, 6, 7, 8], None)
    assert (track.last, track.is_parking) == (at(8), False)


def test_what_arrives_while_it_is_read_comes_behind_it() -> None:
    track = Track(at(4))
    track.take(messages(7))
    history = kept(track, at(7), 5, 6, 7)
    track.take(messages(8, 9))
    ready, gap = track.fill(history)
    assert (offsets_of(ready), gap) == ([5, 6, 7, 8, 9], None)


def test_a_second_hole_is_read_as_well() -> None:
    track = Track(at(4))
    track.take(messages(6))
    history = kept(track, at(6), 5, 6)
    track.take(messages(9))
    ready, _ = track.fill(history)
    assert offsets_of(ready) == [5, 6]
    assert track.is_parking
    ready, gap = track.fill(kept(track, at(9), 7, 8, 9))
    assert (offsets_of(ready), gap) == ([7, 8, 9], None)


def test_what_is_not_kept_any_more_is_announced() -> None:
    track = Track(at(4))
    track.take(messages(60))
    ready, gap = track.fill(kept(track, at(60), 58, 59, 60))
    assert offsets_of(ready) == [58, 59, 60]
    assert gap == Gap(at(4), at(58))
    assert gap.reason == "history_lost"


def test_where_nothing_is_kept_it_goes_on_with_what_arrived() -> None:
    track = Track(at(4))
    track.take(messages(7))
    ready, gap = track.fill(kept(track, at(7)))
    assert (offsets_of(ready), gap) == ([7], Gap(at(4), at(7)))


def test_what_nobody_will_ever_hear_of_is_announced_too() -> None:
    """After a reconnect: the top is ahead, nothing is kept, and nothing has arrived."""
    track = Track(at(4))
    ready, gap = track.fill(kept(track, at(9)))
    assert (ready, gap) == ([], Gap(at(4), at(10)))
    assert offsets_of(track.take(messages(10))) == [10]


def test_a_channel_that_missed_nothing_says_nothing() -> None:
    track = Track(at(4))
    assert track.fill(kept(track, at(4), 3, 4)) == ([], None)
    assert not track.is_parking


def test_a_new_epoch_is_announced_and_begins_at_its_beginning() -> None:
    track = Track(at(4))
    track.take([message(2, "new")])
    ready, gap = track.fill(kept(track, at(2, "new"), 1, 2))
    assert offsets_of(ready) == [1, 2]
    assert gap == Gap(at(4), at(1, "new"))
    assert gap.reason == "epoch_changed"


@pytest.mark.parametrize("parked", [[], [12], [8]])
def test_a_broker_that_lost_its_last_writes_is_announced_and_followed(parked: list[int]) -> None:
    """It gives the offsets once more; what had arrived of its life before is not waited for."""
    track = Track(at(10))
    if parked:
        track.take(messages(*parked))
    ready, gap = track.fill(kept(track, at(8), 7, 8))
    assert (offsets_of(ready), gap) == ([], Gap(at(10), at(9)))
    assert offsets_of(track.take(messages(9, 10))) == [9, 10]
    assert not track.is_parking


def test_a_late_message_of_a_lost_epoch_is_let_go() -> None:
    track = Track(at(4))
    track.take(messages(8))
    ready, gap = track.fill(kept(track, at(1, "new"), 1))
    assert (offsets_of(ready), gap) == ([1], Gap(at(4), at(1, "new")))
    assert not track.is_parking


def test_a_lost_state_without_a_new_message_yet() -> None:
    track = Track(at(4))
    track.take(messages(8))
    assert track.fill(kept(track, BEGINNING)) == ([], None)
    assert not track.is_parking
    track.take([message(1, "new")])
    ready, gap = track.fill(kept(track, at(1, "new"), 1))
    assert (offsets_of(ready), gap) == ([1], Gap(at(4), at(1, "new")))


# Resuming.


def resumed(track: Track, start: Start, history: History) -> Resumption | None:
    track.watch()
    try:
        return track.resume(start, history)
    finally:
        track.unwatch()


def everything(top: Position, *offsets: int) -> History:
    return History([message(o, top.epoch) for o in offsets], top, True)


def test_who_comes_back_gets_what_was_missed() -> None:
    found = resumed(Track(at(6)), Start(at(4)), everything(at(6), 3, 4, 5, 6))
    assert found == (messages(5, 6), None, at(6))


def test_who_missed_nothing_gets_nothing() -> None:
    assert resumed(Track(at(6)), Start(at(6)), everything(at(6), 5, 6)) == ([], None, at(6))


def test_who_is_ahead_of_everybody_heard_what_was_lost_again() -> None:
    found = resumed(Track(at(6)), Start(at(9)), everything(at(6), 5, 6))
    assert found == ([], Gap(at(9), at(7)), at(6))


def test_who_missed_too_much_is_told_so() -> None:
    found = resumed(Track(at(6)), Start(at(2)), everything(at(6), 5, 6))
    assert found == (messages(5, 6), Gap(at(2), at(5)), at(6))


def test_who_missed_something_of_which_nothing_is_left_is_told_so() -> None:
    found = resumed(Track(at(6)), Start(at(2)), everything(at(6)))
    assert found == ([], Gap(at(2), at(7)), at(6))


def test_who_comes_from_another_epoch_gets_all_there_is_behind_a_gap() -> None:
    found = resumed(Track(at(2)), Start(at(9, "old")), everything(at(2), 1, 2))
    assert found == (messages(1, 2), Gap(at(9, "old"), at(1)), at(2))


@pytest.mark.parametrize("newest", [1, 2, 9])
def test_the_newest_messages(newest: int) -> None:
    found = resumed(Track(at(3)), Start(None, newest), everything(at(3), 1, 2, 3))
    assert found is not None
    assert offsets_of(found.messages) == [1, 2, 3][-newest:]


def test_what_this_replica_has_not_delivered_yet_comes_live() -> None:
    """Otherwise it would come twice."""
    found = resumed(Track(at(5)), Start(at(4)), everything(at(7), 5, 6, 7))
    assert found == (messages(5), None, at(5))


def test_what_was_delivered_after_the_read_is_not_missed() -> None:
    track = Track(at(5))
    track.watch()
    track.take(messages(6, 7))
    found = track.resume(Start(at(4)), everything(at(5), 4, 5))
    assert found == (messages(5, 6, 7), None, at(7))


def test_an_epoch_that_this_replica_has_not_seen_yet_asks_for_a_repair() -> None:
    assert resumed(Track(at(5)), Start(at(4)), everything(at(1, "new"), 1)) is None


def test_a_read_that_is_too_old_is_repeated() -> None:
    track = Track(at(5))
    track.take(messages(6))  # before the watch: only a newer read has it
    assert resumed(track, Start(at(4)), everything(at(5), 4, 5)) is None


# Against a model.


@dataclass
class World:
    """A broker with its losses, one replica, and what a socket and a newcomer saw."""

    random: random.Random
    keep: int
    stream: list[Message] = field(default_factory=list)
    link: list[Message] = field(default_factory=list)
    top: Position = BEGINNING
    track: Track = field(default_factory=lambda: Track(BEGINNING))
    seen: list[Position | Gap] = field(default_factory=list)

    def publish(self) -> None:
        epoch = self.top.epoch or f"e{self.random.randrange(10**6)}"
        self.top = Position(epoch, self.top.offset + 1)
        said = message(self.top.offset, epoch)
        self.stream = [*self.stream, said][-self.keep :] if self.keep else []
        self.link.append(said)

    def lose_state(self) -> None:
        self.stream, self.top = [], BEGINNING

    def go_back(self) -> None:
        """It comes back as it was a moment ago."""
        offset = max(self.top.offset - self.random.randint(0, 3), min(self.top.offset, 1))
        self.top = Position(self.top.epoch, offset)
        self.stream = [m for m in self.stream if m.position.offset <= offset]

    def drop_link(self) -> None:
        self.link.clear()

    def receive(self) -> None:
        count = self.random.randint(0, len(self.link))
        batch, self.link = self.link[:count], self.link[count:]
        if batch:
            self.deliver(self.track.take(batch))

    def deliver(self, ready: object, gap: Gap | None = None) -> None:
        if gap:
            self.seen.append(gap)
        self.seen += [m.position for m in ready]  # type: ignore[attr-defined]

    def repair(self) -> None:
        for _ in range(20):
            query = HistoryQuery(self.track.ask(), 1000)
            history = self.read(query)
            if self.random.random() < 0.5:
                self.publish()
                self.receive()
            self.deliver(*self.track.fill(history))
            if not self.track.is_parking:
                return
        raise AssertionError("the repair does not end")

    def read(self, query: HistoryQuery) -> History:
        found = self.stream
        if query.since is not None and query.is_about(self.top.epoch):
            found = [m for m in found if not is_behind(m.position, query.since)]
        if query.since is None:
            found = found[::-1][: query.reach]
        return history_of(query, self.top, found)

    def join(self, since: Position) -> Resumption:
        self.track.watch()
        try:
            for _ in range(20):
                if self.track.is_ahead(since):
                    self.repair()
                history = self.read(HistoryQuery(None, 1000))
                for _ in range(self.random.randint(0, 3)):
                    self.publish()
                    self.receive()
                found = self.track.resume(Start(since), history)
                if found is not None:
                    return found
                self.repair()
        finally:
            self.track.unwatch()
        raise AssertionError("nobody can ever join")


def check_no_silent_hole(seen: list[Position | Gap], since: Position) -> None:
    last = since
    for each in seen:
        if isinstance(each, Gap):
            assert each.after == last
            last = Position(each.before.epoch, each.before.offset - 1)
        else:
            assert follows(last, each), (last, each)
            last = each


@given(
    st.integers(0, 2**32),
    st.sampled_from([0, 1, 3, 100]),
    st.lists(st.sampled_from("pppprrdxbfj"), max_size=40),
)
@example(1, 3, list("pprdpprf"))
def test_nobody_ever_sees_a_hole_or_a_message_twice(seed: int, keep: int, steps: list[str]) -> None:
    world = World(random.Random(seed), keep)
    watched: list[tuple[Position, int, Resumption]] = []
    for step in steps:
        if step == "p":
            world.publish()
        elif step == "r":
            world.receive()
        elif step == "d":  # cut off, and connected again
            world.drop_link()
            world.repair()
        elif step == "x":
            world.lose_state()
        elif step == "b":
            world.go_back()
            world.drop_link()
            world.repair()
        elif step == "f" and world.track.is_parking:
            world.repair()
        elif step == "j":
            positions = [p for p in world.seen if isinstance(p, Position)]
            since = world.random.choice([*positions, BEGINNING])
            found = world.join(since)
            watched.append((since, len(world.seen), found))
    while world.link or world.track.is_parking:
        world.receive()
        if world.track.is_parking:
            world.repair()

    check_no_silent_hole(world.seen, BEGINNING)
    for since, begin, (missed, gap, position) in watched:
        first = [gap] if gap else []
        check_no_silent_hole([*first, *(m.position for m in missed)], since)
        check_no_silent_hole(world.seen[begin:], position)


def test_who_joined_before_the_first_message_is_taken_at_the_offset_alone() -> None:
    track = Track(Position("e", 5))
    assert track.adopt(Position("", 3)) == Position("e", 3)
    assert track.adopt(BEGINNING) == BEGINNING
    assert track.adopt(Position("other", 3)) == Position("other", 3)
