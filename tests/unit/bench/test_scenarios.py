"""The scenarios by name; integration/test_bench.py runs them."""

from gateway.bench.attached import ATTACHED_SCENARIOS
from gateway.bench.scenarios import SCENARIOS


def test_a_running_server_is_measured_under_the_same_names() -> None:
    assert ATTACHED_SCENARIOS.keys() < SCENARIOS.keys()


def test_every_scenario_says_what_it_measures() -> None:
    for scenario in (*SCENARIOS.values(), *ATTACHED_SCENARIOS.values()):
        assert scenario.__doc__
