"""Keeping a shared table current from a replica that counts for itself.

Counting is synchronous and never fails; the table follows in the background. What is announced
are counts, not steps, so repeating what may have been carried out does no harm.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator
from typing import Generic, NoReturn, TypeVar

from gateway.domain.errors import Unavailable

T = TypeVar("T", bound=Hashable)

_REPEAT_SECONDS = 60.0

logger = logging.getLogger(__name__)


class Changes(Generic[T]):
    """What has changed and must be announced: everything once, however often it changed.

    What changes during a call goes into the next one, so a storm costs a few calls.
    """

    def __init__(self) -> None:
        self._waiting: set[T] = set()
        self._wake = asyncio.Event()

    def add(self, *changed: T) -> None:
        self.update(changed)

    def update(self, changed: Iterable[T]) -> None:
        self._waiting.update(changed)
        self._wake.set()

    def wake(self) -> None:
        """Let whoever waits look again, though nothing has changed."""
        self._wake.set()

    @contextlib.contextmanager
    def taken(self, most: int) -> Iterator[list[T]]:
        """Some of it, which comes back where the block fails."""
        some = [self._waiting.pop() for _ in range(min(len(self._waiting), most))]
        try:
            yield some
        except BaseException:
            self.update(some)
            raise

    async def wait(self, seconds: float) -> None:
        """Return when there is something, or when called by `wake`, or after this time."""
        if not self._waiting:
            self._wake.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    def __len__(self) -> int:
        return len(self._waiting)


async def keep_trying(
    follow: Callable[[], Awaitable[NoReturn]], what: str, *, retry_seconds: float
) -> NoReturn:
    """Start again, after a while, whenever the table cannot be reached.

    The same trouble is told once a minute, or it would hide in the log what it comes from.
    """
    loop = asyncio.get_running_loop()
    told, again_at = "", 0.0
    while True:
        try:
            await follow()
        except Unavailable as trouble:
            if trouble.detail != told or loop.time() >= again_at:
                logger.warning("%s cannot be announced: %s", what, trouble.detail)
                told, again_at = trouble.detail, loop.time() + _REPEAT_SECONDS
            await asyncio.sleep(retry_seconds)
