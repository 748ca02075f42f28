"""What a client has said and nobody has carried out yet."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from gateway.core.tasks import Tasks

_PAUSE_AT = 32
_RESUME_AT = 8
_TOGETHER_MAX = 64


T = TypeVar("T")


class Readable(Protocol):
    """Where messages come from; `asyncio.Transport` is one."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Inbox(Generic[T]):
    """Carries out a client's messages in order; what waits together goes together.

    A client that says more than we can carry out is slowed down by TCP: above 32 waiting
    messages its socket is not read. What one read had brought along is kept nevertheless.
    """

    __slots__ = (
        "_carry_out",
        "_fail",
        "_is_working",
        "_tasks",
        "_transport",
        "_waiting",
        "is_reading_paused",
    )

    def __init__(
        self,
        carry_out: Callable[..., Awaitable[None]],
        fail: Callable[[], None],
        transport: Readable,
        tasks: Tasks,
    ) -> None:
        """``carry_out`` takes what was put; ``fail`` is called when it raised the unexpected."""
        self._carry_out = carry_out
        self._fail = fail
        self._transport = transport
        self._tasks = tasks
        self._waiting: deque[T] = deque()
        self._is_working = False
        self.is_reading_paused = False

    def put(self, message: T) -> None:
        self._waiting.append(message)
        if not self._is_working:
            self._is_working = True
            self._tasks.start(self._work(), "receive")
        elif len(self._waiting) >= _PAUSE_AT and not self.is_reading_paused:
            self.is_reading_paused = True
            self._transport.pause_reading()

    def clear(self) -> None:
        self._waiting.clear()

    def resume_reading(self) -> None:
        if self.is_reading_paused:
            self.is_reading_paused = False
            self._transport.resume_reading()

    async def _work(self) -> None:
        # Goes on after the client has gone: what it said before that is not lost.
        try:
            while self._waiting:
                count = min(len(self._waiting), _TOGETHER_MAX)
                await self._carry_out(*(self._waiting.popleft() for _ in range(count)))
                if len(self._waiting) <= _RESUME_AT:
                    self.resume_reading()
                # A publish need not wait for anything; the others want their turn.
                await asyncio.sleep(0)
        except Exception:
            self._fail()
            raise
        finally:
            self._is_working = False
