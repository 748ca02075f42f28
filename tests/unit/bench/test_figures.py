"""Ratios, medians, aims, and how they are shown."""

import json

import pytest

from gateway.bench.figures import Figure, Measurement, as_json, as_table, number, rate


def runs(*values: float) -> list[Measurement]:
    return [Measurement(value) for value in values]


def test_a_ratio_is_the_median_of_neighbouring_runs() -> None:
    # The machine was slow in the second pair: both sides were, and the ratio does not notice.
    figure = rate("a", "A", "x/s", runs(90, 45, 80), "loop", runs(100, 50, 100), ratio_min=0.8)

    assert figure.ratio == pytest.approx(0.9)
    assert (figure.value, figure.reference_value) == (80, 100)
    assert figure.is_reached is True


def test_an_aim_is_only_there_with_a_reference() -> None:
    figure = rate("a", "A", "x/s", runs(5), ratio_min=3)

    assert (figure.ratio, figure.ratio_min, figure.is_reached) == (None, None, None)


def test_a_table_shows_units_ratio_and_what_was_missed() -> None:
    table = as_table(
        [
            rate("a", "one", "x/s", runs(1234), "loop", runs(2468), ratio_min=0.8),
            rate("b", "two", "x/s", runs(1000), "loop", runs(1000), ratio_min=0.8),
            Figure("c", "three", 7.25, "KB", value_max=6),
        ]
    ).splitlines()

    assert table[2].split()[:7] == ["one", "1,234", "x/s", "2,468", "loop", "0.50", "x"]
    assert table[2].split()[7:] == ["≥", "0.8", "x", "below"]
    assert table[3].split()[-4:] == ["x", "≥", "0.8", "x"]
    assert table[4].split() == ["three", "7.25", "KB", "≤", "6", "KB", "above"]


def test_json_says_whether_an_aim_was_reached() -> None:
    figures = [Figure("c", "three", 5.0, "KB", value_max=6)]

    value = json.loads(as_json({"cpu": "x"}, figures, ["a note"], ["a failure"], 1.25))

    assert value["machine"] == {"cpu": "x"}
    assert value["figures"][0]["value"] == 5.0
    assert value["figures"][0]["is_reached"] is True
    assert (value["notes"], value["failures"]) == (["a note"], ["a failure"])


@pytest.mark.parametrize(
    ("value", "text"), [(1234567.8, "1,234,568"), (99.94, "99.9"), (5.678, "5.68"), (0, "0.00")]
)
def test_numbers_have_three_digits_that_mean_something(value: float, text: str) -> None:
    assert number(value) == text
