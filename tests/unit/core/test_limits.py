"""The token bucket, on a clock that the tests turn."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import limits
from gateway.core.limits import RateLimit
from gateway.domain.errors import LimitReached


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def refused(limit: RateLimit, name: str, amount: int) -> float:
    """The time to wait that the refusal tells."""
    with pytest.raises(LimitReached) as refusal:
        limit.spend(name, amount)
    return refusal.value.retry_after_seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_two_seconds_worth_may_be_spent_at_once(clock: Clock) -> None:
    limit = RateLimit(10, clock=clock)
    for _ in range(20):
        limit.spend("alice", 1)
    assert refused(limit, "alice", 1) == pytest.approx(0.1)


def test_what_was_spent_comes_back_at_the_rate(clock: Clock) -> None:
    limit = RateLimit(10, clock=clock)
    limit.spend("alice", 20)
    clock.now += 0.5
    limit.spend("alice", 5)
    refused(limit, "alice", 1)


def test_silence_saves_up_no_more_than_two_seconds_worth(clock: Clock) -> None:
    limit = RateLimit(10, clock=clock)
    limit.spend("alice", 20)
    clock.now += 3600
    limit.spend("alice", 20)
    refused(limit, "alice", 1)


def test_a_refusal_costs_nothing(clock: Clock) -> None:
    limit = RateLimit(10, clock=clock)
    limit.spend("alice", 15)
    refused(limit, "alice", 6)
    limit.spend("alice", 5)


def test_an_amount_is_taken_as_a_whole_or_not_at_all(clock: Clock) -> None:
    limit = RateLimit(10, clock=clock)
    limit.spend("alice", 18)
    assert refused(limit, "alice", 3) == pytest.approx(0.1)
    limit.spend("alice", 2)


def test_the_refusal_names_the_rate_and_nobody(clock: Clock) -> None:
    limit = RateLimit(10, clock=clock)
    limit.spend("alice", 20)
    with pytest.raises(LimitReached, match=r"^more than 10 messages per second$"):
        limit.spend("alice", 1)


def test_a_batch_beyond_the_burst_passes_once_and_is_paid_off(clock: Clock) -> None:
    limit = RateLimit(10, clock=clock)
    limit.spend("alice", 50)
    assert refused(limit, "alice", 1) == pytest.approx(3.1)
    clock.now += 3
    refused(limit, "alice", 1)
    clock.now += 0.2
    limit.spend("alice", 1)


def test_a_batch_beyond_the_burst_needs_a_full_bucket(clock: Clock) -> None:
    limit = RateLimit(10, clock=clock)
    limit.spend("alice", 1)
    assert refused(limit, "alice", 50) == pytest.approx(0.1)


def test_one_name_does_not_pay_for_another(clock: Clock) -> None:
    limit = RateLimit(10, clock=clock)
    limit.spend("alice", 20)
    limit.spend("bob", 20)
    refused(limit, "alice", 1)


def test_a_rate_of_zero_sets_no_limit(clock: Clock) -> None:
    limit = RateLimit(0, clock=clock)
    for _ in range(100):
        limit.spend("alice", 1_000_000)


def test_made_up_names_do_not_fill_the_memory(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S29: and whoever keeps spending is not forgotten because of them."""
    monkeypatch.setattr(limits, "_BUCKETS_MAX", 3)
    limit = RateLimit(10, clock=clock)
    for name in ("idle", "alice", "b", "c"):
        limit.spend(name, 20)
        refused(limit, "alice" if name != "idle" else "idle", 1)
    assert set(limit._buckets) == {"alice", "b", "c"}
    limit.spend("idle", 20)


steps = st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 30)), max_size=40)


@given(rate=st.integers(1, 20), steps=steps)
def test_nobody_gets_more_than_the_burst_and_the_rate(
    rate: int, steps: list[tuple[int, int]]
) -> None:
    clock = Clock()
    limit, start, spent = RateLimit(rate, clock=clock), clock.now, 0
    for pause_ms, amount in steps:
        clock.now += pause_ms / 1000
        try:
            limit.spend("alice", min(amount, rate * 2))
        except LimitReached:
            continue
        spent += min(amount, rate * 2)
        assert spent <= rate * 2 + rate * (clock.now - start) + 1e-6


@given(rate=st.integers(1, 20), steps=steps)
def test_waiting_as_long_as_told_is_enough(rate: int, steps: list[tuple[int, int]]) -> None:
    clock = Clock()
    limit = RateLimit(rate, clock=clock)
    for pause_ms, amount in steps:
        clock.now += pause_ms / 1000
        try:
            limit.spend("alice", amount)
        except LimitReached as refusal:
            clock.now += refusal.retry_after_seconds + 1e-6  # for the rounding of the clock
            limit.spend("alice", amount)


def test_a_changed_rate_counts_from_then_on(clock: Clock) -> None:
    limit = RateLimit(10, clock=clock)
    limit.spend("alice", 20)
    limit.change(0)
    limit.spend("alice", 1000)
    limit.change(2)
    limit.spend("bob", 4)
    assert refused(limit, "bob", 1) == pytest.approx(0.5)
