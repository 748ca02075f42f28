"""The broker over Redis: Pub/Sub to send, Streams to remember, one script for both."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeAlias

from redis.asyncio import Redis

from gateway.adapters.redis.channels.history import HistoryReader
from gateway.adapters.redis.channels.publisher import Outcome, Publisher
from gateway.adapters.redis.channels.subscriber import Subscriber
from gateway.adapters.redis.places.forgetting import warn_of_forgetting
from gateway.domain.errors import GatewayError
from gateway.domain.history import History, HistoryQuery
from gateway.domain.messages import Publication, Receipt
from gateway.ports.broker import Broker, BrokerState, Listener

Runner: TypeAlias = Callable[[], Coroutine[Any, Any, None]]


class RedisBroker(Broker):
    """Joins the two directions and the past; see `Publisher`, `Subscriber`, `HistoryReader`."""

    def __init__(
        self,
        redis: Redis,
        publisher: Publisher,
        subscriber: Subscriber,
        reader: HistoryReader,
        runners: Sequence[Runner] = (),
    ) -> None:
        self.redis = redis
        self._runners = runners  # what else has to run meanwhile: who looks where Redis is
        self._publisher = publisher
        self._subscriber = subscriber
        self._reader = reader

    def send(self, publications: Sequence[Publication]) -> "asyncio.Future[list[Outcome]]":
        """`Publisher.send`."""
        return self._publisher.send(publications)

    async def publish(self, publications: Sequence[Publication]) -> list[Receipt | GatewayError]:
        return await self._publisher.publish(publications)

    async def subscribe(self, channel: str) -> None:
        await self._subscriber.subscribe(channel)

    def unsubscribe(self, channel: str) -> None:
        self._subscriber.unsubscribe(channel)

    async def signal(self, data: bytes, near: str = "") -> int:
        return await self._subscriber.signal(data)

    async def history(self, channel: str, query: HistoryQuery) -> History:
        return await self._reader.history(channel, query)

    async def forget(self, channel: str) -> None:
        await self._reader.forget(channel)

    async def run(self, listener: Listener) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._publisher.run(), name="publish")
            tasks.create_task(self._subscriber.run(listener), name="listen")
            tasks.create_task(self._reader.run(), name="history")
            tasks.create_task(warn_of_forgetting(self.redis), name="forgetting")
            for runner in self._runners:
                tasks.create_task(runner(), name="place")

    @property
    def trouble(self) -> str:
        return self._subscriber.trouble

    @property
    def state(self) -> BrokerState:
        subscriber = self._subscriber
        return BrokerState(
            proof_age_seconds=subscriber.proof_age_seconds,
            reconnects=subscriber.reconnect_count,
            foreign_messages=subscriber.foreign_count,
            waiting_messages=self._publisher.waiting_count,
        )

    async def close(self) -> None:
        await self.redis.aclose()
