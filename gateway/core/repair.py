"""Reading what a channel missed, once for all of its sockets."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

from gateway.core.track import Gap, Resumption, Start, Track, is_behind
from gateway.domain.errors import Unavailable
from gateway.domain.history import History, HistoryQuery
from gateway.domain.messages import Message
from gateway.ports.broker import Broker

_AT_ONCE_MAX = 100
_RETRY_SECONDS = 0.5
_READ_MAX = 1000
# How much is written to a reader in one go, and what all of them together are taken to read in a
# second. More at once would be more than may wait for one, and healthy readers would be closed.
_PART_BYTES = 131_072
_READ_BYTES_PER_SECOND = 200_000_000
_MESSAGE_BYTES = 200  # what stands around the data
_RESUME_ATTEMPTS = 5
_RESUME_READ_MAX = 10_000

logger = logging.getLogger(__name__)


class Repairs:
    """Fills gaps from the history and announces those that it cannot fill, in order.

    ``write`` returns how many bytes it wrote. While a channel is being repaired its messages are
    parked in its `Track`. Redis may be away
    for long: then the repair tries until it is back, and nothing goes out of order meanwhile.
    """

    def __init__(
        self,
        broker: Broker,
        tracks: Mapping[str, Track],
        write: Callable[[str, Sequence[Message]], int],
        announce: Callable[[str, Gap], None],
    ) -> None:
        self._broker = broker
        self._tracks = tracks
        self._write = write
        self._announce = announce
        self._wanted: dict[str, asyncio.Future[None]] = {}
        self._todo: asyncio.Queue[str] = asyncio.Queue()  # each channel stands in it once
        self.filled = 0

    def want(self, channel: str) -> "asyncio.Future[None]":
        """Have the channel looked at; the future ends when it has been, or could not be."""
        wanted = self._wanted.get(channel)
        if wanted is None:
            wanted = self._wanted[channel] = asyncio.get_running_loop().create_future()
            self._todo.put_nowait(channel)
        return wanted

    async def repair(self, channel: str) -> None:
        await asyncio.shield(self.want(channel))

    async def resumption(self, channel: str, start: Start, *, is_kept_seen: bool) -> Resumption:
        """What somebody has to get first who joins the channel; raises `Unavailable`.

        Unless ``is_kept_seen``, nothing of what the history keeps: only the gap is told.
        """
        track = self._tracks[channel]
        if start.is_now:
            return Resumption([], None, track.last)
        track.watch()
        try:
            for _ in range(_RESUME_ATTEMPTS):
                if start.since is not None:
                    start = Start(track.adopt(start.since))
                if start.since is not None and track.is_ahead(start.since):
                    await self.repair(channel)
                # Everything that is kept, whoever asks: so that all who ask now share one read.
                query = HistoryQuery(None, _READ_MAX if is_kept_seen else 0)
                history = await self._broker.history(channel, query)
                if start.since is not None and len(history.messages) == _READ_MAX:
                    query = HistoryQuery(start.since, _RESUME_READ_MAX)
                    history = await self._broker.history(channel, query)
                resumption = track.resume(start, history)
                if resumption is not None:
                    return resumption
                await self.repair(channel)
        finally:
            track.unwatch()
        raise Unavailable("the channel's history changes too fast to be read")

    async def run(self) -> None:
        """Repair what is wanted until cancelled, a hundred channels at a time."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE_MAX):
                group.create_task(self._work(), name="repair")

    async def _work(self) -> None:
        while True:
            channel = await self._todo.get()
            try:
                await self._repair(channel)
            except Exception:
                logger.exception("a channel could not be repaired")
            finally:
                self._wanted.pop(channel).set_result(None)

    async def _repair(self, channel: str) -> None:
        while (track := self._tracks.get(channel)) is not None:
            since = track.ask()
            try:
                history = await self._broker.history(channel, HistoryQuery(since, _READ_MAX))
            except Unavailable:
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            written = 0
            for number, part in enumerate(parts_of(history)):
                if number:
                    await asyncio.sleep(written / _READ_BYTES_PER_SECOND)
                if self._tracks.get(channel) is not track:
                    break  # it was released, and perhaps joined anew, while we waited
                if number and is_behind(part.top, track.last):
                    continue  # what came live in the meantime went on from there
                written = self._fill(channel, track, part)
            else:
                if not track.is_parking and len(history.messages) < _READ_MAX:
                    return

    def _fill(self, channel: str, track: Track, history: History) -> int:
        ready, gap = track.fill(history)
        if gap is not None:
            self._announce(channel, gap)
        self.filled += len(ready)
        return self._write(channel, ready) if ready else 0


def parts_of(history: History) -> Iterator[History]:
    """The history as several that follow each other, each of about as much as is written in one
    go; the last one is about the rest, and all that is said of the whole holds for it.
    """
    messages, start, size = history.messages, 0, 0
    for end, message in enumerate(messages):
        if size > _PART_BYTES:
            # To this part its own end is the top: what comes next is not missing yet.
            part = messages[start:end]
            yield history._replace(messages=part, top=part[-1].position)
            start, size = end, 0
        size += len(message.data) + _MESSAGE_BYTES
    yield history if not start else history._replace(messages=messages[start:])
