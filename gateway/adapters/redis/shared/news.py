"""The marks in one hash at Redis, channel -> token, and the lead as a key that lapses.

A mark goes out behind its message in the same pipeline, so a receipt means that both are there,
and costs no round trip. Where the messages are on several Redis, it goes to the one that has the
marks, and the receipt waits for it. It is removed only while it still has the token that was
read before the messages were: one that was set since stays.
"""

import asyncio
import itertools
import logging
import secrets
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any

import hiredis
from redis.asyncio import Redis

from gateway.adapters.redis.keys import Keys
from gateway.adapters.redis.places.asked import asked
from gateway.adapters.redis.places.connection import end_if_cancelled
from gateway.adapters.redis.places.pipe import NotSent, Pipe, Unanswered
from gateway.domain.messages import Publication
from gateway.domain.namespaces import Namespaces
from gateway.ports.news import Mark, News

_LEAD = files(__package__).joinpath("lead.lua").read_text()
_UNMARK = files(__package__).joinpath("unmark.lua").read_text()
_PAGE = 1000
_UNSURE_MAX = 100_000
_SETTLED_SECONDS_MAX = 0.2
_RETRY_SECONDS = 1.0

Command = tuple[Any, ...]

logger = logging.getLogger(__name__)


class RedisNews(News):
    """``mark_seconds``: how long marks stay that nobody comes for."""

    def __init__(
        self, redis: Redis, keys: Keys, *, lease_seconds: float, mark_seconds: int
    ) -> None:
        self._redis = redis
        self._marks = keys.archive_marks
        self._lead_keys = [keys.archive_lead, self._marks]
        self._holder = secrets.token_hex(8)
        self._lease_ms = int(lease_seconds * 1000)
        self._mark_seconds = mark_seconds
        self._take = redis.register_script(_LEAD)
        self._unmark = redis.register_script(_UNMARK)

    async def lead(self) -> bool:
        words: list[str | int] = [self._holder, self._lease_ms, self._mark_seconds]
        return bool(await asked(self._take(keys=self._lead_keys, args=words)))

    async def resign(self) -> None:
        await asked(self._take(keys=self._lead_keys, args=[self._holder, 0, self._mark_seconds]))

    async def marks(self, cursor: int = 0) -> tuple[Sequence[Mark], int]:
        next, found = await asked(self._redis.hscan(self._marks, cursor, count=_PAGE))
        return [Mark(name.decode(), token.decode()) for name, token in found.items()], int(next)

    async def clear(self, marks: Sequence[Mark]) -> None:
        for start in range(0, len(marks), _PAGE):
            words: list[str] = []
            for channel, token in marks[start : start + _PAGE]:
                words += [channel, token]
            await asked(self._unmark(keys=[self._marks], args=words))


class Marker:
    """What the publisher adds to its pipelines."""

    def __init__(self, keys: Keys, namespaces: Namespaces) -> None:
        self._key = keys.archive_marks
        self._namespaces = namespaces
        self._name = secrets.token_hex(4)
        self._count = itertools.count()
        # Channels whose mark may not have come through, though their messages may have.
        self.unsure: set[str] = set()

    def channels_of(self, publications: Iterable[Publication]) -> set[str]:
        """Those that are to be marked, and what is left of earlier ones."""
        channels = {publication.channel for publication in publications}
        archived = {name for name in channels if self._namespaces.of(name).archive}
        return archived.union(itertools.islice(self.unsure, _PAGE))

    def commands(self, channels: set[str]) -> list[Command]:
        token = f"{self._name}-{next(self._count)}"
        words = [word for channel in channels for word in (channel, token)]
        return [("HSET", self._key, *words)] if words else []

    def sent(self, channels: set[str], replies: Sequence[Any]) -> None:
        if any(isinstance(reply, hiredis.ReplyError) for reply in replies):
            self.doubt(channels)
        else:
            self.unsure -= channels

    def doubt(self, channels: set[str]) -> None:
        """Mark them once more as soon as possible; too often does no harm."""
        if len(self.unsure) < _UNSURE_MAX:
            self.unsure |= channels

    async def settled(self) -> None:
        """Return when there is nothing to wait for: here, the marks came with the messages."""


class DistantMarker(Marker):
    """For messages that are on other Redis than the marks; several publishers share it.

    A receipt waits for its mark, but never long: where the marks' Redis is away, publishing goes
    on elsewhere, and the marks follow when it is back. Only if this replica ends before that, and
    nothing more is published on the channel, the archive lacks what the channel forgets.
    """

    def __init__(self, keys: Keys, namespaces: Namespaces, pipe: Pipe) -> None:
        super().__init__(keys, namespaces)
        self._pipe = pipe
        self._due: set[str] = set()
        self._wake = asyncio.Event()
        self._rounds: list[asyncio.Future[None]] = []
        self._is_away = False

    def commands(self, channels: set[str]) -> list[Command]:
        return []

    def sent(self, channels: set[str], replies: Sequence[Any]) -> None:
        self.doubt(channels)

    def doubt(self, channels: set[str]) -> None:
        if channels and len(self._due) < _UNSURE_MAX:
            self._due |= channels
            self._wake.set()

    async def settled(self) -> None:
        if self._is_away:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._rounds.append(done)
        await asyncio.wait([done], timeout=_SETTLED_SECONDS_MAX)

    async def run(self) -> None:
        """Mark what is due until cancelled."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                rounds, self._rounds = self._rounds, []
                channels = set(itertools.islice(self._due, _PAGE))
                self._note(is_away=not await self._mark(channels))
                end_if_cancelled()
                for done in rounds:
                    if not done.done():
                        done.set_result(None)
                if self._is_away:
                    await asyncio.sleep(_RETRY_SECONDS)
                if self._due:
                    self._wake.set()
        finally:
            self._pipe.close()

    async def _mark(self, channels: set[str]) -> bool:
        # Taken out first: what is noted again meanwhile needs a newer mark.
        self._due -= channels
        try:
            replies = await self._pipe.execute(super().commands(channels))
        except (NotSent, Unanswered):
            replies = [hiredis.ReplyError("no answer")]
        is_marked = not any(isinstance(reply, hiredis.ReplyError) for reply in replies)
        if not is_marked:
            self._due |= channels
        return is_marked

    def _note(self, *, is_away: bool) -> None:
        if is_away != self._is_away:
            self._is_away = is_away
            if is_away:
                logger.warning("the archive learns later of new messages: its Redis is away")
