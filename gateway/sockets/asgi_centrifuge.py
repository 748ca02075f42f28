"""The portable door of the Centrifuge protocol: the same clients as an ASGI application.

What `gateway.sockets.asgi` says of the portable door holds here, too: a task and a queue per
socket, and the rules of frames are the server's.
"""

import asyncio
import contextlib

from starlette.routing import WebSocketRoute
from starlette.types import Receive, Scope, Send

from gateway.core.centrifuge.client import Client
from gateway.core.centrifuge.clients import CONNECT_SECONDS
from gateway.core.centrifuge.refusals import disconnect_of
from gateway.domain.errors import GatewayError
from gateway.protocols.centrifuge import codes
from gateway.protocols.upgrade import Upgrade
from gateway.sockets.asgi import deny, headers_of, query_of
from gateway.sockets.door import Door
from gateway.sockets.flavours import (
    CLIENT_PATH,
    JSON_FLAVOUR,
    NO_PROTOBUF,
    client_subprotocol,
    flavour_of,
)
from gateway.sockets.queued import QueuedSocket


def client_route(door: Door) -> WebSocketRoute:
    return WebSocketRoute(CLIENT_PATH, AsgiClientDoor(door), name="clients")


class AsgiClientDoor:
    """An ASGI application for the scope type ``websocket``."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        door = self._door
        upgrade = Upgrade(CLIENT_PATH, query_of(scope), headers_of(scope))
        await receive()  # websocket.connect
        if refusal := door.head_refusal(upgrade.headers):
            await deny(*refusal, scope, receive, send)
            return
        address = door.address_of(scope.get("client"), upgrade.headers)
        await AsgiClientSocket(door, receive, send, address).serve(upgrade)


class AsgiClientSocket(QueuedSocket):
    """One connection: a coroutine that reads, and a task that writes."""

    def __init__(self, door: Door, receive: Receive, send: Send, address: str) -> None:
        super().__init__(door, address)
        self._receive = receive
        self._send = send
        self._is_binary = False

    async def serve(self, upgrade: Upgrade) -> None:
        door = self._door
        accept = {"type": "websocket.accept", "subprotocol": client_subprotocol(upgrade)}
        is_pinged_by_frames = upgrade.query.get("cf_ws_frame_ping_pong") == ["true"]
        flavour = flavour_of(upgrade)
        wire = (flavour or JSON_FLAVOUR).messages
        self._is_binary = flavour is not None and flavour.is_binary
        self._client = Client(door.clients, self, wire, is_pinged_by_frames=is_pinged_by_frames)
        door.counts.joining += 1
        try:
            door.wheel.schedule(self, door.wheel.now() + CONNECT_SECONDS)
            await self._send(accept)
            try:
                door.admit_client(self._address)
            except GatewayError as refusal:
                why = disconnect_of(refusal)
                self._reject(why.code, f"{why.reason}: {refusal.detail}")
            else:
                if flavour is None:
                    code, reason = codes.INAPPROPRIATE_PROTOCOL
                    self._reject(code, f"{reason}: {NO_PROTOBUF}")
            await self._talk()
        finally:
            door.wheel.discard(self)
            self._leave()

    def _reject(self, code: int, reason: str) -> None:
        self._door.counts.refused += 1
        self.close(code, reason)

    async def _talk(self) -> None:
        reading = self._door.tasks.start(self._read(), "read")
        writing = self._door.tasks.start(self._write(), "write")
        try:
            await asyncio.wait([reading, writing], return_when=asyncio.FIRST_COMPLETED)
            if self._closing is not None:
                await self._say_goodbye(writing)
        finally:
            reading.cancel()
            writing.cancel()

    async def _read(self) -> None:
        # One message at a time: a client that says more than we can carry out is slowed down by
        # the server, which stops reading it.
        client = self._client
        while self._closing is None:
            event = await self._receive()
            await asyncio.sleep(0)  # neither of these need wait; the others want their turn
            if event["type"] == "websocket.disconnect":
                return
            said = event.get("text")
            if said is None:
                said = event["bytes"]
            if client.is_pinged_by_frames:
                client.heard()
            self.is_reading_paused = True
            try:
                await client.carry_out(*client.take(said))
            except Exception:
                client.disconnect(codes.SERVER_ERROR)
                raise
            finally:
                self.is_reading_paused = False

    async def _write(self) -> None:
        with contextlib.suppress(OSError):  # so a server says that the client has gone
            while self._closing is None or self._backlog:
                if not self._backlog:
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                # What is being sent still waits: it is taken off when the server has it.
                payload = self._backlog.first()
                said = {"bytes": payload} if self._is_binary else {"text": payload.decode()}
                await self._send({"type": "websocket.send", **said})
                if self._backlog and self._backlog.first() is payload:
                    self._backlog.take()

    async def _say_goodbye(self, writing: "asyncio.Task[None]") -> None:
        assert self._closing is not None
        code, reason = self._closing
        # A peer that reads nothing would hold the close frame up for ever.
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(self._door.close_timeout_seconds):
                await asyncio.wait([writing])
                await self._send({"type": "websocket.close", "code": code, "reason": reason})

    # Called by the client.

    def ping(self) -> None:
        if self._client.is_pinged_by_frames:
            self._client.heard()  # the server pings, and ends who does not answer
        else:
            super().ping()
