"""The options of the benchmark reach it, and its exit code comes back."""

from pathlib import Path

import pytest

from gateway.bench.run import BadOptions, Options
from tests.unit.cli.running import refusal, run


def test_the_options_are_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Options] = []

    def measure(options: Options) -> int:
        given.append(options)
        return 3

    monkeypatch.setattr("gateway.bench.run.run", measure)
    arguments = ["--quick", "--sockets", "7", "--only", "a", "--only", "b", "--json", "f.json"]
    arguments += ["--url", "ws://127.0.0.1:1", "--token", "t", "--i-own-this-server"]
    assert run("bench", *arguments, "--workers", "2").exit_code == 3
    wanted = Options(True, 7, ["a", "b"], Path("f.json"), "ws://127.0.0.1:1", "t", True, 2)
    assert given == [wanted]


def test_options_that_contradict_each_other_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(options: Options) -> int:
        raise BadOptions("no such scenario")

    monkeypatch.setattr("gateway.bench.run.run", refuse)
    assert refusal(run("bench")) == "gateway: no such scenario"
