"""Percentiles of latencies, over several processes."""

import pytest

from gateway.bench.pace import Latencies


def test_percentiles_are_rounded_up_to_ten_microseconds() -> None:
    latencies = Latencies()
    for milliseconds in range(1, 101):
        latencies.add(milliseconds / 1000)

    assert latencies.percentile(50) == pytest.approx(0.050, abs=2e-5)
    assert latencies.percentile(99) == pytest.approx(0.099, abs=2e-5)
    assert latencies.percentile(100) == latencies.max_seconds == 0.1


def test_counts_of_several_processes_are_added_up() -> None:
    one, other, both = Latencies(), Latencies(), Latencies()
    one.add(0.001)
    other.add(0.003)
    other.add(0.004)

    for part in (one, other):
        both.merge(part.dump(), part.max_seconds)

    assert sum(both.counts) == 3
    assert both.percentile(50) == pytest.approx(0.003, abs=2e-5)
    assert both.max_seconds == 0.004


def test_what_is_very_late_is_still_counted() -> None:
    latencies = Latencies()
    latencies.add(17.0)

    assert (sum(latencies.counts), latencies.max_seconds) == (1, 17.0)
