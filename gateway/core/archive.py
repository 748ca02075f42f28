"""Taking what channels keep for a while into the archive, which keeps it for good.

One replica does it for all of them. Nobody waits for it: publishing leaves a mark on the channel,
and the archive reads what is new from the channel's history.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence

from gateway.core.copying import Copier, Progress
from gateway.domain.errors import Unavailable
from gateway.domain.namespaces import Namespaces
from gateway.ports.archive import Archive
from gateway.ports.broker import Broker
from gateway.ports.news import Mark, News

_CHANNELS_AT_ONCE = 50
_FINISH_SECONDS = 5.0
_PRUNE_SECONDS = 3600.0
_DAY_SECONDS = 86_400

logger = logging.getLogger(__name__)


class Archiver:
    """While it has the lead, it looks at every marked channel once in an interval.

    A mark is cleared when everything that was published before it was read is in the archive. So
    nothing is lost when the replica dies, at whatever moment; what another one writes again
    changes nothing. What the channel has forgotten before it was read is noted as a hole.
    """

    def __init__(
        self,
        broker: Broker,
        news: News,
        archive: Archive,
        namespaces: Namespaces,
        *,
        batch_messages: int,
        interval_seconds: float,
        lease_seconds: float,
        position_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._copier = Copier(broker, archive, batch_messages=batch_messages)
        self._channels_at_once = min(_CHANNELS_AT_ONCE, batch_messages)
        self._news = news
        self._archive = archive
        self._namespaces = namespaces
        self._interval_seconds = interval_seconds
        self._lease_seconds = lease_seconds
        self._position_seconds = position_seconds
        self._clock = clock
        self._leads = False
        self._led_at = float("-inf")
        # What was published before is archived; when it is time to prune.
        self._complete_at = self._prune_at = 0.0
        self._trouble = ""
        self._is_running = False
        self._ending, self._ended = asyncio.Event(), asyncio.Event()

    @property
    def rows(self) -> int:
        """Messages that this replica has archived."""
        return self._copier.rows

    @property
    def holes(self) -> int:
        """How often it found that messages had gone before."""
        return self._copier.holes

    @property
    def lag_seconds(self) -> int:
        """How old a message may be that is not archived; 0 on a replica without the lead."""
        return max(int(self._clock() - self._complete_at), 0) if self._leads else 0

    async def run(self) -> None:
        """Archive until `finish` or until cancelled, and then give up the lead."""
        self._is_running = True
        try:
            while not self._ending.is_set():
                pause = await self.turn()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._ending.wait()
            await self.turn()  # a broker in memory goes, and all that it keeps
        finally:
            self._ended.set()
            if self._leads:
                with contextlib.suppress(Unavailable):
                    await self._news.resign()

    async def finish(self) -> None:
        """Archive what is left, unless that takes long; for when nobody publishes any more."""
        self._ending.set()
        if self._is_running:  # it begins when the database is ready
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FINISH_SECONDS):
                    await self._ended.wait()

    async def turn(self) -> float:
        """Do what there is to do; return after how many seconds to look again."""
        if not self._namespaces.has_archive:
            return self._interval_seconds
        try:
            if not await self._lead():
                return self._lease_seconds / 4
            await self._look()
            await self._prune()
            self._note("")
        except Unavailable as trouble:
            self._note(trouble.detail)
        return self._interval_seconds

    async def _lead(self) -> bool:
        """Whether it is on us; asks when a third of the lease is over."""
        now = time.monotonic()
        if self._leads and now - self._led_at < self._lease_seconds / 3:
            return True
        self._leads = False  # while nobody can be asked, too
        self._leads = await self._news.lead()
        if self._leads:
            if now - self._led_at > self._lease_seconds:  # another one may have gone on
                self._copier.forget()
                self._complete_at = self._clock()
                logger.info("this replica archives the channels")
            self._led_at = now
        return self._leads

    async def _look(self) -> None:
        """Archive everything that was there at the beginning."""
        started, cursor, is_whole = self._clock(), 0, True
        while True:
            marks, cursor = await self._news.marks(cursor)
            is_whole &= await self._copy(marks)
            if not cursor:
                break
        if is_whole:
            self._complete_at = started

    async def _copy(self, marks: Sequence[Mark]) -> bool:
        """Archive these channels; False where some of it has to wait."""
        waiting, is_whole = deque(marks), True
        while waiting:
            if not await self._lead():
                return False
            count = min(len(waiting), self._channels_at_once)
            taken = [waiting.popleft() for _ in range(count)]
            done: list[Mark] = []
            progress = await self._copier.copy([mark.channel for mark in taken])
            for mark, came in zip(taken, progress, strict=True):
                if came is Progress.DONE:
                    done.append(mark)
                elif came is Progress.MORE:
                    waiting.append(mark)
                else:
                    is_whole = False
            if done:
                await self._news.clear(done)
        return is_whole

    async def _prune(self) -> None:
        """Once in an hour remove what is too old, in small pieces."""
        if time.monotonic() < self._prune_at:
            return
        until = time.monotonic() + self._interval_seconds  # new messages do not wait for old ones
        now, named = self._clock(), self._namespaces.named
        lapsed_before = now - self._position_seconds
        for name in (None, *named):
            namespace = self._namespaces.default if name is None else named[name]
            before = now - namespace.archive_days * _DAY_SECONDS
            meant = [*named] if name is None else [name]
            while namespace.archive_days and await self._archive.prune(
                before, meant, all_but=name is None, lapsed_before=lapsed_before
            ):
                if time.monotonic() > until or not await self._lead():
                    return
        self._prune_at = time.monotonic() + _PRUNE_SECONDS

    def _note(self, trouble: str) -> None:
        if trouble != self._trouble:
            level = logging.WARNING if trouble else logging.INFO
            logger.log(level, f"the archive waits: {trouble}" if trouble else "the archive goes on")
            self._trouble = trouble
