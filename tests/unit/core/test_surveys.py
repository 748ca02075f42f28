"""Asking every replica."""

import asyncio
from typing import Any

import pytest

from gateway.adapters.memory.broker import MemoryBroker
from gateway.core.signals import Signals
from gateway.core.surveys import Surveys
from gateway.core.tasks import Tasks
from gateway.domain.errors import Unavailable
from tests.support.brokers import RETENTION


class Crowd(MemoryBroker):
    """Several replicas in one process; those that are deaf are counted, but hear nothing."""

    def __init__(self, deaf: int = 0) -> None:
        super().__init__(RETENTION.namespaces, idempotency_seconds=1)
        self.replicas: list[Signals] = []
        self.deaf = deaf

    async def signal(self, data: bytes, near: str = "") -> int:
        for replica in self.replicas:
            replica.received(data)
        return len(self.replicas) + self.deaf


class Replica:
    def __init__(self, crowd: Crowd, tasks: Tasks, name: str) -> None:
        signals = Signals(crowd)
        crowd.replicas.append(signals)
        self.surveys = Surveys(signals, tasks, wait_seconds=0.1)
        self.surveys.on("who", self._answer)
        self._name = name

    async def _answer(self, body: dict[str, Any]) -> str:
        if body.get("silent") == self._name:
            raise ValueError("this replica cannot say")
        return self._name


async def test_every_replica_answers_the_one_that_asks_included() -> None:
    async with Tasks() as tasks:
        crowd = Crowd()
        one, _ = Replica(crowd, tasks, "one"), Replica(crowd, tasks, "two")
        survey = await one.surveys.ask("who", {})
        assert sorted(survey.answers) == ["one", "two"]
        assert survey.is_complete


async def test_a_replica_that_does_not_answer_is_missed() -> None:
    async with Tasks() as tasks:
        crowd = Crowd(deaf=1)
        one = Replica(crowd, tasks, "one")
        survey = await one.surveys.ask("who", {})
        assert (survey.answers, survey.is_complete) == (["one"], False)


async def test_a_replica_that_fails_is_missed_and_lives_on() -> None:
    async with Tasks() as tasks:
        crowd = Crowd()
        one, _ = Replica(crowd, tasks, "one"), Replica(crowd, tasks, "two")
        survey = await one.surveys.ask("who", {"silent": "two"})
        assert (survey.answers, survey.is_complete) == (["one"], False)
        assert (await one.surveys.ask("who", {})).is_complete


async def test_what_nobody_hears_has_not_been_asked() -> None:
    async with Tasks() as tasks:
        crowd = Crowd()
        one = Replica(crowd, tasks, "one")
        crowd.replicas.clear()
        with pytest.raises(Unavailable):
            await one.surveys.ask("who", {})


async def test_a_topic_of_a_newer_replica_is_not_answered() -> None:
    async with Tasks() as tasks:
        one = Replica(Crowd(), tasks, "one")
        survey = await one.surveys.ask("something new", {})
        assert (survey.answers, survey.is_complete) == ([], False)


async def test_questions_that_wait_are_limited() -> None:
    async with Tasks() as tasks:
        one = Replica(Crowd(deaf=1), tasks, "one")
        async with asyncio.TaskGroup() as group:
            waiting = [group.create_task(one.surveys.ask("who", {})) for _ in range(1000)]
            await asyncio.sleep(0)
            with pytest.raises(Unavailable):
                await one.surveys.ask("who", {})
        assert not any(task.result().is_complete for task in waiting)


async def test_two_answers_to_one_topic_are_a_mistake() -> None:
    async with Tasks() as tasks:
        one = Replica(Crowd(), tasks, "one")
        with pytest.raises(ValueError, match="who"):
            one.surveys.on("who", one._answer)
