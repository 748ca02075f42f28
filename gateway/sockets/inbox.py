"""What a client has said and nobody has carried out yet."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from gateway.core.tasks import Tasks

_PAUSE_AT = 32
_RESUME_AT = 8
_TOGETHER_MAX = 64


class Inbox:
    """Carries out a client's messages in order; what waits together goes together.

    A client that says more than we can carry out is slowed down by TCP: above 32 waiting
    messages its socket is not read. What one read had brought along is kept nevertheless.
    """

    __slots__ = (
        "_carry_out",
        "_fail",
        "_is_working",
        "_tasks",
        "_texts",
        "_transport",
        "is_reading_paused",
    )

    def __init__(
        self,
        carry_out: Callable[..., Awaitable[None]],
        fail: Callable[[], None],
        transport: asyncio.Transport,
        tasks: Tasks,
    ) -> None:
        """``carry_out`` takes texts; ``fail`` is called when it raised what nobody expected."""
        self._carry_out = carry_out
        self._fail = fail
        self._transport = transport
        self._tasks = tasks
        self._texts: deque[str] = deque()
        self._is_working = False
        self.is_reading_paused = False

    def put(self, text: str) -> None:
        self._texts.append(text)
        if not self._is_working:
            self._is_working = True
            self._tasks.start(self._work(), "receive")
        elif len(self._texts) >= _PAUSE_AT and not self.is_reading_paused:
            self.is_reading_paused = True
            self._transport.pause_reading()

    def clear(self) -> None:
        self._texts.clear()

    def resume_reading(self) -> None:
        if self.is_reading_paused:
            self.is_reading_paused = False
            self._transport.resume_reading()

    async def _work(self) -> None:
        # Goes on after the client has gone: what it said before that is not lost.
        try:
            while self._texts:
                count = min(len(self._texts), _TOGETHER_MAX)
                await self._carry_out(*(self._texts.popleft() for _ in range(count)))
                if len(self._texts) <= _RESUME_AT:
                    self.resume_reading()
                # A publish need not wait for anything; the others want their turn.
                await asyncio.sleep(0)
        except Exception:
            self._fail()
            raise
        finally:
            self._is_working = False
