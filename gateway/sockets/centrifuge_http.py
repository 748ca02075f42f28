"""A client of the Centrifuge protocol that is told things by an answer that goes on.

As `gateway.sockets.sse` it is an ASGI response for any server. What the client says comes by
`gateway.core.centrifuge.emulation`, from whichever replica its requests reached.
"""

import asyncio
from dataclasses import dataclass

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.core.centrifuge.client import Client
from gateway.core.centrifuge.clients import CONNECT_SECONDS
from gateway.core.centrifuge.conversation import carry_out
from gateway.core.centrifuge.emulation import Emulation, Outcome
from gateway.core.centrifuge.one_way import OneWayClient
from gateway.core.centrifuge.pings import Pings
from gateway.core.centrifuge.wire import ClientWire
from gateway.domain.errors import GatewayError
from gateway.protocols.centrifuge import codes
from gateway.protocols.centrifuge.codes import Disconnect
from gateway.sockets.door import Door
from gateway.sockets.http import CONNECTION, Connection
from gateway.sockets.inbox import Inbox
from gateway.sockets.queued import QueuedSocket

_WORD_BYTES = 100  # what a payload weighs besides what it says


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """``first`` stands in front of everything: with it the headers are on their way at once."""

    wire: ClientWire
    media_type: bytes
    first: bytes = b""
    is_one_way: bool = False


class ClientStream(QueuedSocket, Response):
    """One client, from the request with its first words to its end."""

    def __init__(
        self,
        door: Door,
        emulation: Emulation,
        form: Form,
        first_words: str | bytes,
        address: str,
    ) -> None:
        QueuedSocket.__init__(self, door, address)
        self.background = None
        self._emulation = emulation
        self._form = form
        self._first_words = first_words
        self._inbox: Inbox[str | bytes]
        self._unheard_bytes = 0
        self._connection: Connection | None = None
        self._patience = asyncio.timeout(None)
        self._is_gone = False
        self._sending_since = 0  # a second of the wheel's clock, while something is being sent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        door = self._door
        try:
            door.admit_client(self._address)
        except GatewayError as refusal:
            door.room.count_refusal(refusal)  # the application answers it, and logs what it answers
            raise
        self._connection = scope.get("state", {}).get(CONNECTION)
        wire, pings, entrance = self._form.wire, Pings.UNANSWERED, None
        if self._form.is_one_way:
            self._client = OneWayClient(door.clients, self, wire, pings=pings)
        else:
            entrance = self._emulation.open(self.hear)
            self._client = Client(door.clients, self, wire, pings=pings, entrance=entrance)
        self._inbox = Inbox(self._carry_out, self._fail, self, door.tasks)
        door.counts.joining += 1
        try:
            await self._live(scope, receive, send)
        finally:
            if self._connection is not None:
                self._connection.on_shutdown = None
            if entrance is not None:
                self._emulation.close(entrance)
            door.wheel.discard(self)
            self._leave()

    # What the client says.

    def hear(self, payload: str | bytes) -> Outcome:
        """Called for the first words, and for each request that brings more."""
        if self._closing is not None or self._is_gone:
            return Outcome.UNKNOWN
        size = len(payload) + _WORD_BYTES
        if self._unheard_bytes + size > self._door.outbox_bytes_max:
            return Outcome.BUSY
        self._unheard_bytes += size
        self._inbox.put(payload)
        return Outcome.HEARD

    async def _carry_out(self, *payloads: str | bytes) -> None:
        commands = [command for payload in payloads for command in self._client.take(payload)]
        await carry_out(self._client, *commands)
        self._unheard_bytes -= sum(len(payload) + _WORD_BYTES for payload in payloads)

    def pause_reading(self) -> None:
        """There is nothing to pause: who says too much is told so, by `hear`."""

    def resume_reading(self) -> None:
        """See `pause_reading`."""

    def _fail(self) -> None:
        self._client.disconnect(codes.SERVER_ERROR)

    # The life of the stream.

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        door, connection = self._door, self._connection
        if connection is not None:
            connection.on_shutdown = self._shut_down
            connection.give_up_after(door.ping_timeout_seconds)
        door.wheel.schedule(self, door.wheel.now() + CONNECT_SECONDS)
        watching = door.tasks.start(self._watch(receive), "watch")
        try:
            async with self._patience:
                await send({"type": "http.response.start", "status": 200, "headers": self._head()})
                if self._form.first:
                    await self._send_on(send, self._form.first)
                self.hear(self._first_words)
                await self._write(send)
        except TimeoutError:
            if connection is not None:
                # The server would wait for its buffer to be read, which may be never.
                connection.abort()
                await asyncio.wait([watching], timeout=1)
        except OSError:
            pass  # so some servers say that the client has gone
        finally:
            watching.cancel()

    def _head(self) -> list[tuple[bytes, bytes]]:
        return [
            (b"content-type", self._form.media_type),
            (b"cache-control", b"no-store, no-transform"),
            (b"x-accel-buffering", b"no"),  # or nginx would keep small events until there are more
        ]

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass  # the rest of a body that means nothing here
        self._is_gone = True
        self._leave()
        self._wake.set()

    async def _write(self, send: Send) -> None:
        while not self._is_gone:
            if self._backlog:
                # What is being sent still waits: it is taken off when the server has it.
                payload = self._backlog.first()
                await self._send_on(send, payload)
                if self._backlog and self._backlog.first() is payload:
                    self._backlog.take()
            elif self._closing is not None:
                wire, why = self._form.wire, Disconnect(*self._closing)
                body = wire.frame_of(wire.codec.push("", why))
                await send({"type": "http.response.body", "body": body})
                return
            else:
                self._wake.clear()
                await self._wake.wait()

    async def _send_on(self, send: Send, body: bytes) -> None:
        self._sending_since = self._door.wheel.now()
        await send({"type": "http.response.body", "body": body, "more_body": True})
        self._sending_since = 0

    # Ending.

    def _shut_down(self) -> None:
        self._client.end(self._door.drain.farewell())

    def close(self, code: int, reason: str) -> None:
        """The reason goes out behind what waits, or the connection is cut."""
        if self._closing is None:
            super().close(code, reason)
            self._inbox.clear()  # it may not say anything any more
            self._cut(self._door.close_timeout_seconds)

    def _cut(self, seconds: float) -> None:
        self._patience.reschedule(asyncio.get_running_loop().time() + seconds)

    def tick(self, now: int) -> int:
        """The wheel's visit."""
        timeout = self._door.ping_timeout_seconds
        if self._sending_since and now - self._sending_since >= timeout and self._closing is None:
            # It has stopped reading; saying goodbye would wait behind what it does not read.
            self._door.counts.dead_closed += 1
            self.close(*codes.NO_PONG)
            self._cut(0)
            return 0
        return super().tick(now)
