"""What is missing on a machine is told apart from what does not start."""

from pathlib import Path

import pytest

from gateway.bench import servers
from gateway.bench.machine import Cores
from gateway.bench.servers import CannotStart, Lab, Missing

CORES = Cores(frozenset([0]), frozenset([0]))


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(CORES, tmp_path)


def test_without_redis_server_its_scenarios_are_left_out(lab: Lab) -> None:
    lab.redis_program = None

    with pytest.raises(Missing, match="redis-server is not installed"), lab.redis():
        pass


def test_without_a_source_checkout_the_references_are_left_out(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(servers, "REFERENCES", tmp_path)

    with pytest.raises(Missing, match="part of a source checkout"), lab.empty():
        pass


def test_a_compiler_that_fails_is_an_error_with_its_message(lab: Lab) -> None:
    lab.compiler = "false"

    with pytest.raises(CannotStart, match="was not compiled"), lab.send_loop():
        pass
