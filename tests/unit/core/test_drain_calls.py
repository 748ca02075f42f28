"""Asking a replica by its name to drain."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from gateway.core.drain import Drain
from gateway.core.drain_calls import DrainCalls
from gateway.core.roster import Roster
from gateway.core.signals import Signals
from gateway.core.tasks import Tasks
from gateway.domain.errors import Conflict, NotFound, Unavailable
from tests.unit.core.test_signals import LoopBroker


class Replica:
    def __init__(self, name: str, broker: LoopBroker, tasks: Tasks) -> None:
        roster = Roster(None, replica=name, renew_interval_seconds=1)  # type: ignore[arg-type]
        self.drain = Drain(roster, lambda: None, pause_seconds=3, closing_seconds=10)
        signals = Signals(broker)
        broker.signals.append(signals)
        self.calls = DrainCalls(self.drain, signals, tasks, replica=name, wait_seconds=0.2)


@pytest.fixture
async def replicas() -> AsyncIterator[dict[str, Replica]]:
    broker = LoopBroker()
    async with Tasks() as tasks:
        made = {name: Replica(name, broker, tasks) for name in ("one", "two", "three")}
        for replica in made.values():
            replica.drain.attach()
        yield made


def begun(replicas: dict[str, Replica]) -> list[str]:
    return [name for name, replica in replicas.items() if replica.drain.has_begun]


@pytest.mark.parametrize("name", ["", "one"])
async def test_the_replica_that_is_asked_drains_itself(
    replicas: dict[str, Replica], name: str
) -> None:
    assert await replicas["one"].calls.call(name, "root") == ("one", 0, 3, 10)
    assert begun(replicas) == ["one"]


async def test_another_replica_is_told_and_answers(replicas: dict[str, Replica]) -> None:
    assert await replicas["one"].calls.call("three", "root") == ("three", 0, 3, 10)
    assert begun(replicas) == ["three"]


async def test_asking_twice_or_at_the_same_time_is_answered_the_same(
    replicas: dict[str, Replica],
) -> None:
    calls = replicas["one"].calls
    answers = await asyncio.gather(*(calls.call("two", "root") for _ in range(5)))
    assert {answer.replica for answer in answers} == {"two"}
    assert (await calls.call("two", "root")).replica == "two"
    assert begun(replicas) == ["two"]


async def test_a_name_that_nobody_has_is_said(replicas: dict[str, Replica]) -> None:
    with pytest.raises(NotFound, match="no replica of this name"):
        await replicas["one"].calls.call("four", "root")
    assert begun(replicas) == []


@pytest.mark.parametrize("name", ["one", "two"])
async def test_under_a_server_that_cannot_drain_nothing_begins(
    replicas: dict[str, Replica], name: str
) -> None:
    replicas[name].drain.is_attached = False
    with pytest.raises(Conflict, match="cannot drain"):
        await replicas["one"].calls.call(name, "root")
    assert begun(replicas) == []


async def test_who_is_cut_off_from_the_others_says_so(replicas: dict[str, Replica]) -> None:
    async with Tasks() as tasks:
        lonely = Replica("lonely", LoopBroker(), tasks)
        lonely.calls._signals._broker.signals.clear()  # type: ignore[attr-defined]
        with pytest.raises(Unavailable):
            await lonely.calls.call("one", "root")
    assert begun(replicas) == []


async def test_the_log_says_who_asked(
    replicas: dict[str, Replica], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        await replicas["one"].calls.call("two", "root\nx")
    assert "'root\\nx' asks replica 'two' to drain" in caplog.text
    assert "this replica drains, as 'root\\nx' asked" in caplog.text
