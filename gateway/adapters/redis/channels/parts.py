"""One broker made of several, each of which has its part of the channels."""

import asyncio
from abc import abstractmethod
from collections.abc import Collection, Sequence

from gateway.adapters.redis.channels.broker import RedisBroker
from gateway.adapters.redis.channels.publisher import Outcome
from gateway.domain.errors import GatewayError, Unavailable
from gateway.domain.history import History, HistoryQuery
from gateway.domain.messages import Publication, Receipt
from gateway.ports.broker import Broker, BrokerState

NOT_CONNECTED = "not connected to Redis yet"  # what a `Subscriber` begins with


class PartedBroker(Broker):
    """Finds the part for each call, and adds nothing on the way of what arrives.

    Each part has its own connections and queues: where one is lost, only its channels wait. The
    ``center`` is the part for what belongs to no channel: a replica without it is not ready.
    """

    @property
    @abstractmethod
    def parts(self) -> Collection[RedisBroker]: ...

    @property
    @abstractmethod
    def center(self) -> RedisBroker:
        """Raises `Unavailable` while nobody is."""

    @abstractmethod
    def part_of(self, channel: str) -> RedisBroker:
        """Raises `Unavailable` while nobody has this channel."""

    async def publish(self, publications: Sequence[Publication]) -> list[Receipt | GatewayError]:
        outcomes: dict[int, Outcome] = {}
        by_part: dict[RedisBroker, list[int]] = {}
        for index, publication in enumerate(publications):
            try:
                by_part.setdefault(self.part_of(publication.channel), []).append(index)
            except Unavailable as error:
                outcomes[index] = error
        # All are sent before the first answer: no part waits for another one.
        answers = [
            (indices, part.send([publications[index] for index in indices]))
            for part, indices in by_part.items()
        ]
        for indices, answer in answers:
            outcomes.update(zip(indices, await answer, strict=True))
        return [outcomes[index] for index in range(len(publications))]

    async def history(self, channel: str, query: HistoryQuery) -> History:
        return await self.part_of(channel).history(channel, query)

    async def forget(self, channel: str) -> None:
        await self.part_of(channel).forget(channel)

    async def signal(self, data: bytes, near: str = "") -> int:
        part = self.part_of(near) if near else self.center
        return await part.signal(data)

    @property
    def trouble(self) -> str:
        """The center's; at the start, until every part has been tried, also the others'."""
        try:
            trouble = self.center.trouble
        except Unavailable as error:
            return error.detail
        waiting = (part.trouble for part in self.parts if part.trouble == NOT_CONNECTED)
        return trouble or next(waiting, "")

    def trouble_of(self, channel: str) -> str:
        try:
            return self.part_of(channel).trouble
        except Unavailable as error:
            return error.detail

    @property
    def troubles(self) -> Sequence[str]:
        found = dict.fromkeys([self.trouble, *(part.trouble for part in self.parts)])
        return [trouble for trouble in found if trouble]

    @property
    def state(self) -> BrokerState:
        states = [part.state for part in self.parts]
        return BrokerState(
            proof_age_seconds=max((state.proof_age_seconds for state in states), default=0.0),
            reconnects=sum(state.reconnects for state in states),
            foreign_messages=sum(state.foreign_messages for state in states),
            waiting_messages=sum(state.waiting_messages for state in states),
        )

    async def close(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for part in self.parts:
                tasks.create_task(part.close())
