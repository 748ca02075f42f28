"""Asking any replica of the cluster to drain, by its name."""

import asyncio
import logging
from typing import Any, NamedTuple

from gateway.core.drain import Drain
from gateway.core.signals import Signals
from gateway.core.tasks import Tasks
from gateway.domain.errors import Conflict, LimitReached, NotFound, Unavailable

_QUESTION, _ANSWER = "drain", "draining"
_WAITING_MAX = 100

logger = logging.getLogger(__name__)


class Draining(NamedTuple):
    """What is going to happen on a replica that drains."""

    replica: str
    sockets: int
    pause_seconds: float
    closing_seconds: float


class DrainCalls:
    """The call may come in on any replica; the one that is meant hears it as a signal.

    It answers with a signal, so whoever calls knows that it was heard.
    """

    def __init__(
        self,
        drain: Drain,
        signals: Signals,
        tasks: Tasks,
        *,
        replica: str,
        wait_seconds: float = 2.0,
    ) -> None:
        self._drain = drain
        self._signals = signals
        self._tasks = tasks
        self._replica = replica
        self._wait_seconds = wait_seconds
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        signals.on(_QUESTION, self._asked)
        signals.on(_ANSWER, self._answered)

    async def call(self, replica: str, by: str) -> Draining:
        """Let a replica drain, this one for ""; one that drains already goes on.

        Raises `NotFound` where none of that name answers, `Conflict` where its server cannot do
        it, and `Unavailable`.
        """
        logger.warning("%s asks replica %s to drain", ascii(by), ascii(replica or self._replica))
        if replica in ("", self._replica):
            return _checked(self._begin(by))
        answer = self._waiting.get(replica)
        if answer is None:
            if len(self._waiting) >= _WAITING_MAX:
                raise LimitReached("too many replicas are asked to drain at once")
            answer = self._waiting[replica] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._signals.send(_QUESTION, {"replica": replica, "by": by})
                return _checked(await asyncio.shield(answer))
        except TimeoutError:
            raise NotFound("no replica of this name answers") from None
        finally:
            self._waiting.pop(replica, None)

    def _asked(self, signal: dict[str, Any]) -> None:
        if signal["replica"] == self._replica:
            self._tasks.start(self._answer(self._begin(str(signal["by"]))), "drain")

    async def _answer(self, answer: dict[str, Any]) -> None:
        try:
            await self._signals.send(_ANSWER, answer)
        except Unavailable as trouble:
            logger.warning("nobody will hear that this replica drains: %s", trouble.detail)

    def _answered(self, signal: dict[str, Any]) -> None:
        answer = self._waiting.get(signal["replica"])
        if answer is not None and not answer.done():
            answer.set_result(signal)

    def _begin(self, by: str) -> dict[str, Any]:
        drain = self._drain
        if drain.is_attached:
            logger.warning("this replica drains, as %s asked", ascii(by))
            drain.begin()
        return {
            "replica": self._replica,
            "can_drain": drain.is_attached,
            "sockets": drain.sockets_left,
            "pause_seconds": drain.pause_seconds,
            "closing_seconds": drain.closing_seconds,
        }


def _checked(answer: dict[str, Any]) -> Draining:
    if not answer["can_drain"]:
        raise Conflict("this replica runs under a server that cannot drain: stop the process")
    return Draining(*(answer[name] for name in Draining._fields))
