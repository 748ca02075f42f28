"""What is counted while the gateway works, for whoever measures it: numbers, and no library.

Counting is an addition to an integer that is there anyway. Names and words are given to the
numbers when somebody asks for them: see `gateway.measures`.
"""

import asyncio
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, NoReturn

# From what nobody notices to what everybody does. Each bound costs a line in every answer.
LATENCY_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
LAG_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)

_SAMPLE_SECONDS = 0.1
_WORST_SECONDS = 60.0


class Histogram:
    """How many values were at most each bound; a value costs a search and two additions."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(bounds) + 1)  # the last one is of those above all bounds
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        return sum(self.counts)


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Measure(NamedTuple):
    """One thing that is measured, with its name for programs and its words for people.

    ``values`` has one for each value of the ``label``, or one under "" where there is no label.
    A label only ever has values from a set that is known beforehand: never what a user chose.
    """

    kind: Kind
    name: str
    help: str
    values: Mapping[str, float | Histogram]
    label: str = ""


def counter(name: str, help: str, value: float) -> Measure:
    return Measure(Kind.COUNTER, name, help, {"": value})


def counters(name: str, help: str, label: str, values: Mapping[str, float]) -> Measure:
    return Measure(Kind.COUNTER, name, help, values, label)


def gauge(name: str, help: str, value: float) -> Measure:
    return Measure(Kind.GAUGE, name, help, {"": value})


def gauges(name: str, help: str, label: str, values: Mapping[str, float]) -> Measure:
    return Measure(Kind.GAUGE, name, help, values, label)


def histogram(name: str, help: str, value: Histogram) -> Measure:
    return Measure(Kind.HISTOGRAM, name, help, {"": value})


@dataclass(slots=True)
class HttpCounts:
    """Totals of the HTTP doors since the start of this replica."""

    statuses: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)  # by the code of the error
    seconds: Histogram = field(default_factory=lambda: Histogram(LATENCY_SECONDS))


class LoopLag:
    """How late the event loop comes to what is due: the time by which everything else waits, too.

    ``worst`` is the highest of the last one to two minutes, so that a single bad moment is still
    there when somebody looks the next time.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.seconds = Histogram(LAG_SECONDS)
        self._worst = self._worst_before = 0.0
        self._since = clock()

    @property
    def worst(self) -> float:
        return max(self._worst, self._worst_before)

    def note(self, lag: float) -> None:
        lag = max(lag, 0.0)
        self.seconds.observe(lag)
        now = self._clock()
        if now - self._since >= _WORST_SECONDS:
            self._since, self._worst_before, self._worst = now, self._worst, 0.0
        self._worst = max(self._worst, lag)

    async def run(self) -> NoReturn:
        """Take samples until cancelled."""
        while True:
            due = self._clock() + _SAMPLE_SECONDS
            await asyncio.sleep(_SAMPLE_SECONDS)
            self.note(self._clock() - due)
