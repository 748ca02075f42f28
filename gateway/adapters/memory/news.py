"""The marks of a replica that is alone, and always has the lead."""

import itertools
import logging
from collections import OrderedDict
from collections.abc import Sequence

from gateway.ports.news import Mark, News

_MARKS_MAX = 100_000  # the broker keeps no more channels

logger = logging.getLogger(__name__)


class MemoryNews(News):
    def __init__(self) -> None:
        self._marks: OrderedDict[str, Mark] = OrderedDict()
        self._tokens = itertools.count()

    def mark(self, channel: str) -> None:
        self._marks[channel] = Mark(channel, str(next(self._tokens)))
        self._marks.move_to_end(channel)
        if len(self._marks) > _MARKS_MAX:
            lost, _ = self._marks.popitem(last=False)
            logger.error("the archive cannot keep up, and will lack messages of %s", lost)

    async def lead(self) -> bool:
        return True

    async def resign(self) -> None:
        """There is nobody else."""

    async def marks(self, cursor: int = 0) -> tuple[Sequence[Mark], int]:
        return list(self._marks.values()), 0

    async def clear(self, marks: Sequence[Mark]) -> None:
        for mark in marks:
            if self._marks.get(mark.channel) == mark:
                del self._marks[mark.channel]
