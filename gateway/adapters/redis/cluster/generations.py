"""Which life of its data each master of a Redis Cluster has: numbers that all gateways agree on.

A failover must end the epochs of its channels (``generations.py``), and a slot that moves must
not. A node's epoch in the cluster rises with both. So the epoch of its take-over is written down
when it is first seen, in a table in the cluster, and holds until it takes over once more. A
master that never did has 0: it has lost nothing, and neither has a channel that moves there.
"""

import asyncio
import contextlib

import hiredis

from gateway.adapters.redis.cluster.map import ClusterMap
from gateway.adapters.redis.cluster.slots import Node, read_replication
from gateway.adapters.redis.keys import Keys
from gateway.adapters.redis.places.connection import FixedPlace, Place, end_if_cancelled
from gateway.adapters.redis.places.pipe import NotSent, Pipe, Unanswered
from gateway.adapters.redis.script import Script
from gateway.domain.errors import Unavailable

_TAKEOVER = Script("cluster/takeover")
_RETRY_SECONDS = 0.2


class ClusterGenerations:
    """What is not known yet is asked for until it is; nobody publishes to that node before."""

    def __init__(self, map: ClusterMap, keys: Keys, *, name: str, timeout_seconds: float) -> None:
        self._map = map
        self._table = keys.generations
        self._name = name
        self._timeout_seconds = timeout_seconds
        self._pipe = self._make_pipe(map.place_of(self._table))
        self._asking = asyncio.Lock()
        self._known: dict[Node, str] = {}
        self._changed = asyncio.Event()
        self._found = asyncio.Condition()
        map.on_change(self._changed.set)

    async def of(self, node: Node) -> str:
        """Raises `Unavailable` when it cannot be found out in time."""
        if (number := self._known.get(node)) is not None:
            return number
        try:
            async with asyncio.timeout(self._timeout_seconds), self._found:
                await self._found.wait_for(lambda: node in self._known)
        except TimeoutError:
            raise Unavailable(f"what the new master at {node.host} has is not known yet") from None
        return self._known[node]

    async def run(self) -> None:
        """Look at each master that is new, or has another epoch, until cancelled."""
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                masters = set(self._map.view.masters.values())
                for gone in self._known.keys() - masters:
                    del self._known[gone]
                async with asyncio.TaskGroup() as tasks:
                    for node in masters - self._known.keys():
                        tasks.create_task(self._look(node), name="generation")
                end_if_cancelled()
                async with self._found:
                    self._found.notify_all()
                if masters - self._known.keys():
                    await asyncio.sleep(_RETRY_SECONDS)
                    self._changed.set()
        finally:
            self._pipe.close()

    def _make_pipe(self, place: Place) -> Pipe:
        return Pipe(place, name=self._name, timeout_seconds=self._timeout_seconds)

    async def _look(self, node: Node) -> None:
        pipe = self._make_pipe(FixedPlace(self._map.address_of(node)))
        with contextlib.suppress(NotSent, Unanswered, ValueError):
            try:
                (answer,) = await pipe.execute([("INFO", "replication")])
            finally:
                pipe.close()
            replication, has_taken_over = read_replication(answer)
            self._known[node] = await self._number(node, replication, has_taken_over)

    async def _number(self, node: Node, replication: str, has_taken_over: bool) -> str:
        facts = [node.id, replication, int(has_taken_over), node.epoch]
        call = ("EVAL", _TAKEOVER.text, 1, self._table, *facts)
        async with self._asking:
            (answer,) = await self._pipe.execute([call])
        if isinstance(answer, hiredis.ReplyError):
            raise ValueError(str(answer)[:100])
        return bytes(answer).decode()
