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
from gateway.core.centrifuge.conversation import carry_out
from gateway.core.centrifuge.one_way import OneWayClient
from gateway.core.centrifuge.pings import Pings
from gateway.core.centrifuge.refusals import disconnect_of
from gateway.domain.errors import GatewayError
from gateway.protocols.centrifuge import codes
from gateway.protocols.centrifuge.codes import Disconnect
from gateway.protocols.upgrade import Upgrade
from gateway.sockets.asgi import deny, headers_of, query_of
from gateway.sockets.door import Door
from gateway.sockets.flavours import (
    CLIENT_PATHS,
    NO_PROTOBUF,
    ONE_WAY_PATH,
    client_subprotocol,
    flavour_of,
    json_flavour,
    pings_of,
    words_in,
)
from gateway.sockets.queued import QueuedSocket


def client_routes(door: Door) -> list[WebSocketRoute]:
    return [WebSocketRoute(path, AsgiClientDoor(door, path)) for path in sorted(CLIENT_PATHS)]


class AsgiClientDoor:
    """An ASGI application for the scope type ``websocket``."""

    def __init__(self, door: Door, path: str) -> None:
        self._door = door
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        door = self._door
        upgrade = Upgrade(self._path, query_of(scope), headers_of(scope))
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
        flavour = flavour_of(upgrade)
        wire, pings = (flavour or json_flavour(upgrade)).messages, pings_of(upgrade)
        self._is_binary = flavour is not None and flavour.is_binary
        kind = OneWayClient if upgrade.path == ONE_WAY_PATH else Client
        self._client = kind(door.clients, self, wire, pings=pings)
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
                elif (words := words_in(upgrade)) and not door.token_in_url_allowed:
                    code, reason = codes.DENIED
                    self._reject(code, f"{reason}: a token in the URL is turned off here")
                elif words:
                    await carry_out(self._client, *self._client.take(words))
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
            if client.pings.has_frames:
                client.heard()
            self.is_reading_paused = True
            try:
                await carry_out(client, *client.take(said))
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
                await self._send_all(payload)
                if self._backlog and self._backlog.first() is payload:
                    self._backlog.take()

    async def _send_all(self, payload: bytes) -> None:
        if self._is_binary:
            await self._send({"type": "websocket.send", "bytes": payload})
            return
        text = payload.decode()
        # Who has no library of the protocol reads one object a message.
        for each in text.split("\n") if self._client.is_one_way else (text,):
            await self._send({"type": "websocket.send", "text": each})

    async def _say_goodbye(self, writing: "asyncio.Task[None]") -> None:
        assert self._closing is not None
        code, reason = self._closing
        # A peer that reads nothing would hold the close frame up for ever.
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(self._door.close_timeout_seconds):
                await asyncio.wait([writing])
                if farewell := self._client.farewell(Disconnect(code, reason)):
                    await self._send_all(farewell)
                await self._send({"type": "websocket.close", "code": code, "reason": reason})

    # Called by the client.

    def ping(self) -> None:
        pings = self._client.pings
        if pings.has_frames:
            self._client.heard()  # the server pings, and ends who does not answer
        if pings is not Pings.FRAMES:
            super().ping()
