"""Asking every replica something, or telling it to do something, and hearing that it did."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from gateway.core.signals import Signals
from gateway.core.tasks import Tasks
from gateway.domain.errors import Unavailable

_QUESTION, _ANSWER = "survey?", "survey"
_WAITING_MAX = 1000

Answer: TypeAlias = Callable[[dict[str, Any]], Awaitable[Any]]


class Survey(NamedTuple):
    """``is_complete`` is False when a replica did not answer in time."""

    answers: list[Any]
    is_complete: bool


class _Question:
    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.answered = asyncio.Event()


class Surveys:
    """Every replica answers each topic in the same way, the one that asks included."""

    def __init__(self, signals: Signals, tasks: Tasks, *, wait_seconds: float = 1.0) -> None:
        self._signals = signals
        self._tasks = tasks
        self._wait_seconds = wait_seconds
        self._topics: dict[str, Answer] = {}
        self._questions: dict[str, _Question] = {}
        signals.on(_QUESTION, self._asked)
        signals.on(_ANSWER, self._answered)

    def on(self, topic: str, answer: Answer) -> None:
        """What ``answer`` returns has to be JSON, and small: it goes to every replica."""
        if topic in self._topics:
            raise ValueError(f"two answers to {topic!r}")
        self._topics[topic] = answer

    async def ask(self, topic: str, body: Mapping[str, Any]) -> Survey:
        """Return what was answered within the time to wait.

        Raises `Unavailable` where the question could not be sent, or may not have been.
        """
        if len(self._questions) >= _WAITING_MAX:
            raise Unavailable("too many questions to all replicas are waiting")
        number, question = secrets.token_hex(8), _Question()
        self._questions[number] = question
        is_complete = True
        try:
            body = {"number": number, "topic": topic, "body": body}
            replicas = await self._signals.send(_QUESTION, body)
            if not replicas:
                raise Unavailable("no replica hears the others")
            async with asyncio.timeout(self._wait_seconds):
                while len(question.answers) < replicas:
                    question.answered.clear()
                    await question.answered.wait()
        except TimeoutError:
            is_complete = False
        finally:
            del self._questions[number]
        return Survey(question.answers, is_complete)

    def _asked(self, signal: dict[str, Any]) -> None:
        answer = self._topics.get(signal["topic"])
        if answer is not None:  # or a newer replica asks something that we do not know
            work = self._answer(str(signal["number"]), answer, signal["body"])
            self._tasks.start(work, "survey")

    async def _answer(self, number: str, answer: Answer, body: dict[str, Any]) -> None:
        said = await answer(body)
        try:
            await self._signals.send(_ANSWER, {"number": number, "answer": said})
        except Unavailable:
            return  # who asked stops waiting, and knows that an answer is missing

    def _answered(self, signal: dict[str, Any]) -> None:
        question = self._questions.get(signal["number"])
        if question is not None:
            question.answers.append(signal["answer"])
            question.answered.set()
