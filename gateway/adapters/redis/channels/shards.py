"""The broker over several Redis that know nothing of each other."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache

from gateway.adapters.redis.channels.broker import RedisBroker, Runner
from gateway.adapters.redis.channels.parts import PartedBroker
from gateway.ports.broker import Concerns, Listener

_REMEMBERED_MAX = 100_000


def shard_of(channel: str, count: int) -> int:
    """Which of so many shards has the channel: the one whose number and its name hash highest.

    All replicas have to agree, so this never changes. One more shard at the end takes its part
    from each of the others, and nothing else moves.
    """

    def score(index: int) -> bytes:
        return hashlib.blake2b(f"{index}:{channel}".encode(), digest_size=8).digest()

    return max(range(count), key=score)


class ShardedBroker(PartedBroker):
    """The first shard is the center, and also has what does not belong to a broker."""

    def __init__(
        self,
        count: int,
        make_part: Callable[[int, Concerns], RedisBroker],
        runners: Sequence[Runner] = (),
    ) -> None:
        self._place = lru_cache(_REMEMBERED_MAX)(lambda channel: shard_of(channel, count))
        self._parts = [make_part(index, _OnShard(self._place, index)) for index in range(count)]
        self._runners = runners

    @property
    def parts(self) -> Sequence[RedisBroker]:
        return self._parts

    @property
    def center(self) -> RedisBroker:
        return self._parts[0]

    def part_of(self, channel: str) -> RedisBroker:
        return self._parts[self._place(channel)]

    async def subscribe(self, channel: str) -> None:
        await self.part_of(channel).subscribe(channel)

    def unsubscribe(self, channel: str) -> None:
        self.part_of(channel).unsubscribe(channel)

    async def run(self, listener: Listener) -> None:
        async with asyncio.TaskGroup() as tasks:
            for part in self._parts:
                tasks.create_task(part.run(listener), name="shard")
            for runner in self._runners:
                tasks.create_task(runner(), name="shards")


class _OnShard:
    """Whether a channel is on one shard; there is one of these for each."""

    def __init__(self, place: Callable[[str], int], index: int) -> None:
        self._place = place
        self._index = index

    def __call__(self, channel: str) -> bool:
        return self._place(channel) == self._index
