"""The figure that is a time; integration/test_bench.py runs the scenario."""

import pytest

from gateway.bench.figures import Measurement
from gateway.bench.history import herd_figure


def test_a_herd_is_told_as_the_time_of_its_last_socket() -> None:
    resumes = [Measurement(rate) for rate in (500.0, 1000.0, 2000.0)]
    connects = [Measurement(rate) for rate in (1000.0, 4000.0, 6000.0)]

    figure = herd_figure(1000, resumes, connects)

    assert (figure.value, figure.unit) == (1000.0, "ms")
    assert figure.reference_value == 250.0
    # The ratio of times: above 1, resuming takes longer. Of neighbouring runs, as everywhere.
    assert figure.ratio == pytest.approx(3.0)
    assert figure.is_reached is None
