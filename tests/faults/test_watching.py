"""What is read from samples and journals, and the table that is made of results."""

import pytest

from tests.faults.support.publishers import read_problem, read_result
from tests.faults.support.records import Attempt, Heard, Journal, ListenerLog, Outcome, Place, Visit
from tests.faults.support.results import table
from tests.faults.support.timing import (
    interruption_seconds,
    latency_p99_seconds,
    publishing_recovery_seconds,
    recovery_seconds,
)
from tests.faults.support.watching import Sample, untruthful


def sample(time: float, ready: int, health: int | None = None) -> Sample:
    return Sample(
        time, 0, time + 0.01, ready, "", ready if health is None else health, 0.01, 0.0, 1, 1
    )


def wrong(*samples: Sample) -> list[str]:
    return untruthful(samples, broken_at=10, healed_at=20, detect_seconds=3, recover_seconds=2)


def test_a_gateway_has_its_time_to_find_out() -> None:
    assert wrong(sample(9, 200), sample(12, 200), sample(14, 503), sample(21, 503)) == []
    assert wrong(sample(21, 200), sample(23, 200)) == []


@pytest.mark.parametrize(
    "lie", [sample(9, 503), sample(14, 200), sample(19.9, 200), sample(22.1, 503), sample(23, 0)]
)
def test_what_is_said_later_is_a_lie(lie: Sample) -> None:
    assert len(wrong(lie)) == 1


def test_readiness_and_health_may_contradict_each_other_for_a_moment_only() -> None:
    moment = [sample(11 + n / 5, 200, 503) for n in range(2)]
    assert wrong(*moment) == []
    assert wrong(*moment, sample(11.4, 200, 503)) == ["/readyz 200, /health 503"]
    assert wrong(*moment, sample(11.4, 200), *moment) == []


JOURNAL = Journal(
    [
        Attempt("a", "room", "p", 1.0, 1.1, Outcome.OK, Place("e", 1)),
        Attempt("b", "room", "p", 5.0, 5.1, Outcome.OK, Place("e", 2)),
    ],
    [
        ListenerLog(f"l{n}", "room", visits=[Visit("g", "", 0.0, [
            Heard(1.2, Place("e", 1), "a"), Heard(5.5 + n, Place("e", 2), "b"),
        ])])
        for n in range(2)
    ],
)  # fmt: skip


def test_the_last_listener_ends_the_recovery() -> None:
    assert recovery_seconds(JOURNAL, 4.0) == 2.5
    assert publishing_recovery_seconds(JOURNAL, 4.0) == pytest.approx(1.1)
    assert interruption_seconds(JOURNAL, 2.0) == pytest.approx(5.3)
    assert latency_p99_seconds(JOURNAL) == 1.5


def test_who_hears_nothing_any_more_has_not_recovered() -> None:
    with pytest.raises(AssertionError, match="l0 heard nothing"):
        recovery_seconds(JOURNAL, 5.05)
    with pytest.raises(AssertionError, match="nothing was acknowledged"):
        publishing_recovery_seconds(JOURNAL, 6.0)


def test_only_what_says_so_is_a_no() -> None:
    refused = {"status": 503, "outcome_unknown": False}
    assert read_problem(503, refused)[0] is Outcome.FAIL
    assert read_problem(429, {})[0] is Outcome.FAIL
    assert read_problem(503, {"outcome_unknown": True})[0] is Outcome.UNKNOWN
    assert read_problem(503, {})[0] is Outcome.UNKNOWN
    assert read_problem(500, {})[0] is Outcome.UNKNOWN
    assert read_result({"error": refused})[0] is Outcome.FAIL
    assert read_result({"epoch": "e", "offset": 7}) == (Outcome.OK, Place("e", 7), "")


def test_the_table_shows_the_newest_result_of_each_fault_at_its_full_length() -> None:
    line = {"fault": "F02", "title": "stop", "time": 1, "full": True, "ok": 1, "measured": {}}
    newer = {**line, "time": 2, "ok": 1234, "measured": {"recovered_seconds": 0.5, "cuts": 3}}
    shorter = {**line, "time": 3, "full": False}
    other = {**shorter, "fault": "F01", "title": "kill"}
    _, _, first, second = table([newer, line, shorter, other]).splitlines()
    assert first.startswith("| F01 | kill | 1 | 0 |")
    assert second.startswith("| F02 | stop | 1,234 |")
    assert second.endswith("| recovered (s) 0.5; cuts 3 |")
