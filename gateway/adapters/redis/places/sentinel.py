"""Where the master is that Sentinel watches."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import hiredis

from gateway.adapters.redis.places.address import Address
from gateway.adapters.redis.places.connection import FixedPlace, Place, end_if_cancelled
from gateway.adapters.redis.places.pipe import NotSent, Pipe, Unanswered
from gateway.adapters.redis.places.topology import Sentinels

_LOOK_SECONDS = 1.0
# All are asked at once, and one that is away must not make the others' answer late.
_ANSWER_SECONDS_MAX = 0.5

logger = logging.getLogger(__name__)


class Answer(NamedTuple):
    """What one sentinel says: the more failovers it has seen, the newer it is."""

    epoch: int
    host: str
    port: int


class Lost(OSError):
    """Nobody can tell where the master is; the text says why."""


class SentinelPlace(Place):
    """Asks all sentinels once a second, and whenever somebody wants to connect.

    A sentinel that is cut off from the others keeps naming the old master, and a master that
    was frozen believes for seconds that it still is one. So the newest answer counts, a node has
    to say itself that it is a master, and once another one is, every connection to the one
    before is cut: it may look alive for ever, and hears nothing that is published elsewhere.
    """

    def __init__(self, topology: Sentinels, *, name: str, timeout_seconds: float) -> None:
        self._topology = topology
        self._name = name
        self._timeout_seconds = min(timeout_seconds, _ANSWER_SECONDS_MAX)
        self._sentinels = {address: self._pipe(address) for address in topology.sentinels}
        self._leavers: list[Callable[[], None]] = []
        self._lock = asyncio.Lock()
        self._master: Answer | None = None
        self._seen = -_LOOK_SECONDS  # when the master was last confirmed
        self._is_running = False

    @property
    def generation(self) -> str:
        """`Place.generation`: the number of the failover, and the node.

        The number alone would not do: sentinels that are set up anew count from zero again.
        """
        master = self._master
        return "" if master is None else f"{master.epoch}@{master.host}:{master.port}"

    async def find(self) -> Address:
        """`Place.find`."""
        async with self._lock:
            if time.monotonic() - self._seen >= _LOOK_SECONDS:
                await self._look()
        assert self._master is not None
        return self._topology.node.at(self._master.host, self._master.port)

    def on_move(self, leave: Callable[[], None]) -> None:
        """`Place.on_move`."""
        self._leavers.append(leave)

    async def run(self) -> None:
        """Look once a second until cancelled, and have everybody leave where the master moved."""
        self._is_running = True
        trouble = ""
        try:
            while True:
                before, trouble = trouble, ""
                try:
                    async with self._lock:
                        await self._look()
                except Lost as error:
                    # What is connected goes on: a Redis without its sentinels still works.
                    trouble = str(error)
                end_if_cancelled()
                if trouble != before:
                    logger.log(
                        logging.WARNING if trouble else logging.INFO,
                        trouble or f"{self} answers again",
                    )
                await asyncio.sleep(_LOOK_SECONDS)
        finally:
            self._is_running = False
            self._close()

    def __str__(self) -> str:
        where = "" if self._master is None else f", now {self._master.host}:{self._master.port}"
        return f"{self._topology}{where}"

    async def _look(self) -> None:
        """Ask who the master is; raises `Lost`."""
        try:
            answers = await asyncio.gather(*map(self._ask, self._sentinels.values()))
        finally:
            if not self._is_running:
                self._close()  # a short command has no later moment to do it in
        found = believed(answers, self._master)
        if found is None:
            raise Lost(f"no Sentinel can tell where the master {self._topology.master_name} is")
        if found != self._master:
            await self._check_role(found)
            self._move(found)
        self._seen = time.monotonic()

    async def _ask(self, sentinel: Pipe) -> Answer | None:
        name = self._topology.master_name
        # The first answers with the new master as soon as there is one; the second, a moment
        # later, but it alone knows the number of the failover, which is raised in the same step.
        commands = [("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name), ("SENTINEL", "MASTER", name)]
        try:
            return _read(await sentinel.execute(commands))
        except (NotSent, Unanswered):
            return None

    async def _check_role(self, answer: Answer) -> None:
        """Raises `Lost` unless the node itself says that it is a master."""
        address = self._topology.node.at(answer.host, answer.port)
        node = self._pipe(address)
        try:
            # Not ROLE, which the gateway's user would need a right for that it has no other use of.
            (reply,) = await node.execute([("HELLO",)])
        except (NotSent, Unanswered) as error:
            raise Lost(f"Redis at {address}, which Sentinel names: {error}") from None
        finally:
            node.close()
        fields = _fields(reply)
        if fields.get(b"role") != b"master":
            raise Lost(f"Redis at {address}, which Sentinel names, is not a master (yet)")

    def _move(self, found: Answer) -> None:
        before, self._master = self._master, found
        if before is None:
            logger.info("the master of %s is at %s:%s", self._topology, found.host, found.port)
            return
        logger.warning(
            "the master of %s moved from %s:%s to %s:%s",
            *(self._topology, before.host, before.port, found.host, found.port),
        )
        for leave in self._leavers:
            leave()

    def _pipe(self, address: Address) -> Pipe:
        return Pipe(FixedPlace(address), name=self._name, timeout_seconds=self._timeout_seconds)

    def _close(self) -> None:
        for sentinel in self._sentinels.values():
            sentinel.close()


def believed(answers: Sequence[Answer | None], known: Answer | None) -> Answer | None:
    """The newest answer; and where several of one age differ, the one that most of them give.

    None that is older than what is known already, for it comes from sentinels that are cut off,
    unless more than half of all say so: those were set up anew.
    """
    given = Counter(answer for answer in answers if answer is not None)
    if not given:
        return None
    newest = max(given, key=lambda answer: (answer.epoch, given[answer], answer))
    is_old = known is not None and newest.epoch < known.epoch
    return None if is_old and given[newest] * 2 <= len(answers) else newest


def _read(replies: Sequence[Any]) -> Answer | None:
    """None for a sentinel that does not know this master, or refuses to say."""
    place, description = replies
    fields = _fields(description)
    if not isinstance(place, list) or not fields:
        return None
    host, port = place
    try:
        return Answer(int(fields[b"config-epoch"]), host.decode(), int(port))
    except (KeyError, ValueError):
        return None


def _fields(reply: Any) -> dict[bytes, Any]:
    if isinstance(reply, hiredis.ReplyError) or not isinstance(reply, list):
        return {}
    return dict(zip(reply[::2], reply[1::2], strict=False))
