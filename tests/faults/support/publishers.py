"""Publishers over REST that write down what they tried, and what they know of it."""

import asyncio
import contextlib
import itertools
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from enum import Enum
from typing import Any
from urllib.parse import quote

from tests.faults.support.http import HttpConnection, NotSent, Unanswered
from tests.faults.support.records import Attempt, Journal, Outcome, Place
from tests.support.clients import make_token

_RETRY_SECONDS = 0.2

_Answer = tuple[Outcome, Place | None, str]


class Retry(Enum):
    """What to do about a message that was not stored."""

    NEVER = "never"
    UNTIL_KNOWN = "until known"  # the same key, until it is known what became of it
    UNTIL_STORED = "until stored"  # the same key, until it is acknowledged


class Publisher:
    """Publishes in turn to its channels, one request after the other, at its pace.

    It stays with one gateway until a request fails there, and then goes on with the next. With
    a retry every request has an Idempotency-Key of its own, and is repeated with it.
    """

    def __init__(
        self,
        name: str,
        channels: Sequence[str],
        ports: Sequence[int],
        journal: Journal,
        *,
        per_second: float = 50,
        batch: int = 1,
        retry: Retry = Retry.NEVER,
        timeout_seconds: float = 5.0,
        data_bytes: int = 0,
        token: str = "",
    ) -> None:
        self.name = name
        self.last_ok = 0.0  # when it last had a yes
        self._channels = itertools.cycle(channels)
        self._journal = journal
        self._per_second = per_second
        self._batch = batch
        self._retry = retry
        self._timeout_seconds = timeout_seconds
        self._filler = "x" * data_bytes
        token = token or make_token(name, "publisher")
        self._connections = [HttpConnection(port, token) for port in ports]
        self._turn = 0
        self._numbers = itertools.count(1)
        self._run = secrets.token_hex(3)
        self._is_stopping = False

    async def run(self) -> None:
        """Publish until `stop`; what is under way then is brought to its end."""
        due = time.monotonic()
        try:
            while not self._is_stopping:
                await self.publish(self._batch)
                # Behind its time, it does not try to catch up: a herd of requests after an
                # outage is another test's business.
                due = max(due + self._batch / self._per_second, time.monotonic() - 1)
                await asyncio.sleep(max(due - time.monotonic(), 0))
        finally:
            for connection in self._connections:
                connection.close()

    def stop(self) -> None:
        self._is_stopping = True

    async def publish(self, count: int = 1) -> None:
        """Publish one request of so many messages, with repetitions if that is its way."""
        messages = [(self._next_id(), next(self._channels)) for _ in range(count)]
        key = secrets.token_hex(8) if self._retry is not Retry.NEVER else ""
        unknown: set[str] = set()
        while True:
            answers = await self._try(messages, key)
            outcomes = {
                id: outcome for (id, _), (outcome, _, _) in zip(messages, answers, strict=True)
            }
            unknown |= {id for id, outcome in outcomes.items() if outcome is Outcome.UNKNOWN}
            unknown -= {id for id, outcome in outcomes.items() if outcome is Outcome.OK}
            is_stored = set(outcomes.values()) == {Outcome.OK}
            if (
                is_stored
                or self._retry is Retry.NEVER
                or (self._retry is Retry.UNTIL_KNOWN and not unknown)
            ):
                return
            await asyncio.sleep(_RETRY_SECONDS)

    async def _try(self, messages: list[tuple[str, str]], key: str) -> list[_Answer]:
        began = time.monotonic()
        answers = await self._request(messages, key)
        ended = time.monotonic()
        for (id, channel), (outcome, place, why) in zip(messages, answers, strict=True):
            if outcome is Outcome.OK:
                self.last_ok = ended
            self._journal.attempts.append(
                Attempt(id, channel, self.name, began, ended, outcome, place, why)
            )
        if any(outcome is not Outcome.OK for outcome, _, _ in answers):
            self._turn += 1
        return answers

    async def _request(self, messages: list[tuple[str, str]], key: str) -> list[_Answer]:
        headers = {"Idempotency-Key": key} if key else {}
        connection = self._connections[self._turn % len(self._connections)]
        entries = [{"channel": channel, "data": self._data(id)} for id, channel in messages]
        path, body = "/publish", dict[str, Any](messages=entries)
        if len(entries) == 1:
            path, body = f"/publish/{quote(messages[0][1], safe='')}", {"data": entries[0]["data"]}
        try:
            reply = await connection.ask(
                "POST", path, body, headers=headers, timeout_seconds=self._timeout_seconds
            )
        except NotSent as error:
            return [(Outcome.FAIL, None, str(error))] * len(messages)
        except Unanswered as error:
            return [(Outcome.UNKNOWN, None, str(error))] * len(messages)
        if reply.status != 200:
            if reply.status == 503 and "retry-after" not in reply.headers:
                raise AssertionError(f"a 503 without Retry-After: {reply}")
            return [read_problem(reply.status, reply.json)] * len(messages)
        results = [reply.json] if len(messages) == 1 else reply.json["results"]
        return [read_result(result) for result in results]

    def _data(self, id: str) -> dict[str, str]:
        return {"id": id, "fill": self._filler} if self._filler else {"id": id}

    def _next_id(self) -> str:
        return f"{self.name}-{self._run}-{next(self._numbers)}"


def read_result(result: dict[str, Any]) -> _Answer:
    if "error" in result:
        return read_problem(int(result["error"]["status"]), result["error"])
    return Outcome.OK, Place(result["epoch"], result["offset"]), ""


def read_problem(status: int, problem: dict[str, Any]) -> _Answer:
    """Only what says that nothing was published is a no."""
    is_known = 400 <= status < 500 or problem.get("outcome_unknown") is False
    why = f"{status} {problem.get('detail', '')}"
    return (Outcome.FAIL if is_known else Outcome.UNKNOWN), None, why


@contextlib.asynccontextmanager
async def publishing(*publishers: Publisher, seconds: float = 15.0) -> AsyncIterator[None]:
    """They publish inside the block; at its end they stop, within so many seconds."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each.run(), name=each.name) for each in publishers]
        try:
            yield
        finally:
            for publisher in publishers:
                publisher.stop()
            _, late = await asyncio.wait(tasks, timeout=seconds)
            for task in late:
                task.cancel()
        assert not late, f"still publishing after {seconds} s: {late}"


def several(
    count: int,
    channels: Sequence[str],
    ports: Sequence[int],
    journal: Journal,
    *,
    per_second: float,
    **options: Any,
) -> list[Publisher]:
    """So many publishers that share a pace, each with its own gateway first."""
    return [
        Publisher(
            f"publisher-{n}",
            channels[n % len(channels) :] + channels[: n % len(channels)],  # type: ignore[operator]
            [*ports[n % len(ports) :], *ports[: n % len(ports)]],
            journal,
            per_second=per_second / count,
            **options,
        )
        for n in range(count)
    ]
