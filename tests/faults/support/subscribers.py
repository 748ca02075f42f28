"""Listeners as many as a fault test needs, each behaving like a good client, or like a bad one.

A good client comes back with back-off and jitter, waits as long as it was told to, remembers its
position and asks for what it missed, and leaves a connection on which nothing comes any more.
"""

import asyncio
import contextlib
import json
import random
import re
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any
from urllib.parse import quote

from tests.faults.support.records import Heard, Journal, ListenerLog, Place, Refusal, Told, Visit
from tests.faults.support.sockets import ListeningSocket, Refused, open_socket
from tests.support.clients import make_token

_BACKOFF_SECONDS_MIN = 0.1
_BACKOFF_SECONDS_MAX = 1.0
_CONNECT_SECONDS = 5.0
_RETRY_MS = re.compile(r"retry_ms=(\d+)")


class Listener:
    """One client on one channel; what it sees stands in its ``log``.

    ``ports`` are those of the gateways, or of what stands in front of them; it begins with the
    first and takes the next whenever a connection fails. Unless ``resumes``, it never says where
    it was. With ``silence_seconds_max`` it gives up a connection on which not even a ping came
    for so long.
    """

    def __init__(
        self,
        name: str,
        channel: str,
        ports: Sequence[int],
        *,
        token: str = "",
        resumes: bool = True,
        may_listen: bool = True,
        reconnects: bool = True,
        silence_seconds_max: float | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.log = ListenerLog(name, channel, resumes, may_listen)
        self._ports = list(ports)
        self._token = token or make_token(name)
        self._reconnects = reconnects
        self._silence_seconds_max = silence_seconds_max
        self._tls = tls
        self._turn = 0
        self._failures = 0
        self._place: Place | None = Place("", 0) if resumes else None
        self.socket: ListeningSocket | None = None

    @property
    def is_open(self) -> bool:
        return bool(self.log.visits) and self.log.visits[-1].is_open

    @property
    def last(self) -> Place | None:
        """Where it is."""
        return self._place

    @property
    def port(self) -> int:
        """Where it is connected, or tries to."""
        return self._ports[self._turn % len(self._ports)]

    async def run(self) -> None:
        """Listen until cancelled, or until the first end of one that does not come back."""
        while True:
            pause = await self._visit()
            if not self._reconnects:
                return
            await asyncio.sleep(pause)

    async def _visit(self) -> float:
        """Connect once and read to the end; return how long to wait before the next time."""
        asked = str(self._place) if self.log.resumes and self._place else ""
        path = f"/ws/{quote(self.log.channel, safe='')}"
        visit = Visit(str(self.port), asked, 0.0, began=time.monotonic())
        try:
            self.socket, visit.opened = await open_socket(
                self.port,
                f"{path}?since={asked}" if asked else path,
                self._token,
                lambda payload: self._take(visit, payload),
                now=time.monotonic,
                timeout_seconds=_CONNECT_SECONDS,
                tls=self._tls,
            )
        except Refused as refusal:
            self.log.refusals.append(Refusal(time.monotonic(), visit.replica, str(refusal)))
            return self._next_pause()
        self.log.visits.append(visit)
        try:
            visit.code, visit.reason = await self._until_ended(self.socket)
        finally:
            self.socket.abort()
        visit.closed = time.monotonic()
        if visit.events:
            self._failures = 0
        wanted = _RETRY_MS.search(visit.reason)
        pause = self._next_pause()
        # Spread over as much again, so that those who were told the same do not come at once.
        return int(wanted[1]) / 1000 * random.uniform(1, 2) if wanted else pause

    async def _until_ended(self, socket: ListeningSocket) -> tuple[int, str]:
        if self._silence_seconds_max is None:
            return await socket.ended
        while True:
            left = socket.heard + self._silence_seconds_max - time.monotonic()
            if left <= 0:
                return 1006, "the client gave up: nothing came any more"
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    return await asyncio.shield(socket.ended)

    def _next_pause(self) -> float:
        self._turn += 1
        self._failures += 1
        longest = min(_BACKOFF_SECONDS_MAX, _BACKOFF_SECONDS_MIN * 2**self._failures)
        return random.uniform(_BACKOFF_SECONDS_MIN / 2, longest)

    def _take(self, visit: Visit, payload: bytes) -> None:
        now = time.monotonic()
        frame = json.loads(payload)
        if "data" in frame:
            place = Place(frame["epoch"], frame["offset"])
            visit.events.append(Heard(now, place, frame["data"]["id"]))
        else:
            told = Told(now, frame.pop("type"), frame)
            visit.events.append(told)
            place = _place_after(told) or self._place or Place("", 0)
        self._place = place


def _place_after(told: Told) -> Place | None:
    if told.type == "gap" and "next" in told.fields:
        next = Place.parse(told.fields["next"])
        return Place(next.epoch, next.offset - 1)
    if told.type == "caught_up":
        return Place(told.fields["epoch"], told.fields["offset"])
    return None


class Audience:
    """Listeners that run in one task group, and questions about all of them."""

    def __init__(self, journal: Journal, group: asyncio.TaskGroup) -> None:
        self._journal = journal
        self._group = group
        self._tasks: list[asyncio.Task[None]] = []
        self.listeners: list[Listener] = []

    def note(self, listener: Listener) -> None:
        """Keep the log of one that somebody else runs, and for whom nobody waits."""
        self._journal.listeners.append(listener.log)

    def add(self, *listeners: Listener) -> None:
        for listener in listeners:
            self.listeners.append(listener)
            self.note(listener)
            self._tasks.append(self._group.create_task(listener.run(), name=listener.log.name))

    async def until(
        self, condition: Callable[[Listener], bool], what: str, seconds: float = 15.0
    ) -> None:
        """Wait until it holds for every listener."""
        deadline = time.monotonic() + seconds
        while late := [listener for listener in self.listeners if not condition(listener)]:
            if time.monotonic() > deadline:
                shown = [_state(listener) for listener in late[:5]]
                raise AssertionError(f"not within {seconds} s: {what}: {len(late)}, as {shown}")
            await asyncio.sleep(0.05)

    async def until_open(self, seconds: float = 15.0) -> None:
        await self.until(lambda listener: listener.is_open, "everybody is connected", seconds)

    async def until_caught_up(self, seconds: float = 15.0) -> None:
        """Wait until everybody is connected and has got, or been told of, the last message."""
        tops: dict[str, Place] = {}
        for attempt in sorted(self._journal.attempts, key=lambda attempt: attempt.ended):
            if (place := attempt.place) is None:
                continue
            top = tops.get(attempt.channel)
            if top is None or top.epoch != place.epoch or place.offset > top.offset:
                tops[attempt.channel] = place

        def is_there(listener: Listener) -> bool:
            top, last = tops.get(listener.log.channel), listener.last
            if not listener.is_open or not listener.log.may_listen or top is None:
                return listener.is_open or not listener.log.may_listen
            return last is not None and last.epoch == top.epoch and last.offset >= top.offset

        await self.until(is_there, "everybody has caught up", seconds)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _state(listener: Listener) -> str:
    log = listener.log
    refusal = log.refusals[-1].why if log.refusals else ""
    state = "open" if listener.is_open else f"closed ({log.visits[-1:] and log.visits[-1].reason})"
    return f"{log.name} on {listener.port}: {state} at {listener.last} {refusal}"


@contextlib.asynccontextmanager
async def audience(journal: Journal, *listeners: Listener) -> AsyncIterator[Audience]:
    """These listeners, connected and confirmed; they stay until the block ends."""
    async with asyncio.TaskGroup() as group:
        everybody = Audience(journal, group)
        try:
            everybody.add(*listeners)
            await everybody.until_open()
            yield everybody
        finally:
            await everybody.stop()


def crowd(
    count: int, channels: Sequence[str], ports: Sequence[int], **options: Any
) -> list[Listener]:
    """So many good clients, spread evenly: those of each channel over all gateways."""
    listeners = []
    for n in range(count):
        among, number = divmod(n, len(channels))
        first = (among + number) % len(ports)
        turns = [*ports[first:], *ports[:first]]
        listeners.append(Listener(f"listener-{n}", channels[number], turns, **options))
    return listeners
