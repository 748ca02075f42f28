"""How far a message came: asked of every replica right behind the message itself."""

import asyncio
import secrets
from typing import Any, NamedTuple

from gateway.core.hub import Hub
from gateway.core.signals import Signals
from gateway.core.tasks import Tasks
from gateway.domain.errors import Unavailable
from gateway.domain.messages import Position

_QUESTION, _ANSWER = "handed?", "handed"
_WAITING_MAX = 1000


class Handed(NamedTuple):
    """To how many sockets, on how many replicas, a message was written.

    ``is_complete`` is False when a replica did not answer in time: then it may be more.
    """

    replicas: int
    sockets: int
    is_complete: bool


class _Question:
    def __init__(self) -> None:
        self.counts: list[int] = []
        self.answered = asyncio.Event()


class Receipts:
    """A signal takes the way of its channel's messages, so who answers has had the message before.

    The answer is about the moment after the delivery: a socket that closed since is not in it.
    """

    def __init__(
        self, hub: Hub, signals: Signals, tasks: Tasks, *, wait_seconds: float = 1.0
    ) -> None:
        self._hub = hub
        self._signals = signals
        self._tasks = tasks
        self._wait_seconds = wait_seconds
        self._questions: dict[str, _Question] = {}
        signals.on(_QUESTION, self._asked)
        signals.on(_ANSWER, self._answered)

    async def count(self, channel: str, position: Position) -> Handed:
        """Ask every replica; returns within the time to wait, with what is known by then."""
        if len(self._questions) >= _WAITING_MAX:
            return Handed(0, 0, is_complete=False)
        number, question = secrets.token_hex(8), _Question()
        self._questions[number] = question
        body = {"number": number, "channel": channel, "position": str(position)}
        is_complete = True
        try:
            async with asyncio.timeout(self._wait_seconds):
                replicas = await self._signals.send(_QUESTION, body, near=channel)
                while len(question.counts) < replicas:
                    question.answered.clear()
                    await question.answered.wait()
        except (TimeoutError, Unavailable):
            is_complete = False
        finally:
            del self._questions[number]
        sockets = sum(question.counts)
        return Handed(sum(count > 0 for count in question.counts), sockets, is_complete)

    def _asked(self, signal: dict[str, Any]) -> None:
        position = Position.parse(signal["position"])
        count = self._hub.handed_count(signal["channel"], position)
        self._tasks.start(self._answer(str(signal["number"]), count), "receipt")

    async def _answer(self, number: str, count: int) -> None:
        try:
            await self._signals.send(_ANSWER, {"number": number, "count": count})
        except Unavailable:
            return  # who asked stops waiting, and says that an answer is missing

    def _answered(self, signal: dict[str, Any]) -> None:
        question = self._questions.get(signal["number"])
        if question is not None:
            question.counts.append(int(signal["count"]))
            question.answered.set()
