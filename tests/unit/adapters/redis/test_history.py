"""Which questions travel together, with a Redis that answers when the test lets it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import pytest

from gateway.adapters.redis.channels import history as module
from gateway.adapters.redis.channels.history import HistoryReader
from gateway.adapters.redis.keys import Keys
from gateway.adapters.redis.places.pipe import NotSent, Pipe
from gateway.domain.errors import Unavailable
from gateway.domain.history import HistoryQuery
from gateway.domain.messages import Position

LAST = HistoryQuery(None, 10)


class FakePipe:
    """Answers a state of its own for every transaction: offsets count the answers."""

    def __init__(self) -> None:
        self.pipelines: list[list[str]] = []  # the stream of each question
        self.let = asyncio.Event()
        self.failure: Exception | None = None
        self.answers = 0
        self.generation = ""

    async def execute(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        self.pipelines.append([command[1] for command in commands if command[0][0] == "X"])
        await self.let.wait()
        if self.failure is not None:
            raise self.failure
        replies: list[Any] = []
        for _ in self.pipelines[-1]:
            self.answers += 1
            replies += [b"OK", b"QUEUED", b"QUEUED", [[b"e", b"%d" % self.answers, b""], []]]
        return replies

    def close(self) -> None:
        pass


@pytest.fixture
def pipe() -> FakePipe:
    return FakePipe()


@pytest.fixture
async def reader(pipe: FakePipe) -> AsyncIterator[HistoryReader]:
    reader = HistoryReader(cast(Pipe, pipe), Keys("gw"), data_bytes_max=1000)
    task = asyncio.create_task(reader.run())
    yield reader
    task.cancel()
    await asyncio.wait([task])


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_asks_what_is_waiting_shares_the_answer_and_what_is_under_way_is_not_shared(
    reader: HistoryReader, pipe: FakePipe
) -> None:
    first = asyncio.create_task(reader.history("room", LAST))
    await settle()
    later = [asyncio.create_task(reader.history("room", LAST)) for _ in range(100)]
    await settle()
    assert len(pipe.pipelines) == 1
    pipe.let.set()

    assert (await first).top == Position("e", 1)
    assert {(await task).top for task in later} == {Position("e", 2)}
    assert [len(questions) for questions in pipe.pipelines] == [1, 1]


async def test_a_pipeline_asks_for_about_a_thousand_messages(
    reader: HistoryReader, pipe: FakePipe
) -> None:
    asking = [
        asyncio.create_task(reader.history(f"room{n}", HistoryQuery(None, 300))) for n in range(10)
    ]
    pipe.let.set()
    await asyncio.gather(*asking)
    assert [len(questions) for questions in pipe.pipelines] == [4, 4, 2]


async def test_a_position_of_another_epoch_is_asked_for_once_more(
    reader: HistoryReader, pipe: FakePipe
) -> None:
    pipe.let.set()
    answer = await reader.history("room", HistoryQuery(Position("old", 3), 10))
    assert (answer.is_complete, len(pipe.pipelines)) == (False, 2)


async def test_when_too_many_questions_wait_further_ones_are_refused(
    reader: HistoryReader, pipe: FakePipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_QUESTIONS_MAX", 2)
    asking = [asyncio.create_task(reader.history(f"room{n}", LAST)) for n in range(1)]
    await settle()  # under way
    asking += [asyncio.create_task(reader.history(f"room{n}", LAST)) for n in range(2)]
    await settle()
    with pytest.raises(Unavailable, match="too many"):
        await reader.history("one-more", LAST)
    asking.append(asyncio.create_task(reader.history("room1", LAST)))  # it waits already
    pipe.let.set()
    assert len(await asyncio.gather(*asking)) == 4


async def test_a_pipeline_without_answers_fails_for_those_in_it_only(
    reader: HistoryReader, pipe: FakePipe
) -> None:
    pipe.failure = NotSent("Redis cannot be reached")
    pipe.let.set()
    with pytest.raises(Unavailable, match="cannot be reached") as refusal:
        await reader.history("room", LAST)
    assert not refusal.value.outcome_unknown
    pipe.failure = None
    assert (await reader.history("room", LAST)).top.offset == 1


async def test_everybody_may_go_away(reader: HistoryReader, pipe: FakePipe) -> None:
    asking = [asyncio.create_task(reader.history("room", LAST)) for _ in range(3)]
    await settle()
    for task in asking:
        task.cancel()
    await asyncio.wait(asking)
    pipe.let.set()
    assert (await reader.history("room", LAST)).top.offset == 2
