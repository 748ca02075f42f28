"""What the options choose; the runs themselves are in integration/test_bench.py."""

import pytest

from gateway.bench.run import BadOptions, Options, run


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (Options(sockets=0), "at least 1"),
        (Options(only=["fan-out", "everything"]), "everything is none of fan-out, crowd"),
        (Options(url="ws://127.0.0.1", token="t", only=["crowd"]), "crowd is none of"),
        (Options(url="ws://127.0.0.1"), "--token"),
        (Options(workers=0), "at least 1"),
    ],
)
def test_bad_options_are_refused_before_anything_starts(options: Options, problem: str) -> None:
    with pytest.raises(BadOptions, match=problem):
        run(options)
