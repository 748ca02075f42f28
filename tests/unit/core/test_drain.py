"""Who is closed when, while a replica stops."""

import math
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.drain import TICK_SECONDS, Drain, batch_size, retry_spread_seconds
from gateway.core.roster import Roster
from gateway.domain.errors import GatewayError, Restarting
from gateway.domain.principal import Principal
from tests.unit.core.clock import Clock


class Leaver:
    """A connection that leaves the roster when it is ended, as a socket does."""

    def __init__(self, world: "World", user: str) -> None:
        self.principal = Principal(user, "t", 0, 2_000_000_000)
        self.told: list[GatewayError] = []
        self._world = world

    def end(self, error: GatewayError) -> None:
        self.told.append(error)
        self._world.leave(self)


class World:
    def __init__(
        self, count: int, *, pause: float = 0.0, closing: float = 10.0, returns: int = 1000
    ) -> None:
        self.clock = Clock()
        self.roster = Roster(None, replica="r", renew_interval_seconds=1)  # type: ignore[arg-type]
        self.handed_over = 0
        self.drain = Drain(
            self.roster,
            self._hand_over,
            pause_seconds=pause,
            closing_seconds=closing,
            returns_per_second=returns,
            clock=self.clock,
        )
        self.leavers = [Leaver(self, f"user{n % 7}") for n in range(count)]
        for leaver in self.leavers:
            self.roster.join(leaver)

    def leave(self, leaver: Leaver) -> None:
        self.roster.leave(leaver)

    @property
    def told(self) -> int:
        return sum(len(leaver.told) for leaver in self.leavers)

    def _hand_over(self) -> None:
        assert self.told == 0
        self.handed_over += 1

    def run(self, tick: float = TICK_SECONDS, ticks_max: int = 10_000) -> list[int]:
        """Tick until it is done; how many were told in each tick."""
        told: list[int] = []
        for _ in range(ticks_max):
            before = self.told
            is_done = self.drain.advance()
            told.append(self.told - before)
            if is_done:
                return told
            self.clock.now += tick
        pytest.fail("it never ends")


# The plan.


@given(count=st.integers(0, 3000), seconds=st.floats(0, 30))
def test_everybody_is_told_once_within_the_window_and_in_even_batches(
    count: int, seconds: float
) -> None:
    world = World(min(count, 300), closing=seconds)
    world.drain.begin()
    told = world.run()
    assert Counter(len(leaver.told) for leaver in world.leavers) in (
        Counter(),
        Counter({1: len(world.leavers)}),
    )
    ticks = max(math.floor(seconds / TICK_SECONDS + 1e-6), 1)
    assert len(told) <= ticks
    assert max(told) <= math.ceil(len(world.leavers) / ticks)


@given(left=st.integers(1, 200_000), seconds=st.floats(0.1, 60))
def test_a_batch_never_grows_and_the_last_one_goes_in_time(left: int, seconds: float) -> None:
    batches, remaining = [], left
    ticks = math.floor(seconds / TICK_SECONDS + 1e-6)
    for tick in range(ticks):
        batches.append(batch_size(remaining, (ticks - tick) * TICK_SECONDS))
        remaining -= batches[-1]
    assert remaining == 0
    assert all(later <= earlier for earlier, later in pairwise(batches))


@given(tick=st.floats(0.1, 3), count=st.integers(1, 300))
def test_late_ticks_spread_what_is_left_over_what_time_is_left(tick: float, count: int) -> None:
    world = World(count, closing=10)
    world.drain.begin()
    told = world.run(tick)
    assert sum(told) == count
    assert (len(told) - 1) * tick <= 10 + tick


def test_the_batches_fill_the_window() -> None:
    world = World(300, closing=10)
    world.drain.begin()
    assert world.run() == [3] * 100


def test_a_few_are_gone_long_before_the_end_of_the_window() -> None:
    world = World(3, closing=10)
    world.drain.begin()
    assert world.run() == [1, 1, 1]


