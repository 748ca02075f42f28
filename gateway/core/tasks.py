"""Short tasks have an owner, too."""

import asyncio
import logging
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

logger = logging.getLogger(__name__)


class Tasks:
    """Runs what sockets start and cannot wait for; leaving the block ends what is left.

    Unlike in a bare `asyncio.TaskGroup`, a task that fails is logged and hurts nobody else.
    """

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._running: set[asyncio.Task[None]] = set()
        self._is_ending = False

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_ending = True
        for task in self._running:
            task.cancel()
        await self._group.__aexit__(kind, error, trace)

    def start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = self._group.create_task(self._guarded(work), name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        # A task that is cancelled before its first step has never begun its work.
        task.add_done_callback(lambda _: work.close())
        if self._is_ending:
            # The block has cancelled what ran, and would wait for this one as long as it likes.
            task.cancel()
        return task

    @property
    def count(self) -> int:
        """How many run now."""
        return len(self._running)

    async def finish(self, seconds: float) -> None:
        """Wait for what runs to come to its end, but not for longer than this."""
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            logger.exception("a task failed")
