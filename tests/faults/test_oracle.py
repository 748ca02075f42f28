"""The oracle believes good journals, and notices whatever is changed in one."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.faults.support.oracle import Verdict, judge
from tests.faults.support.records import (
    Attempt,
    Heard,
    Journal,
    ListenerLog,
    Outcome,
    Place,
    Told,
    Visit,
)


class World:
    """What a gateway that keeps its promises would do, a step at a time."""

    def __init__(self, listeners: list[bool]) -> None:
        self.now = 0.0
        self.journal = Journal()
        self.epoch, self.epochs = "e1", 1
        self.offset = 0
        self.kept: list[tuple[Place, str]] = []
        self.logs = [ListenerLog(f"l{n}", "room", resumes) for n, resumes in enumerate(listeners)]
        self.journal.listeners += self.logs
        self.lasts: dict[str, Place | None] = {log.name: None for log in self.logs}
        self.count = 0

    def tick(self) -> float:
        self.now += 1
        return self.now

    def publish(self, outcome: Outcome, is_stored: bool) -> None:
        self.count += 1
        id, began = f"m{self.count}", self.tick()
        place = None
        if outcome is Outcome.OK or (outcome is Outcome.UNKNOWN and is_stored):
            self.offset += 1
            place = Place(self.epoch, self.offset)
            self.kept.append((place, id))
            for log in self.logs:
                if log.visits and log.visits[-1].is_open:
                    self.tell(log, place, id)
        known = place if outcome is Outcome.OK else None
        self.journal.attempts.append(Attempt(id, "room", "p", began, self.tick(), outcome, known))

    def tell(self, log: ListenerLog, place: Place, id: str) -> None:
        last, events = self.lasts[log.name], log.visits[-1].events
        if last is not None and last.epoch not in ("", place.epoch):
            self.announce(log, last, place)
        events.append(Heard(self.tick(), place, id))
        self.lasts[log.name] = place

    def announce(self, log: ListenerLog, last: Place, next: Place) -> None:
        fields: dict[str, Any] = {"since": str(last), "next": str(next), "reason": "x"}
        log.visits[-1].events.append(Told(self.tick(), "gap", fields))
        self.lasts[log.name] = Place(next.epoch, next.offset - 1)

    def come(self, log: ListenerLog) -> None:
        if log.visits and log.visits[-1].is_open:
            return
        last = self.lasts[log.name]
        if not log.resumes:
            log.visits.append(Visit("g", "", self.tick()))
            self.lasts[log.name] = None
            return
        since = last or Place("", 0)
        log.visits.append(Visit("g", str(since), self.tick()))
        missed = [
            (place, id)
            for place, id in self.kept
            if place.epoch != since.epoch or place.offset > since.offset
        ]
        next = missed[0][0] if missed else Place(self.epoch, self.offset + 1)
        if next.offset != since.offset + 1 or since.epoch not in ("", next.epoch):
            self.announce(log, since, next)
        for place, id in missed:
            self.tell(log, place, id)
        last = self.lasts[log.name] or since
        fields = {"epoch": last.epoch, "offset": last.offset}
        log.visits[-1].events.append(Told(self.tick(), "caught_up", fields))
        self.lasts[log.name] = last

    def go(self, log: ListenerLog) -> None:
        if log.visits and log.visits[-1].is_open:
            log.visits[-1].closed = self.tick()

    def drop(self, log: ListenerLog, count: int) -> None:
        """A slow consumer loses so many, is told of it, and gets the next one."""
        if not (log.visits and log.visits[-1].is_open):
            return
        events, last = log.visits[-1].events, self.lasts[log.name]
        if last is not None and last.epoch not in ("", self.epoch):
            return
        before = len(events)
        for _ in range(count):
            self.publish(Outcome.OK, True)
        events[before:] = [Told(self.tick(), "gap", {"dropped": count, "reason": "slow_consumer"})]
        self.publish(Outcome.OK, True)

    def lose(self, kept: int) -> None:
        """Redis starts anew, or its history has grown too old."""
        if kept:
            self.kept = self.kept[-kept:]
            return
        self.kept = []
        self.epochs += 1
        self.epoch, self.offset = f"e{self.epochs}", 0


steps = st.one_of(
    st.tuples(st.just("publish"), st.sampled_from(Outcome), st.booleans()),
    st.tuples(st.just("publish"), st.just(Outcome.OK), st.just(True)),
    st.tuples(st.just("publish"), st.just(Outcome.OK), st.just(True)),
    st.tuples(st.just("come"), st.integers(0, 2)),
    st.tuples(st.just("go"), st.integers(0, 2)),
    st.tuples(st.just("drop"), st.integers(0, 2), st.integers(1, 3)),
    st.tuples(st.just("lose"), st.integers(0, 3)),
)


@st.composite
def journals(draw: st.DrawFn) -> Journal:
    world = World(draw(st.lists(st.booleans(), min_size=3, max_size=3)))
    for log in world.logs:
        world.come(log)
    for step in draw(st.lists(steps, min_size=5, max_size=40)):
        match step:
            case ("publish", outcome, is_stored):
                world.publish(outcome, is_stored)
            case ("come", index):
                world.come(world.logs[index])
            case ("go", index):
                world.go(world.logs[index])
            case ("drop", index, count):
                world.drop(world.logs[index], count)
            case ("lose", kept):
                world.lose(kept)
    # Whoever is open in the end has caught up, as the tests wait for it.
    for log in world.logs:
        world.come(log)
    world.publish(Outcome.OK, True)
    return world.journal


@settings(max_examples=200, deadline=None)
@given(journals())
def test_a_good_journal_is_clean(journal: Journal) -> None:
    verdict = judge(journal)
    verdict.require_clean()
    assert verdict.sent_ok >= 1
    assert verdict.lost == verdict.duplicates == 0


def spots(journal: Journal, kind: type = Heard) -> list[tuple[Visit, int]]:
    return [
        (visit, index)
        for log in journal.listeners
        for visit in log.visits
        for index, event in enumerate(visit.events)
        if isinstance(event, kind)
    ]


def heard_at(visit: Visit, index: int) -> Heard:
    event = visit.events[index]
    assert isinstance(event, Heard)
    return event


def found(journal: Journal, *kinds: str) -> Verdict:
    verdict = judge(journal)
    assert set(kinds) & set(verdict.violations), (kinds, verdict.violations)
    with pytest.raises(AssertionError):
        verdict.require_clean()
    return verdict


MUTATIONS = settings(max_examples=80, deadline=None)


@MUTATIONS
@given(journals(), st.data())
def test_a_dropped_delivery_is_noticed(journal: Journal, data: st.DataObject) -> None:
    acknowledged = {a.id for a in journal.attempts if a.outcome is Outcome.OK}
    places = []
    for visit, index in spots(journal):
        # The first of who said nothing of where it was may have been published before it came,
        # and the last before it went may have been on its way.
        is_first = not visit.asked and not any(isinstance(e, Heard) for e in visit.events[:index])
        is_last = not visit.is_open and not visit.events[index + 1 :]
        if heard_at(visit, index).id in acknowledged and not is_first and not is_last:
            places.append((visit, index))
    assume(places)
    visit, index = data.draw(st.sampled_from(places))
    del visit.events[index]
    found(journal, "lost", "hole")


@MUTATIONS
@given(journals(), st.data())
def test_a_delivery_that_came_twice_is_noticed(journal: Journal, data: st.DataObject) -> None:
    visit, index = data.draw(st.sampled_from(spots(journal)))
    later = data.draw(st.integers(index + 1, len(visit.events)))
    visit.events.insert(later, visit.events[index])
    found(journal, "twice")


@MUTATIONS
@given(journals(), st.data())
def test_two_that_changed_places_are_noticed(journal: Journal, data: st.DataObject) -> None:
    pairs = [
        (visit, index)
        for visit, index in spots(journal)
        if index + 1 < len(visit.events)
        and isinstance(next := visit.events[index + 1], Heard)
        and next.place.epoch == heard_at(visit, index).place.epoch
    ]
    assume(pairs)
    visit, index = data.draw(st.sampled_from(pairs))
    visit.events[index : index + 2] = reversed(visit.events[index : index + 2])
    found(journal, "disorder")


@MUTATIONS
@given(journals(), st.data())
def test_an_invented_message_is_noticed(journal: Journal, data: st.DataObject) -> None:
    visit, index = data.draw(st.sampled_from(spots(journal)))
    visit.events[index] = heard_at(visit, index)._replace(id="never said")
    found(journal, "invented")


@MUTATIONS
@given(journals(), st.data())
def test_what_was_refused_must_not_arrive(journal: Journal, data: st.DataObject) -> None:
    heard = {heard_at(visit, index).id for visit, index in spots(journal)}
    indices = [n for n, attempt in enumerate(journal.attempts) if attempt.id in heard]
    index = data.draw(st.sampled_from(indices))
    refused = journal.attempts[index]._replace(outcome=Outcome.FAIL, place=None)
    journal.attempts[index] = refused
    found(journal, "refused")


@MUTATIONS
@given(journals(), st.data())
def test_a_gap_that_nobody_announced_is_noticed(journal: Journal, data: st.DataObject) -> None:
    places = [
        (visit, index)
        for visit, index in spots(journal, Told)
        if isinstance(told := visit.events[index], Told) and told.type == "gap"
        # A gap in front of nothing, told to who then left, is nobody's loss.
        if any(isinstance(event, Heard) for event in visit.events[index:])
    ]
    assume(places)
    visit, index = data.draw(st.sampled_from(places))
    del visit.events[index]
    found(journal, "hole", "lost", "disorder")


@MUTATIONS
@given(journals(), st.data())
def test_different_messages_at_one_place_are_noticed(journal: Journal, data: st.DataObject) -> None:
    visit, index = data.draw(st.sampled_from(spots(journal)))
    heard = heard_at(visit, index)
    others = [a.id for a in journal.attempts if a.place is not None and a.id != heard.id]
    at_place = [a for a in journal.attempts if a.place == heard.place]
    assume(others and at_place)
    visit.events[index] = heard._replace(id=data.draw(st.sampled_from(others)))
    found(journal, "disagreement")


@MUTATIONS
@given(journals(), st.data())
def test_who_may_not_listen_must_hear_nothing(journal: Journal, data: st.DataObject) -> None:
    logs = [log for log in journal.listeners if any(visit.heard() for visit in log.visits)]
    data.draw(st.sampled_from(logs)).may_listen = False
    found(journal, "leak")


# Single cases that the world above never comes to.


def attempt(id: str, offset: int | None, **changes: Any) -> Attempt:
    place = None if offset is None else Place("e", offset)
    number = float(id.removeprefix("m"))
    made = Attempt(id, "room", "p", number, number + 0.5, Outcome.OK, place)
    return made._replace(**changes)


def visit(*events: Heard | Told, asked: str = "", opened: float = 0.0) -> Visit:
    return Visit("g", asked, opened, list(events))


def heard(id: str, offset: int, epoch: str = "e") -> Heard:
    return Heard(float(offset), Place(epoch, offset), id)


def log(*visits: Visit, resumes: bool = False) -> ListenerLog:
    return ListenerLog("l", "room", resumes, visits=list(visits))


def test_an_unknown_attempt_that_its_repetition_settles_is_owed() -> None:
    unknown = attempt("m1", None, outcome=Outcome.UNKNOWN)
    settled = attempt("m1", 1, began=3.0, ended=4.0)
    assert judge(Journal([unknown, settled], [log(visit(heard("m1", 1)))])).sent_ok == 1
    assert judge(Journal([unknown, settled], [log(visit())])).violations == {"lost": 1}


def test_a_second_copy_of_a_repeated_message_is_noticed() -> None:
    tries = [attempt("m1", None, outcome=Outcome.UNKNOWN), attempt("m1", 2)]
    listener = log(visit(heard("m1", 1), heard("m1", 2)))
    assert judge(Journal(tries, [listener])).violations.keys() == {"copies", "twice"}


def test_a_copy_after_all_was_lost_is_none() -> None:
    tries = [attempt("m1", 1), attempt("m1", 1, began=3.0, place=Place("f", 1))]
    gap = Told(2.0, "gap", {"since": "e:1", "next": "f:1"})
    listener = log(visit(heard("m1", 1), gap, heard("m1", 1, "f")))
    judge(Journal(tries, [listener])).require_clean()


def test_hearing_again_on_a_second_connection_is_noticed_of_who_said_where_it_was() -> None:
    visits = (replace(visit(heard("m1", 1)), closed=2.0), visit(heard("m1", 1)))
    attempts = [attempt("m1", 1)]
    assert judge(Journal(attempts, [log(*visits, resumes=True)])).violations == {"again": 1}
    assert judge(Journal(attempts, [log(*visits)])).violations == {}


def test_a_publisher_is_stored_in_the_order_of_its_answers() -> None:
    attempts = [attempt("m1", 2), attempt("m2", 1)]
    assert judge(Journal(attempts, [])).violations == {"disorder": 1}
    overlapping = [attempt("m1", 2, ended=9.0), attempt("m2", 1)]
    assert judge(Journal(overlapping, [])).violations == {}


def test_what_was_published_before_somebody_came_is_not_owed() -> None:
    journal = Journal([attempt("m1", 1)], [log(visit(opened=1.2))])
    judge(journal).require_clean()


def test_a_gap_that_begins_behind_what_was_heard_is_a_hole() -> None:
    attempts = [attempt(f"m{n}", n) for n in range(1, 6)]
    gap = Told(4.0, "gap", {"since": "e:3", "next": "e:5"})
    listener = log(visit(heard("m1", 1), gap, heard("m5", 5)))
    verdict = judge(Journal(attempts, [listener]))
    assert verdict.violations == {"hole": 1, "lost": 2}
    assert verdict.announced == 1


def test_caught_up_says_how_far_it_came() -> None:
    attempts = [attempt("m1", 1), attempt("m2", 2)]
    lie = Told(3.0, "caught_up", {"epoch": "e", "offset": 2})
    listener = log(visit(heard("m1", 1), lie, asked=":0"), resumes=True)
    assert "hole" in judge(Journal(attempts, [listener])).violations
