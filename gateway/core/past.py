"""Reading what a channel keeps, and beyond that what its archive has."""

import logging
from collections.abc import Callable

from gateway.domain.errors import Unavailable
from gateway.domain.history import History, HistoryQuery
from gateway.domain.messages import BEGINNING, Message, Position
from gateway.domain.namespaces import Namespaces
from gateway.domain.past import answer_of, is_enough, newer_than
from gateway.ports.archive import Archive
from gateway.ports.broker import Broker

logger = logging.getLogger(__name__)


class Past:
    """Asks the broker first, and the archive only for what is older."""

    def __init__(
        self,
        broker: Broker,
        archive: Archive,
        namespaces: Namespaces,
        trouble: Callable[[], str] = str,
    ) -> None:
        """``trouble`` says why the archive cannot be asked at all; "" where it can."""
        self._broker = broker
        self._archive = archive
        self._namespaces = namespaces
        self._trouble = trouble

    async def history(self, channel: str, query: HistoryQuery) -> History:
        """Answer as `Broker.history` does, about everything that was ever archived.

        All epochs are one history, oldest first, and `BEGINNING` is the beginning of the first
        one. While the archive is away, the answer is what the broker keeps, and not complete.
        Raises `Unavailable` where the broker does.
        """
        # In this order: what is trimmed in between is in the archive by then.
        kept = await self._broker.history(channel, query)
        if not self._namespaces.of(channel).archive or is_enough(query, kept):
            return kept
        try:
            if trouble := self._trouble():
                raise Unavailable(trouble)
            return await self._with_archive(channel, query, kept)
        except Unavailable as error:
            logger.warning("a history is answered without the archive: %s", error.detail)
            return kept._replace(is_complete=False)

    async def _with_archive(self, channel: str, query: HistoryQuery, kept: History) -> History:
        is_back = query.since is None or query.is_reverse
        follow = self._back if is_back else self._on
        way = await follow(channel, query, kept)
        if way is None:
            # A position of an epoch that nobody knows: the question is one for the first page.
            first = await self.history(channel, query.from_the_start())
            return first._replace(is_complete=False)
        answer = answer_of(query, kept.top, way)
        if kept.top != BEGINNING:
            return answer
        places = await self._archive.places([channel])
        return answer._replace(top=places[channel].position) if channel in places else answer

    async def _on(self, channel: str, query: HistoryQuery, kept: History) -> list[Message] | None:
        since = query.since or BEGINNING
        older = await self._archive.after(channel, since, query.reach)
        if older is None:
            return list(kept.messages) if since.epoch == kept.top.epoch else None
        return [*older, *newer_than(older, kept)]

    async def _back(self, channel: str, query: HistoryQuery, kept: History) -> list[Message] | None:
        since, top = query.since, kept.top
        way: list[Message] = []
        if since is None:
            way = list(kept.messages if query.is_reverse else reversed(kept.messages))
            begin = Position(top.epoch, top.offset + 1) if top != BEGINNING else None
        else:
            way = list(kept.messages) if since.epoch == top.epoch else []
            begin = since
        begin = way[-1].position if way else begin
        missing = query.reach - len(way)
        older = await self._archive.before(channel, begin, missing)
        if older is None and begin is not None and begin.epoch == top.epoch:
            older = await self._archive.before(channel, None, missing)  # of the epochs before
        return None if older is None else way + older
