"""Knowing who has which slot of a Redis Cluster, now."""

import asyncio
import contextlib
import logging
from collections.abc import Callable

import hiredis

from gateway.adapters.redis.cluster.slots import Node, View, read_view, slot_of
from gateway.adapters.redis.places.address import Address
from gateway.adapters.redis.places.connection import FixedPlace, Place
from gateway.adapters.redis.places.pipe import NotSent, Pipe, Unanswered
from gateway.adapters.redis.places.topology import Cluster
from gateway.domain.errors import Unavailable

_LOOK_SECONDS = 1.0
_ANSWER_SECONDS_MAX = 1.0
_QUESTIONS = [("CLUSTER", "INFO"), ("CLUSTER", "NODES")]

logger = logging.getLogger(__name__)


class ClusterMap:
    """Asks one node after another until one answers that is not cut off from the others.

    It looks each second, and at once when somebody has reason to doubt what it says.
    """

    def __init__(self, cluster: Cluster, *, name: str, timeout_seconds: float) -> None:
        self._cluster = cluster
        self._name = name
        self._timeout_seconds = min(timeout_seconds, _ANSWER_SECONDS_MAX)
        self._pipes: dict[Address, Pipe] = {}
        self._changed: list[Callable[[], None]] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._doubt = asyncio.Event()
        self._looking = asyncio.Lock()
        self._view: View | None = None
        self.trouble = "not connected to Redis yet"

    @property
    def view(self) -> View:
        """As it was last seen; raises `Unavailable` before that."""
        if self._view is None:
            raise Unavailable(self.trouble)
        return self._view

    async def know(self) -> None:
        """Look for the first time, also where nobody runs this; raises `Unavailable`."""
        if self._view is None:
            await self._look()
        if self._view is None:
            raise Unavailable(self.trouble)

    def owner(self, slot: int) -> Node:
        """Raises `Unavailable`."""
        owner = self.view.owner(slot)
        if owner is None:
            raise Unavailable("no node of the Redis Cluster has this slot")
        return owner

    def place_of(self, key: str) -> "SlotPlace":
        return SlotPlace(self, slot_of(key))

    def address_of(self, node: Node) -> Address:
        return self._cluster.seeds[0].at(node.host, node.port)

    def on_change(self, changed: Callable[[], None]) -> None:
        """Have this called whenever the view is another one."""
        self._changed.append(changed)

    def doubt(self) -> None:
        """Look soon."""
        self._doubt.set()

    async def look(self) -> None:
        """Return when it has been looked, which begins after this call; raises nothing."""
        looked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(looked)
        self._doubt.set()
        await asyncio.wait([looked], timeout=self._timeout_seconds)

    async def run(self) -> None:
        """Look until cancelled."""
        try:
            while True:
                self._doubt.clear()
                waiting, self._waiting = self._waiting, []
                await self._look()
                for looked in waiting:
                    if not looked.done():
                        looked.set_result(None)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_SECONDS):
                        await self._doubt.wait()
        finally:
            self.close()

    def close(self) -> None:
        for pipe in self._pipes.values():
            pipe.close()

    async def _look(self) -> None:
        async with self._looking:
            await self._ask_around()

    async def _ask_around(self) -> None:
        best: View | None = None
        why = ""
        for address in self._candidates():
            try:
                view = await self._ask(address)
            except (NotSent, Unanswered, ValueError) as error:
                why = why or f"Redis Cluster at {address}: {error}"
                self._forget(address)
                continue
            self._pipes[address] = self._pipes.pop(address)  # the first to be asked next time
            if not view.is_up:
                why = f"the Redis Cluster is down, says {address}"
            elif self._view is None or view.epoch >= self._view.epoch:
                self._take(view)
                return
            elif best is None or view.epoch > best.epoch:
                best = view
        if best is not None:
            self._take(best)  # nobody knows more: its nodes have been set up anew
            return
        if why != self.trouble:
            logger.warning("%s; trying again", why)
            self.trouble = why

    def _candidates(self) -> list[Address]:
        """Everybody that is known, and whoever answered last first."""
        known = list(self._cluster.seeds)
        if self._view is not None:
            known += [self._cluster.seeds[0].at(*place) for place in self._view.places]
        for address in [address for address in self._pipes if address not in known]:
            self._forget(address)
        return list(dict.fromkeys([*reversed(self._pipes), *known]))

    async def _ask(self, address: Address) -> View:
        pipe = self._pipes.get(address)
        if pipe is None:
            place = FixedPlace(address)
            pipe = Pipe(place, name=self._name, timeout_seconds=self._timeout_seconds)
            self._pipes[address] = pipe
        answers = await pipe.execute(_QUESTIONS)
        for answer in answers:
            if isinstance(answer, hiredis.ReplyError):
                raise ValueError(str(answer)[:100])
        info, nodes = answers
        return read_view(info, nodes, (address.host, address.port))

    def _forget(self, address: Address) -> None:
        if pipe := self._pipes.pop(address, None):
            pipe.close()

    def _take(self, view: View) -> None:
        if self.trouble:
            logger.info("the Redis Cluster answers")
            self.trouble = ""
        if view == self._view:
            return
        self._view = view
        for changed in self._changed:
            changed()


class SlotPlace(Place):
    """Where a slot is: for what stands in one slot as a whole."""

    generation = ""

    def __init__(self, map: ClusterMap, slot: int) -> None:
        self._map = map
        self._slot = slot
        self._found: Address | None = None
        self._leavers: list[Callable[[], None]] = []
        map.on_change(self._look)

    async def find(self) -> Address:
        try:
            await self._map.know()
            self._found = self._map.address_of(self._map.owner(self._slot))
        except Unavailable as error:
            raise ConnectionError(error.detail) from None
        return self._found

    def on_move(self, leave: Callable[[], None]) -> None:
        self._leavers.append(leave)

    def _look(self) -> None:
        owner = self._map.view.owner(self._slot)
        if self._found is None or (owner and self._map.address_of(owner) == self._found):
            return
        self._found = None
        for leave in self._leavers:
            leave()

    def __str__(self) -> str:
        return f"the node of slot {self._slot}"
