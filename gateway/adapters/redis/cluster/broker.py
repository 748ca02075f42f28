"""The broker over a Redis Cluster: a part for each master, and channels that move between them."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Sequence

from redis.asyncio import Redis

from gateway.adapters.redis.channels.broker import RedisBroker, Runner
from gateway.adapters.redis.channels.history import HistoryReader
from gateway.adapters.redis.channels.link import Link
from gateway.adapters.redis.channels.parts import PartedBroker
from gateway.adapters.redis.channels.publisher import Publisher
from gateway.adapters.redis.channels.subscriber import Subscriber
from gateway.adapters.redis.cluster.link import ShardedLink
from gateway.adapters.redis.cluster.map import ClusterMap
from gateway.adapters.redis.cluster.slots import Node, slot_of
from gateway.domain.errors import Unavailable
from gateway.ports.broker import Concerns, Listener

_PAUSE_SECONDS = 0.05
_RETIRE_SECONDS = 3.0
_MOVE_SECONDS_MAX = 5.0

logger = logging.getLogger(__name__)


class Astray(Exception):
    """A channel was looked for on a node that does not have it."""


class NodeSubscriber(Subscriber):
    """Listens to one node. A channel that is not there is given up, and its owner is told."""

    lost: Callable[[str], None]

    def _make_link(self) -> Link:
        return ShardedLink(self, time.monotonic, {self._probe, self._signals})

    def unsubscribe(self, channel: str) -> None:
        super().unsubscribe(channel)
        self._topics.give_up(self._keys.topic(channel), Astray)

    def refused(self, topic: str) -> None:
        if self._topics.answered(topic):
            self._lose(topic)

    def dropped(self, topic: str) -> None:
        if self._topics.is_answered(topic):
            self._lose(topic)

    def _lose(self, topic: str) -> None:
        self._topics.ended(topic)
        channel = self._topics.channels.pop(topic, None)
        if channel is not None:
            self._topics.give_up(topic, Astray)
            self.lost(channel)


class ClusterPart(RedisBroker):
    """What belongs to one master, for as long as it is one."""

    def __init__(
        self,
        node: Node,
        concerns: Concerns,
        redis: Redis,
        publisher: Publisher,
        subscriber: NodeSubscriber,
        reader: HistoryReader,
    ) -> None:
        super().__init__(redis, publisher, subscriber, reader)
        self.node = node
        self.concerns = concerns
        self.subscriber = subscriber


class ClusterBroker(PartedBroker):
    """Follows the map: parts come and go with the masters, and channels with their slots.

    A channel that has moved is subscribed at its new node, and then the listener is told that it
    was cut off: what was missed meanwhile is in the channel's history, which moved with it.
    """

    def __init__(
        self,
        map: ClusterMap,
        center_key: str,
        make_part: Callable[[Node, Concerns], ClusterPart],
        runners: Sequence[Runner] = (),
        clients: Sequence[Redis] = (),
    ) -> None:
        """The part that has the slot of ``center_key`` is the center."""
        self.map = map
        self._center_slot = slot_of(center_key)
        self._make_part = make_part
        self._runners = runners
        self._clients = clients
        self._parts: dict[str, ClusterPart] = {}
        self._retired: set[ClusterPart] = set()
        self._homes: dict[str, ClusterPart | None] = {}  # by channel that is wanted
        self._unheard: set[str] = set()  # those that have moved, until they are subscribed
        self._is_astray = self._is_running = False
        self._changed = asyncio.Event()
        map.on_change(self._changed.set)

    @property
    def parts(self) -> Collection[ClusterPart]:
        return self._parts.values()

    @property
    def center(self) -> ClusterPart:
        return self._part_at(self._center_slot)

    def part_of(self, channel: str) -> ClusterPart:
        return self._part_at(slot_of(channel))

    def _part_at(self, slot: int) -> ClusterPart:
        part = self._parts.get(self.map.owner(slot).id)
        if part is None:
            raise Unavailable("this node of the Redis Cluster has just come")
        return part

    def redis_of(self, channel: str) -> Redis:
        """A client of the node that has the channel's keys."""
        return self.part_of(channel).redis

    @property
    def trouble(self) -> str:
        return self.map.trouble or super().trouble

    async def subscribe(self, channel: str) -> None:
        deadline = time.monotonic() + _MOVE_SECONDS_MAX
        while True:
            part = self.part_of(channel)
            self._settle(channel, part)
            try:
                await part.subscriber.subscribe(channel)
                return
            except Astray:
                if time.monotonic() > deadline:
                    raise Unavailable("the channel is between two nodes of the cluster") from None
                self.map.doubt()
                await asyncio.sleep(_PAUSE_SECONDS)

    def unsubscribe(self, channel: str) -> None:
        part = self._homes.pop(channel, None)
        if part is not None:
            part.unsubscribe(channel)

    async def run(self, listener: Listener) -> None:
        self._is_running = True
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.map.run(), name="map")
            tasks.create_task(self._follow(listener, tasks), name="follow")
            for runner in self._runners:
                tasks.create_task(runner(), name="cluster")

    async def signal(self, data: bytes, near: str = "") -> int:
        if self._is_running:
            return await super().signal(data, near)
        # A command that only tells the gateways something.
        await self.map.know()
        part = self._make(self.map.owner(slot_of(near) if near else self._center_slot))
        try:
            return await part.signal(data)
        finally:
            await part.close()

    async def close(self) -> None:
        self.map.close()
        await super().close()
        for part in self._retired:
            await part.close()
        for client in self._clients:
            await client.aclose()

    # Following the map.

    async def _follow(self, listener: Listener, tasks: asyncio.TaskGroup) -> None:
        running: dict[str, asyncio.Task[None]] = {}
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PAUSE_SECONDS if self._unheard else None):
                    await self._changed.wait()
            if self._changed.is_set():
                self._changed.clear()
                self._is_astray = False
                masters = self.map.view.masters
                for id, part in tuple(self._parts.items()):
                    if id not in masters or masters[id][:3] != part.node[:3]:
                        del self._parts[id]
                        tasks.create_task(self._retire(part, running.pop(id), listener))
                for id in masters.keys() - self._parts.keys():
                    part = self._parts[id] = self._make(masters[id])
                    running[id] = tasks.create_task(part.run(listener), name="node")
                self._move()
            self._tell(listener)

    def _make(self, node: Node) -> ClusterPart:
        part = self._make_part(node, _AtNode(self.map, node.id))
        part.subscriber.lost = self._lost
        return part

    def _lost(self, channel: str) -> None:
        if channel in self._homes:
            self._homes[channel] = None
            self.map.doubt()
            if not self._is_astray:
                self._is_astray = True
                # Not at once: until the map is right, the same node would only refuse again.
                asyncio.get_running_loop().call_later(_PAUSE_SECONDS, self._changed.set)

    def _move(self) -> None:
        """Ask the nodes that have them now for the channels that are elsewhere."""
        for channel, home in tuple(self._homes.items()):
            try:
                part = self.part_of(channel)
            except Unavailable:
                continue  # until somebody has it, which changes the map
            if part is not home:
                self._settle(channel, part)
                part.subscriber.want(channel)
                self._unheard.add(channel)

    def _settle(self, channel: str, part: ClusterPart) -> None:
        before = self._homes.get(channel)
        if before is not None and before is not part:
            before.unsubscribe(channel)
        self._homes[channel] = part

    def _tell(self, listener: Listener) -> None:
        """Say of the channels that have moved that they are heard, as soon as they are."""
        heard = set()
        for channel in tuple(self._unheard):
            home = self._homes.get(channel)
            if home is not None and home.subscriber.hears(channel):
                heard.add(channel)
            elif home is not None and home.subscriber.is_open:
                continue
            # Otherwise nobody wants it any more, or it is lost once more; or its node is not
            # connected, and all that was missed there is told when it is.
            self._unheard.discard(channel)
        if heard:
            listener.connected(frozenset(heard).__contains__)

    async def _retire(
        self, part: ClusterPart, task: asyncio.Task[None], listener: Listener
    ) -> None:
        logger.info("the node at %s has no slots any more", self.map.address_of(part.node))
        self._retired.add(part)
        await asyncio.sleep(_RETIRE_SECONDS)  # what is under way may still be answered
        task.cancel()
        await asyncio.wait([task])
        await part.close()
        self._retired.discard(part)
        listener.connected(part.concerns)  # nothing is cut off with it any more


class _AtNode:
    """Whether a channel is at one node, as the map says now; there is one of these for each."""

    def __init__(self, map: ClusterMap, id: str) -> None:
        self._map = map
        self._id = id

    def __call__(self, channel: str) -> bool:
        try:
            return self._map.owner(slot_of(channel)).id == self._id
        except Unavailable:
            return False
