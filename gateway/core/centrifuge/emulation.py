"""Where clients are heard whose socket goes one way only: by requests, on whichever replica.

A stream carries what a client is told. What it says comes in requests of their own, and a
balancer sends them anywhere; the replica that got one hands it to the one with the stream.
"""

import asyncio
import base64
import secrets
from collections.abc import Callable
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias

from gateway.core.signals import Signals
from gateway.core.tasks import Tasks
from gateway.domain.errors import LimitReached, NotFound, Unavailable

_SAID, _HEARD = "client said", "client heard"
_WAITING_MAX = 1000
_SESSION_BYTES = 24  # whoever knows a session speaks for its client


class Outcome(StrEnum):
    HEARD = "heard"
    BUSY = "busy"
    UNKNOWN = "unknown"


Ear: TypeAlias = Callable[[str | bytes], Outcome]
"""Takes what its client says; never waits."""


class Entrance(NamedTuple):
    """Where one client is heard: ``session`` is secret, ``node`` is the replica."""

    session: str
    node: str


class Emulation:
    """The ears of this replica, and the way to those of the others."""

    def __init__(self, signals: Signals, tasks: Tasks, *, wait_seconds: float = 2.0) -> None:
        # Of this run: a replica that was started again under its name has none of the old ears.
        self._node = secrets.token_hex(8)
        self._signals = signals
        self._tasks = tasks
        self._wait_seconds = wait_seconds
        self._ears: dict[str, Ear] = {}
        self._questions: dict[str, asyncio.Future[Outcome]] = {}
        signals.on(_SAID, self._said)
        signals.on(_HEARD, self._heard)

    def open(self, ear: Ear) -> Entrance:
        """`close` has to follow."""
        session = secrets.token_urlsafe(_SESSION_BYTES)
        self._ears[session] = ear
        return Entrance(session, self._node)

    def close(self, entrance: Entrance) -> None:
        self._ears.pop(entrance.session, None)

    async def hand_over(self, entrance: Entrance, payload: str | bytes) -> None:
        """Return once the client's replica has taken what the client says; not: carried it out.

        Raises `NotFound` for a client that nobody has, `LimitReached` where it says more than is
        carried out, and `Unavailable` where the replica cannot be asked.
        """
        if entrance.node == self._node:
            outcome = self._tell(entrance.session, payload)
        else:
            outcome = await self._ask(entrance, payload)
        if outcome is Outcome.UNKNOWN:
            raise NotFound("there is no such session")
        if outcome is Outcome.BUSY:
            raise LimitReached("too much of what was said before still waits")

    def _tell(self, session: str, payload: str | bytes) -> Outcome:
        ear = self._ears.get(session)
        return Outcome.UNKNOWN if ear is None else ear(payload)

    async def _ask(self, entrance: Entrance, payload: str | bytes) -> Outcome:
        if len(self._questions) >= _WAITING_MAX:
            raise Unavailable("too many requests wait for other replicas")
        number = secrets.token_hex(8)
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._questions[number] = answer
        session, node = entrance
        body = {"number": number, "node": node, "session": session, **_written(payload)}
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._signals.send(_SAID, body)
                return await answer
        except TimeoutError:
            return Outcome.UNKNOWN  # nobody goes by that name, or not any more
        finally:
            del self._questions[number]

    def _said(self, signal: dict[str, Any]) -> None:
        if signal["node"] == self._node:
            outcome = self._tell(str(signal["session"]), _read(signal))
            self._tasks.start(self._answer(str(signal["number"]), outcome), "emulation")

    async def _answer(self, number: str, outcome: Outcome) -> None:
        try:
            await self._signals.send(_HEARD, {"number": number, "outcome": outcome})
        except Unavailable:
            return  # who asked stops waiting, and says that nobody has answered

    def _heard(self, signal: dict[str, Any]) -> None:
        answer = self._questions.get(signal["number"])
        if answer is not None and not answer.done():
            answer.set_result(Outcome(signal["outcome"]))


def _written(payload: str | bytes) -> dict[str, Any]:
    """Replicas talk in JSON, which has no bytes."""
    if isinstance(payload, bytes):
        return {"payload": base64.b64encode(payload).decode(), "is_binary": True}
    return {"payload": payload, "is_binary": False}


def _read(signal: dict[str, Any]) -> str | bytes:
    payload = str(signal["payload"])
    # A replica of the version before says nothing of it, and has text alone.
    return base64.b64decode(payload) if signal.get("is_binary") else payload
