"""A gateway in miniature that archives, and everything in it that can fail."""

from collections.abc import Collection, Sequence

from gateway.adapters.memory.archive import MemoryArchive
from gateway.adapters.memory.broker import MemoryBroker
from gateway.adapters.memory.news import MemoryNews
from gateway.core.archive import Archiver
from gateway.core.past import Past
from gateway.domain.archive import Entry, Place, Stretch
from gateway.domain.errors import Unavailable
from gateway.domain.history import History, HistoryQuery
from gateway.domain.messages import BEGINNING, Message, Position, Publication, Receipt
from gateway.domain.namespaces import Namespace, Namespaces

KEPT = 5
POSITION_SECONDS = 1000


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class FlakyArchive(MemoryArchive):
    """Away while ``is_away``; takes no message whose data is among ``poison``."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = False
        self.poison: set[bytes] = set()
        self.batches: list[list[int]] = []
        self.reads = 0

    async def places(self, channels: Collection[str]) -> dict[str, Place]:
        self._check()
        return await super().places(channels)

    async def append(self, stretches: Sequence[Stretch]) -> list[Entry | None]:
        self._check()
        if self.poison & {message.data for each in stretches for message in each.messages}:
            raise Unavailable("got a packet bigger than it takes")
        self.batches.append([len(each.messages) for each in stretches])
        return await super().append(stretches)

    async def after(self, channel: str, position: Position, limit: int) -> list[Message] | None:
        self._check()
        self.reads += 1
        return await super().after(channel, position, limit)

    async def before(
        self, channel: str, position: Position | None, limit: int
    ) -> list[Message] | None:
        self._check()
        self.reads += 1
        return await super().before(channel, position, limit)

    def _check(self) -> None:
        if self.is_away:
            raise Unavailable("the database did not answer")


class OneOfMany(MemoryNews):
    """A lead that another replica may have."""

    def __init__(self) -> None:
        super().__init__()
        self.is_free = True
        self.asked = 0
        self.resigned = 0

    async def lead(self) -> bool:
        self.asked += 1
        return self.is_free

    async def resign(self) -> None:
        self.resigned += 1


class Library:
    """Publishes, archives and reads."""

    def __init__(self, batch_messages: int = 100, archive_days: int = 0) -> None:
        self.clock = Clock()
        self.namespaces = Namespaces(
            Namespace(history_length=KEPT, archive=True, archive_days=archive_days),
            {"plain": Namespace(history_length=KEPT)},
        )
        self.news = OneOfMany()
        self.broker = self.make_broker()
        self.archive = FlakyArchive()
        self.archiver = self.make_archiver(batch_messages)
        self.past = Past(self.broker, self.archive, self.namespaces)
        self._published = 0

    def make_broker(self) -> MemoryBroker:
        return MemoryBroker(
            self.namespaces,
            idempotency_seconds=60,
            position_seconds=POSITION_SECONDS,
            news=self.news,
            clock=self.clock,
        )

    def make_archiver(self, batch_messages: int = 100) -> Archiver:
        return Archiver(
            self.broker,
            self.news,
            self.archive,
            self.namespaces,
            batch_messages=batch_messages,
            interval_seconds=0.01,
            lease_seconds=10,
            position_seconds=POSITION_SECONDS,
            clock=self.clock,
        )

    async def publish(self, channel: str, count: int = 1, data: bytes = b"1") -> list[Position]:
        positions = []
        for _ in range(count):
            self._published += 1
            id = f"id{self._published}"
            draft = Publication(channel, data, id, "alice", self.clock.now)
            (outcome,) = await self.broker.publish([draft])
            assert isinstance(outcome, Receipt)
            positions.append(outcome.position)
        return positions

    async def archived(self, channel: str) -> list[Position]:
        found = await MemoryArchive.after(self.archive, channel, BEGINNING, 10_000)
        return [message.position for message in found or ()]

    async def read(
        self, channel: str, since: Position | None, limit: int, is_reverse: bool = False
    ) -> tuple[list[Position], bool]:
        answer = await self.ask(channel, since, limit, is_reverse)
        return [message.position for message in answer.messages], answer.is_complete

    async def ask(
        self, channel: str, since: Position | None, limit: int, is_reverse: bool = False
    ) -> History:
        return await self.past.history(channel, HistoryQuery(since, limit, is_reverse))

    async def marked(self) -> set[str]:
        return {mark.channel for mark in (await self.news.marks())[0]}
