"""The portable door: the same socket as an ASGI application, for any server and any host app.

It costs a task and a queue per socket, and leaves pings and the size of messages to the server.
Where the gateway starts its own server, the native door takes its place.
"""

import asyncio
import contextlib
import time
from typing import Any
from urllib.parse import parse_qs

from starlette.types import Receive, Scope, Send

from gateway.core.session import Session
from gateway.domain.errors import GatewayError, InvalidRequest
from gateway.protocols.frames import payloads_of, text_frame
from gateway.protocols.upgrade import Upgrade
from gateway.sockets.closing import INTERNAL, OVERLOADED, POLICY, TOO_BIG, closing_of
from gateway.sockets.door import FRAME_WIRES, PATH_PREFIX, Door, chosen_subprotocol
from gateway.sockets.outbox import Outbox


class AsgiDoor:
    """An ASGI application for the scope type ``websocket``."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        door, upgrade = self._door, _upgrade_of(scope)
        await receive()  # websocket.connect
        if door.origin_refusal(upgrade):
            await send({"type": "websocket.close", "code": POLICY})  # servers answer this with 403
            return
        await AsgiSocket(door, receive, send).serve(upgrade)


class AsgiSocket:
    """One connection, from its handshake to its end: a coroutine that reads and one that writes."""

    _outbox: Outbox

    def __init__(self, door: Door, receive: Receive, send: Send) -> None:
        self._door = door
        self._receive = receive
        self._send = send
        self._is_sending = False
        self._wake = asyncio.Event()
        self._closing: tuple[int, str] | None = None

    async def serve(self, upgrade: Upgrade) -> None:
        door = self._door
        accept = {"type": "websocket.accept", "subprotocol": chosen_subprotocol(upgrade)}
        door.counts.joining += 1
        try:
            principal, channel, format = door.admit(upgrade)
            self._outbox = door.outbox(channel)
            wire = FRAME_WIRES[format]
            session = Session(self, door.hub, principal, channel, format, wire, self._put)
            await session.join()
        except GatewayError as refusal:
            # Accepted and then closed: before the accept a browser learns nothing but 1006.
            door.counts.refused += 1
            await self._send(accept)
            await self._say_goodbye(*closing_of(refusal))
            return
        finally:
            door.counts.joining -= 1
        try:
            await self._live(session, accept)
        finally:
            session.leave()

    # Called by the session.

    def send(self, payload: bytes) -> None:
        self._put(text_frame(payload))

    def refuse(self, error: GatewayError) -> None:
        self._close(*closing_of(error))

    # The life of the socket.

    async def _live(self, session: Session, accept: dict[str, Any]) -> None:
        door, user = self._door, session.principal.subject
        door.counts.open += 1
        door.counts.accepted += 1
        door.roster.join(user)
        tasks: list[asyncio.Task[None]] = []
        try:
            await self._send(accept)
            reading = door.tasks.start(self._read(session), "read")
            writing = door.tasks.start(self._write(session), "write")
            tasks += reading, writing
            left = session.principal.expires_at - time.time()
            done, _ = await asyncio.wait(
                [reading, writing], timeout=max(left, 0), return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                self._close(POLICY, "the token has expired")
            elif self._closing is None:
                # The client has left; what it said before that is still being published.
                session.leave()
                await asyncio.wait([reading], timeout=max(left, 0))
                return
            # The farewell goes out behind what waits, unless the peer takes too long to read.
            await asyncio.wait([writing], timeout=door.close_timeout_seconds)
            if self._closing is not None:
                await self._say_goodbye(*self._closing)
        finally:
            for task in tasks:
                task.cancel()
            door.counts.open -= 1
            door.roster.leave(user)

    async def _read(self, session: Session) -> None:
        # One message at a time: a client that sends faster than we publish is slowed down by
        # the server, which stops reading it. What it said before it left is published.
        while self._closing is None:
            event = await self._receive()
            # Neither this nor a publish need wait for anything; the others want their turn.
            await asyncio.sleep(0)
            if event["type"] == "websocket.disconnect":
                return
            text = event.get("text")
            if text is None:
                session.reply_error(InvalidRequest("binary messages are not understood; send text"))
            elif len(text.encode(errors="replace")) > self._door.message_bytes_max:
                self._close(TOO_BIG, f"a message has at most {self._door.message_bytes_max} bytes")
            else:
                try:
                    await session.receive(text)
                except Exception:
                    self._close(INTERNAL, "internal error")
                    raise

    async def _write(self, session: Session) -> None:
        outbox = self._outbox
        with contextlib.suppress(OSError):  # so a server says that the client has gone
            while True:
                await self._wake.wait()
                self._wake.clear()
                while outbox:
                    missing, batch = outbox.take()
                    self._is_sending = True
                    for payload in payloads_of(self._door.gap_notice(session, missing) + batch):
                        await self._send({"type": "websocket.send", "text": payload.decode()})
                    self._is_sending = False
                if self._closing is not None:
                    return

    def _put(self, batch: bytes) -> None:
        if self._closing is not None:
            return
        # One batch may be larger than the outbox; who has not taken the one before is slow.
        is_behind = self._is_sending or len(self._outbox) > 0
        fits = self._outbox.put(batch)
        self._wake.set()
        if is_behind and not fits:
            self._door.counts.slow_closed += 1
            self._outbox.clear()
            self._close(OVERLOADED, "slow consumer: too much is waiting to be read")

    def _close(self, code: int, reason: str) -> None:
        if self._closing is None:
            self._closing = (code, reason)
            self._wake.set()

    async def _say_goodbye(self, code: int, reason: str) -> None:
        # A peer that reads nothing would hold the close frame up for ever.
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(self._door.close_timeout_seconds):
                await self._send({"type": "websocket.close", "code": code, "reason": reason})


def _upgrade_of(scope: Scope) -> Upgrade:
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    # Where the gateway is mounted below a path, the host's router has taken that path off.
    return Upgrade(PATH_PREFIX + scope["path_params"]["channel"], query, headers)
