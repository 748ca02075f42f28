"""What is remembered, and said, of the times when the system gave no connection."""

import logging

import pytest

from gateway.core.accepting import Accepting
from tests.unit.core.clock import Clock


def test_there_is_trouble_until_the_next_try_would_have_failed() -> None:
    clock = Clock()
    accepting = Accepting(clock)
    assert accepting.trouble == ""
    accepting.failed("too many open files")
    assert accepting.trouble == "no connection can be accepted: too many open files"
    clock.now += 1
    assert accepting.trouble
    clock.now += 1
    assert accepting.trouble == ""
    assert accepting.pauses == 1


def test_it_is_said_at_once_and_not_at_every_try(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    accepting = Accepting(clock)
    with caplog.at_level(logging.WARNING):
        for _ in range(25):
            accepting.failed("too many open files")
            clock.now += 1
    assert len(caplog.records) == 3
    assert "too many open files" in caplog.text
    assert accepting.pauses == 25
