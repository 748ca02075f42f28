"""One connection to Redis that carries many commands at once: the publisher's."""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol, cast

import hiredis

from gateway.adapters.redis.places.connection import Place, greeting, open_connection


class Failure(Exception):
    """``is_silence``: it took the whole time-out, and what comes next will not do better."""

    def __init__(self, why: str, *, is_silence: bool = False) -> None:
        super().__init__(why)
        self.is_silence = is_silence


class NotSent(Failure):
    """Redis could not be reached, and has seen none of the commands."""


class Unanswered(Failure):
    """The commands were sent; some, all or none of them may have been carried out."""


class Commands(Protocol):
    """What a pipe does, also one that leads to several places; see `Pipe.execute`."""

    async def execute(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]: ...

    def close(self) -> None: ...


class Pipe:
    """Sends commands together and reads their replies, on a connection made when it is needed.

    redis-py spends some 50 µs of CPU on each command of a pipeline, hiredis alone 3. A command
    that gets no answer in time takes its connection with it, so that a late reply can never be
    taken for the reply to something else; and nothing is ever sent twice.
    """

    def __init__(self, place: Place, *, name: str, timeout_seconds: float) -> None:
        self._place = place
        self._name = name
        self._timeout_seconds = timeout_seconds
        self._wire: _Wire | None = None
        self.generation = ""  # of the Redis that answered last; see `Place.generation`
        self._run = ""  # and which start of it that was
        place.on_move(self.close)

    async def open(self) -> str:
        """Connect unless it is connected; return which life of the data is at the other end.

        That is its generation, a space, and the run of the Redis process: each is "" where nobody
        tells. Raises `NotSent`.
        """
        await self._connected()
        return f"{self.generation} {self._run}"

    async def execute(
        self, commands: Sequence[tuple[Any, ...]], made_for: str | None = None
    ) -> list[Any]:
        """Return the replies in order, errors as `hiredis.ReplyError` among them.

        One call at a time. Commands that were ``made_for`` one life are not sent to another.
        Raises `NotSent` or `Unanswered`.
        """
        wire = await self._connected()
        if made_for not in (None, f"{self.generation} {self._run}"):
            raise NotSent("another Redis has taken over")
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await wire.ask(commands)
        except TimeoutError:
            raise Unanswered("Redis did not answer in time", is_silence=True) from None
        finally:
            if wire.is_waiting:
                self.close()

    def close(self) -> None:
        if self._wire is not None:
            self._wire.abort()
            self._wire = None

    async def _connected(self) -> "_Wire":
        if self._wire is not None and not self._wire.is_lost:
            return self._wire
        wire: _Wire | None = None
        try:
            async with asyncio.timeout(self._timeout_seconds):
                address = await self._place.find()
                generation = self._place.generation
                wire = await open_connection(address, _Wire)
                *replies, server = await wire.ask(
                    [*greeting(address, self._name), ("INFO", "server")]
                )
            if generation != self._place.generation:
                raise ConnectionResetError("Redis moved meanwhile")
        except (OSError, TimeoutError, Unanswered) as error:
            if wire is not None:
                wire.abort()
            raise NotSent(
                f"Redis cannot be reached ({type(error).__name__})",
                is_silence=isinstance(error, TimeoutError),
            ) from None
        for reply in replies:
            if isinstance(reply, hiredis.ReplyError):
                wire.abort()
                raise NotSent(f"Redis answered: {str(reply)[:100]}")
        self._wire, self.generation, self._run = wire, generation, _run_of(server)
        return wire


def _run_of(server: Any) -> str:
    """The ``run_id`` in an answer to INFO; "" where this user may not ask."""
    if not isinstance(server, bytes):
        return ""
    _, _, rest = server.partition(b"run_id:")
    return rest.partition(b"\r")[0].decode("ascii", "replace")[:16]


class _Wire(asyncio.Protocol):
    """Counts replies: they come in the order of the commands."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._replies: list[Any] = []
        self._expected = 0
        self._answer: asyncio.Future[list[Any]] | None = None
        self.is_lost = False

    @property
    def is_waiting(self) -> bool:
        return self._answer is not None

    async def ask(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        self._answer = asyncio.get_running_loop().create_future()
        self._replies, self._expected = [], len(commands)
        self._transport.write(b"".join(map(hiredis.pack_command, commands)))
        replies = await self._answer
        self._answer = None
        return replies

    def abort(self) -> None:
        self._transport.abort()

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                self._replies.append(reply)
        except hiredis.HiredisError:
            self._transport.abort()
            return
        answer = self._answer
        if len(self._replies) >= self._expected and answer is not None and not answer.done():
            answer.set_result(self._replies)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(Unanswered("the connection to Redis was lost"))
