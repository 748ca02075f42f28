"""Numbers for measuring: histograms, and how late the event loop is."""

import asyncio
import time

from gateway.core.metrics import Histogram, LoopLag
from tests.unit.core.clock import Clock


def test_a_value_belongs_to_the_first_bound_that_holds_it() -> None:
    histogram = Histogram((1, 2.5, 10))
    for value in (0, 1, 1.1, 2.5, 9, 10.01, 1000):
        histogram.observe(value)
    assert histogram.counts == [2, 2, 1, 2]
    assert histogram.count == 7
    assert histogram.sum == 0 + 1 + 1.1 + 2.5 + 9 + 10.01 + 1000


def test_the_worst_lag_is_remembered_for_a_minute_and_forgotten_after_two() -> None:
    clock = Clock()
    lag = LoopLag(clock)
    lag.note(0.7)
    clock.now += 61
    lag.note(0.1)
    assert lag.worst == 0.7
    clock.now += 58
    lag.note(0.2)
    assert lag.worst == 0.7
    clock.now += 3
    lag.note(0.1)
    assert lag.worst == 0.2


def test_a_timer_that_fires_early_is_no_negative_lag() -> None:
    lag = LoopLag(Clock())
    lag.note(-0.001)
    assert (lag.worst, lag.seconds.sum, lag.seconds.count) == (0, 0, 1)


async def test_a_loop_that_is_held_up_shows() -> None:
    lag = LoopLag()
    sampling = asyncio.create_task(lag.run())
    await asyncio.sleep(0)  # the sampler sleeps now, and is due in a tenth of a second
    until = time.monotonic() + 0.4
    while time.monotonic() < until:
        pass
    for _ in range(100):
        await asyncio.sleep(0.01)
        if lag.seconds.count:
            break  # it has woken up, late
    sampling.cancel()
    assert lag.worst > 0.2