def test_who_leaves_by_itself_is_not_told_and_not_waited_for() -> None:
    world = World(100, closing=10)
    world.drain.begin()
    assert not world.drain.advance()
    for leaver in world.leavers:
        if not leaver.told:
            world.leave(leaver)
    assert world.drain.advance()
    assert world.told == 1


def test_those_of_one_user_do_not_go_in_a_row() -> None:
    world = World(140, closing=14)
    order: list[str] = []
    world.drain.begin()
    told: set[Leaver] = set()
    while not world.drain.advance():
        world.clock.now += TICK_SECONDS
        new = {leaver for leaver in world.leavers if leaver.told} - told
        order += [leaver.principal.subject for leaver in new]
        told |= new
    assert sum(one != next for one, next in pairwise(order)) > 60  # 6, if they did


# The three steps.


def test_before_it_begins_nothing_is_due_and_everybody_may_come_in() -> None:
    world = World(3)
    world.clock.now += 1_000_000
    assert not world.drain.advance()
    assert (world.drain.trouble, world.told) == ("", 0)
    world.drain.check()


def test_in_the_pause_only_the_readiness_changes() -> None:
    world = World(3, pause=2)
    world.drain.begin()
    assert world.drain.trouble == "draining"
    for _ in range(19):
        assert not world.drain.advance()
        world.drain.check()
        world.clock.now += TICK_SECONDS
    assert (world.told, world.handed_over, world.drain.is_closing) == (0, 0, False)
    world.clock.now += 2 * TICK_SECONDS
    world.drain.advance()
    assert (world.told, world.handed_over, world.drain.is_closing) == (1, 1, True)


def test_while_sockets_are_closed_nobody_comes_in() -> None:
    world = World(30)
    world.drain.begin()
    world.drain.advance()
    with pytest.raises(Restarting, match="restarts"):
        world.drain.check()


def test_beginning_twice_changes_nothing() -> None:
    world = World(30, pause=2)
    world.drain.begin()
    world.clock.now += 1.5
    world.drain.begin()
    world.clock.now += 0.5
    world.drain.advance()
    assert world.drain.is_closing
    world.drain.begin()
    world.run()
    assert (world.told, world.handed_over) == (30, 1)


def test_without_the_pause_it_closes_at_once() -> None:
    world = World(1, pause=60)
    world.drain.begin(pauses=False)
    assert world.drain.advance()
    assert world.told == 1


def test_without_a_socket_it_is_over_after_the_pause() -> None:
    world = World(0, pause=1)
    world.drain.begin()
    assert not world.drain.advance()
    world.clock.now += 1
    assert world.drain.advance()


# When to come back.


def test_each_client_gets_a_time_of_its_own() -> None:
    world = World(300, closing=1)
    world.drain.begin()
    world.run()
    times = [
        error.retry_after_seconds
        for leaver in world.leavers
        for error in leaver.told
        if isinstance(error, Restarting)
    ]
    assert len(set(times)) > 290
    assert 1 <= min(times) < 1.5
    assert 2.5 < max(times) <= 3


@pytest.mark.parametrize(
    ("count", "window", "rate", "spread"),
    [
        (300, 10, 1000, 2),  # the window is long enough
        (15_000, 10, 1000, 5),
        (15_000, 0, 1000, 15),
        (15_000, 10, 0, 5),  # without a limit one is assumed
        (1_000_000, 10, 1000, 30),  # never longer
    ],
)
def test_the_survivors_are_not_flooded(count: int, window: float, rate: int, spread: float) -> None:
    assert retry_spread_seconds(count, window, rate) == spread


def test_many_in_a_short_window_come_back_over_a_longer_time() -> None:
    world = World(400, closing=0, returns=100)
    world.drain.begin()
    world.run()
    waits = [world.drain.farewell().retry_after_seconds for _ in range(300)]
    assert max(waits) > 4
