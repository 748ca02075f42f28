"""How many newcomers come in at once, and when the others are told to come back."""

import heapq

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.pacing import Pace
from tests.unit.core.clock import Clock


def test_one_seconds_worth_comes_in_at_once_and_then_as_many_per_second() -> None:
    clock = Clock()
    pace = Pace(100, 100, clock=clock)
    assert sum(not pace.wait_seconds() for _ in range(500)) == 100
    for _ in range(5):
        clock.now += 0.25
        assert sum(not pace.wait_seconds() for _ in range(500)) == 25
    clock.now += 3600
    assert sum(not pace.wait_seconds() for _ in range(500)) == 100


def test_a_burst_may_be_more_than_a_second_brings_back() -> None:
    clock = Clock()
    pace = Pace(10, 300, clock=clock)
    assert sum(not pace.wait_seconds() for _ in range(500)) == 300
    clock.now += 2
    assert sum(not pace.wait_seconds() for _ in range(500)) == 20
    clock.now += 3600
    assert sum(not pace.wait_seconds() for _ in range(500)) == 300


def test_no_limit_is_no_limit() -> None:
    pace = Pace(0, 1, clock=Clock())
    assert not any(pace.wait_seconds() for _ in range(10_000))


def test_the_rate_can_be_changed() -> None:
    pace = Pace(1, 1, clock=Clock())
    pace.change(50, 50)
    assert sum(not pace.wait_seconds() for _ in range(500)) == 50
    pace.change(50, 50)
    assert pace.wait_seconds()
    pace.change(0, 1)
    assert not pace.wait_seconds()


def test_the_wait_grows_with_the_number_that_is_over_the_rate() -> None:
    pace = Pace(100, 100, clock=Clock())
    waits = [wait for _ in range(1100) if (wait := pace.wait_seconds())]
    assert len(waits) == 1000
    assert min(waits[:10]) >= 0.5
    assert max(waits[:10]) < 1
    # The last of a thousand finds nine hundred and some in front of it, at 100 a second.
    assert min(waits[-10:]) >= 10
    assert max(waits[-10:]) < 14


def test_the_wait_has_an_end() -> None:
    pace = Pace(1, 1, clock=Clock())
    waits = [pace.wait_seconds() for _ in range(10_000)]
    assert max(waits) <= 30
    assert len(set(waits[-100:])) > 50


def test_the_backlog_is_forgotten_when_nobody_comes_any_more() -> None:
    clock = Clock()
    pace = Pace(10, 10, clock=clock)
    for _ in range(200):
        pace.wait_seconds()
    clock.now += 3600
    for _ in range(10):
        assert not pace.wait_seconds()
    assert pace.wait_seconds() < 1


@given(count=st.integers(1, 600), rate=st.integers(20, 200), seed=st.randoms())
def test_a_herd_that_does_as_it_is_told_is_in_after_a_time_that_its_size_explains(
    count: int, rate: int, seed: object
) -> None:
    clock = Clock()
    pace = Pace(rate, rate, clock=clock)
    start = clock.now
    coming = [(start, n) for n in range(count)]
    attempts = 0
    while coming:
        when, who = heapq.heappop(coming)
        clock.now = when
        attempts += 1
        if wait := pace.wait_seconds():
            heapq.heappush(coming, (when + wait, who))
    assert clock.now - start <= 1.25 * (0.5 + count / rate) + 2
    assert attempts <= 3 * count


@pytest.mark.parametrize("rate", [1, 50, 1000])
def test_whoever_hammers_gets_no_more_than_the_rate(rate: int) -> None:
    clock = Clock()
    pace = Pace(rate, rate, clock=clock)
    admitted = 0
    for _ in range(5000):
        clock.now += 0.001
        admitted += not pace.wait_seconds()
    assert admitted <= rate + 5 * rate + 1
