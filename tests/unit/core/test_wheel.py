"""The one timer: who is visited, when, and what a visit may do."""

import asyncio
import logging
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.wheel import Timed, Wheel


class Passenger:
    """Notes the seconds of its visits; ``plan`` answers with the next one."""

    def __init__(self, plan: Callable[[int], int] = lambda now: 0) -> None:
        self.due = 0
        self.visits: list[int] = []
        self._plan = plan

    def tick(self, now: int) -> int:
        self.visits.append(now)
        return self._plan(now)


class WheelAt100(Wheel):
    """Made in second 100 of its clock."""

    @staticmethod
    def now() -> int:
        return 100


@pytest.fixture
def wheel() -> Wheel:
    return WheelAt100()


def test_a_passenger_is_visited_in_its_second_and_not_before(wheel: Wheel) -> None:
    passenger = Passenger()
    wheel.schedule(passenger, 103)
    wheel.advance(102)
    assert passenger.visits == []
    wheel.advance(103)
    assert passenger.visits == [103]


def test_a_visit_happens_once(wheel: Wheel) -> None:
    passenger = Passenger()
    wheel.schedule(passenger, 101)
    wheel.advance(110)
    assert len(passenger.visits) == 1
    assert (passenger.due, len(wheel)) == (0, 0)


def test_a_passenger_that_answers_with_a_second_is_visited_again(wheel: Wheel) -> None:
    passenger = Passenger(lambda now: now + 2)
    wheel.schedule(passenger, 101)
    for now in range(101, 108):
        wheel.advance(now)
    assert passenger.visits == [101, 103, 105, 107]


def test_a_late_wheel_skips_nobody_and_tells_the_real_time(wheel: Wheel) -> None:
    passengers = [Passenger() for _ in range(5)]
    for second, passenger in enumerate(passengers, start=101):
        wheel.schedule(passenger, second)
    wheel.advance(200)
    assert [passenger.visits for passenger in passengers] == [[200]] * 5


@pytest.mark.parametrize("second", [1, 99, 100])
def test_what_is_due_in_the_past_is_due_next(wheel: Wheel, second: int) -> None:
    passenger = Passenger()
    wheel.schedule(passenger, second)
    wheel.advance(101)
    assert passenger.visits == [101]


def test_scheduling_anew_replaces_the_earlier_second(wheel: Wheel) -> None:
    passenger = Passenger()
    wheel.schedule(passenger, 101)
    wheel.schedule(passenger, 105)
    assert len(wheel) == 1
    wheel.advance(104)
    assert passenger.visits == []
    wheel.advance(105)
    assert passenger.visits == [105]


def test_a_discarded_passenger_is_not_visited(wheel: Wheel) -> None:
    passenger, other = Passenger(), Passenger()
    for each in (passenger, other):
        wheel.schedule(each, 101)
    wheel.discard(passenger)
    wheel.discard(passenger)
    wheel.advance(101)
    assert (passenger.visits, other.visits) == ([], [101])


def test_discarding_leaves_no_empty_second_behind(wheel: Wheel) -> None:
    passenger = Passenger()
    for second in range(101, 200):
        wheel.schedule(passenger, second)
    wheel.discard(passenger)
    assert wheel._slots == {}


def test_a_visit_may_take_another_passenger_off(wheel: Wheel) -> None:
    """Whichever of the two is visited first, the other one has left by then."""
    pair: list[Passenger] = []

    def part(now: int) -> int:
        for passenger in pair:
            wheel.discard(passenger)
        return 0

    pair += [Passenger(part), Passenger(part)]
    for passenger in pair:
        wheel.schedule(passenger, 101)
    wheel.advance(101)
    assert sorted(len(passenger.visits) for passenger in pair) == [0, 1]


def test_a_visit_may_put_another_passenger_into_a_later_second(wheel: Wheel) -> None:
    pair: list[Passenger] = []

    def postpone(now: int) -> int:
        for passenger in pair:
            if not passenger.visits:
                wheel.schedule(passenger, 105)
        return 0

    pair += [Passenger(postpone), Passenger(postpone)]
    for passenger in pair:
        wheel.schedule(passenger, 101)
    wheel.advance(101)
    assert len(wheel) == 1
    wheel.advance(105)
    assert sorted(passenger.visits for passenger in pair) == [[101], [105]]
    assert len(wheel) == 0


def test_a_visit_may_schedule_its_own_passenger(wheel: Wheel) -> None:
    def again(now: int) -> int:
        wheel.schedule(passenger, now + 1)
        return 0

    passenger = Passenger(again)
    wheel.schedule(passenger, 101)
    wheel.advance(103)
    # The first visit comes late, at 103, and asks for 104.
    assert (passenger.visits, passenger.due) == ([103], 104)


def test_a_broken_passenger_does_not_stop_the_others(
    wheel: Wheel, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(now: int) -> int:
        raise RuntimeError("broken")

    passengers = [Passenger(fail) if number == 3 else Passenger() for number in range(7)]
    for passenger in passengers:
        wheel.schedule(passenger, 101)
    with caplog.at_level(logging.ERROR):
        wheel.advance(101)
    assert [len(passenger.visits) for passenger in passengers] == [1] * 7
    assert [record.message for record in caplog.records] == ["a timed visit failed"]
    assert len(wheel) == 0


def test_the_length_is_the_number_of_passengers(wheel: Wheel) -> None:
    for number in range(10):
        wheel.schedule(Passenger(), 101 + number % 3)
    assert len(wheel) == 10
    wheel.advance(101)
    assert len(wheel) == 6


@given(
    seconds=st.lists(st.integers(101, 130), max_size=20),
    steps=st.lists(st.integers(0, 7), max_size=15),
)
def test_everybody_is_visited_at_the_first_turn_that_reaches_the_second(
    seconds: list[int], steps: list[int]
) -> None:
    wheel, now, turns = WheelAt100(), 100, []
    passengers = [Passenger() for _ in seconds]
    for passenger, second in zip(passengers, seconds, strict=True):
        wheel.schedule(passenger, second)
    for step in [*steps, 30]:
        now += step
        turns.append(now)
        wheel.advance(now)
    for passenger, second in zip(passengers, seconds, strict=True):
        assert passenger.visits == [next(turn for turn in turns if turn >= second)]


async def test_the_running_wheel_visits_by_the_monotonic_clock() -> None:
    visited = asyncio.Event()

    class Waiting:
        due = 0

        def tick(self, now: int) -> int:
            visited.set()
            return 0

    wheel, passenger = Wheel(), Waiting()
    running = asyncio.create_task(wheel.run())
    wheel.schedule(passenger, Wheel.now() + 1)
    second = passenger.due
    await asyncio.wait_for(visited.wait(), 10)
    assert Wheel.now() >= second
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def test_a_passenger_needs_nothing_but_the_two_members() -> None:
    passenger: Timed = Passenger()
    assert passenger.due == 0
