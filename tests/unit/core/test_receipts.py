"""Counting where a message came to, over replicas that answer, or do not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from gateway.adapters.memory.broker import MemoryBroker
from gateway.core.inbound import Inbound
from gateway.core.receipts import Handed, Receipts
from gateway.core.signals import Signals
from gateway.core.tasks import Tasks
from gateway.domain.errors import Unavailable
from gateway.domain.messages import Draft, Position
from tests.unit.core.test_session import Client, make_hub, who


class Crowd(MemoryBroker):
    """Says that more replicas listen than the one that does."""

    replicas = 1
    is_away = False

    async def signal(self, data: bytes, near: str = "") -> int:
        if self.is_away:
            raise Unavailable("away")
        await super().signal(data)
        return self.replicas


class Replica:
    def __init__(self, wait_seconds: float = 5.0) -> None:
        self.broker = Crowd(idempotency_seconds=60)
        self.hub = make_hub(self.broker)
        self.signals, self.tasks = Signals(self.broker), Tasks()
        self.receipts = Receipts(self.hub, self.signals, self.tasks, wait_seconds=wait_seconds)

    async def publish(self) -> Position:
        receipt = await self.hub.publish(who("alice", "publisher"), Draft("room", b"1"))
        return receipt.position

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self.tasks:
            inbound = Inbound(self.hub, self.signals)
            task = asyncio.create_task(self.broker.run(inbound))
            yield
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def test_the_sockets_that_were_written_to_are_counted() -> None:
    replica = Replica()
    async with replica.running():
        for _ in range(3):
            await Client(replica.hub, who()).session.join()
        handed = await replica.receipts.count("room", await replica.publish())
    assert handed == Handed(replicas=1, sockets=3, is_complete=True)


async def test_a_message_that_nobody_hears_comes_to_nobody() -> None:
    replica = Replica()
    async with replica.running():
        handed = await replica.receipts.count("room", await replica.publish())
    assert handed == Handed(0, 0, is_complete=True)


async def test_a_message_that_has_not_come_yet_is_not_counted() -> None:
    replica = Replica()
    async with replica.running():
        await Client(replica.hub, who()).session.join()
        position = await replica.publish()
        later = position._replace(offset=position.offset + 1)
        handed = await replica.receipts.count("room", later)
    assert handed == Handed(0, 0, is_complete=True)


async def test_a_replica_that_does_not_answer_is_not_waited_for_long() -> None:
    replica = Replica(wait_seconds=0.05)
    replica.broker.replicas = 2
    async with replica.running():
        await Client(replica.hub, who()).session.join()
        handed = await replica.receipts.count("room", await replica.publish())
    assert handed == Handed(1, 1, is_complete=False)


async def test_where_nobody_can_be_asked_nothing_is_known() -> None:
    replica = Replica()
    async with replica.running():
        position = await replica.publish()
        replica.broker.is_away = True
        handed = await replica.receipts.count("room", position)
    assert handed == Handed(0, 0, is_complete=False)


@pytest.mark.parametrize("body", [{}, {"number": "unknown", "count": 1}])
async def test_an_answer_that_nobody_waits_for_is_nothing(
    body: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    replica = Replica()
    async with replica.running():
        await replica.signals.send("handed", body)
        assert (await replica.receipts.count("room", await replica.publish())).is_complete
