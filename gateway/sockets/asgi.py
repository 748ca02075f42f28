"""The portable door: the same socket as an ASGI application, for any server and any host app.

It costs a task and a queue per socket, and leaves pings and the rules of frames to the server.
Where the gateway starts its own server, the native door takes its place, or `HardenedWebSockets`
keeps the same rules for this one.
"""

import asyncio
import contextlib
import re
import time
from collections import deque
from typing import Any
from urllib.parse import parse_qs

from starlette.responses import Response
from starlette.routing import WebSocketRoute
from starlette.types import Receive, Scope, Send

from gateway.core.session import Session
from gateway.domain.errors import GatewayError, InvalidRequest, InvalidToken
from gateway.protocols.answers import with_safe
from gateway.protocols.frames import payloads_of
from gateway.protocols.upgrade import Upgrade
from gateway.sockets.closing import INTERNAL, OVERLOADED, POLICY, TOO_BIG, closing_of
from gateway.sockets.door import PATH_PREFIX, Door, channel_of, chosen_subprotocol
from gateway.sockets.http import error_response
from gateway.sockets.log import ABNORMAL
from gateway.sockets.outbox import Outbox
from gateway.sockets.wires import FRAME_WIRES

_ANSWERS_MAX = 1000


def socket_route(door: Door) -> WebSocketRoute:
    """The route of the portable door."""
    route = WebSocketRoute(PATH_PREFIX + "{channel:path}", AsgiDoor(door), name="listen")
    # Any name at all, also one with a line break in it: the door says what a channel is.
    route.path_regex = re.compile(f"^{PATH_PREFIX}(?P<channel>.*)\\Z", re.DOTALL)
    return route


class AsgiDoor:
    """An ASGI application for the scope type ``websocket``."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        door, upgrade = self._door, _upgrade_of(scope)
        await receive()  # websocket.connect
        if refusal := door.head_refusal(upgrade.headers):
            await deny(*refusal, scope, receive, send)
            return
        address = door.address_of(scope.get("client"), upgrade.headers)
        await AsgiSocket(door, receive, send).serve(upgrade, address)


class AsgiSocket:
    """One connection, from its handshake to its end: a coroutine that reads and one that writes."""

    _outbox: Outbox

    def __init__(self, door: Door, receive: Receive, send: Send) -> None:
        self._door = door
        self._receive = receive
        self._send = send
        self._is_publishing = False
        self._is_sending = False
        # Answers to this client alone: past the outbox, whose policy is about messages.
        self._answers: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._closing: asyncio.Future[tuple[int, str]] = asyncio.Future()
        self._peer_code = ABNORMAL

    async def serve(self, upgrade: Upgrade, address: str) -> None:
        door, (_, query, headers) = self._door, upgrade
        accept = {"type": "websocket.accept", "subprotocol": chosen_subprotocol(upgrade)}
        session: Session | None = None
        try:
            admission = door.admit(channel_of(upgrade), query, headers, address)
            principal, ticket, channel, format, start = admission
            self._outbox = door.outbox(channel)
            wire = FRAME_WIRES[format]
            door.counts.joining += 1
            try:
                if principal is None:
                    principal = await door.redeem(ticket)
                session = Session(self, door.hub, principal, channel, format, wire, self._put)
                await session.join(start)
                door.check(principal)  # it may have been revoked while we waited
                await self._send(accept)  # raises where the client has left meanwhile
            finally:
                door.counts.joining -= 1
            await self._live(session, address)
        except GatewayError as refusal:
            # Accepted and then closed: before the accept a browser learns nothing but 1006.
            door.refused(channel_of(upgrade), refusal)
            await self._send(accept)
            await self._say_goodbye(*closing_of(refusal))
        finally:
            if session is not None:
                session.leave()

    # Called by the session.

    def send(self, payload: bytes) -> None:
        if len(self._answers) >= _ANSWERS_MAX:
            self._close(OVERLOADED, "slow consumer: too much is waiting to be read")
        elif not self._closing.done():
            self._answers.append(payload)
            self._wake.set()

    def refuse(self, error: GatewayError) -> None:
        self._close(*closing_of(error))

    # The life of the socket.

    async def _live(self, session: Session, address: str) -> None:
        self._door.enter(session, address)
        try:
            # Once more: it may have been revoked while the server was sending the 101.
            self._door.check(session.principal)
            await self._talk(session)
        except InvalidToken as refusal:
            await self._say_goodbye(*closing_of(refusal))
        finally:
            self._door.leave(session, address, self._code())

    async def _talk(self, session: Session) -> None:
        reading = self._door.tasks.start(self._read(session), "read")
        writing = self._door.tasks.start(self._write(session), "write")
        ends: list[asyncio.Future[Any]] = [reading, writing, self._closing]
        try:
            done = await self._until_expiry(session, ends)
            if not done:
                self._close(POLICY, "the token has expired")
            elif not self._closing.done():
                # The client has left; what it said before that is still being published.
                session.leave()
                await asyncio.wait([reading], timeout=_left(session))
                return
            # The farewell goes out behind what waits, unless the peer takes too long to read.
            await self._say_goodbye(*self._closing.result(), writing)
        finally:
            writing.cancel()
            if not self._is_publishing:  # what is on its way is not broken off half-way
                reading.cancel()

    async def _until_expiry(
        self, session: Session, ends: list[asyncio.Future[Any]]
    ) -> set[asyncio.Future[Any]]:
        """Wait for one of these, and say so before the token expires; empty once it has."""
        notice_seconds = self._door.expiry_notice_seconds
        first = asyncio.FIRST_COMPLETED
        if notice_seconds:
            until_notice = max(_left(session) - notice_seconds, 0)
            done, _ = await asyncio.wait(ends, timeout=until_notice, return_when=first)
            if done:
                return done
            if notice := self._door.expiry_notice(session):
                self.send(notice)
        done, _ = await asyncio.wait(ends, timeout=_left(session), return_when=first)
        return done

    async def _read(self, session: Session) -> None:
        # One message at a time: a client that sends faster than we publish is slowed down by
        # the server, which stops reading it. What it said before it left is published.
        while not self._closing.done():
            event = await self._receive()
            # Neither this nor a publish need wait for anything; the others want their turn.
            await asyncio.sleep(0)
            if event["type"] == "websocket.disconnect":
                self._peer_code = event.get("code", ABNORMAL)
                return
            text = event.get("text")
            if text is None:
                session.reply_error(InvalidRequest("binary messages are not understood; send text"))
            elif len(text.encode(errors="replace")) > self._door.message_bytes_max:
                self._close(TOO_BIG, f"a message has at most {self._door.message_bytes_max} bytes")
            else:
                await self._publish(session, text)

    async def _publish(self, session: Session, text: str) -> None:
        self._is_publishing = True
        try:
            await session.receive(text)
        except Exception:
            self._close(INTERNAL, "internal error")
            raise
        finally:
            self._is_publishing = False

    async def _write(self, session: Session) -> None:
        outbox = self._outbox
        with contextlib.suppress(OSError):  # so a server says that the client has gone
            while True:
                await self._wake.wait()
                self._wake.clear()
                while outbox or self._answers:
                    while self._answers:
                        text = self._answers.popleft().decode()
                        await self._send({"type": "websocket.send", "text": text})
                    if not outbox:
                        break
                    missing, batch = outbox.take()
                    self._is_sending = True
                    notice = self._door.gap_notice(session, missing)
                    for payload in (*([notice] if notice else ()), *payloads_of(batch)):
                        await self._send({"type": "websocket.send", "text": payload.decode()})
                    self._is_sending = False
                if self._closing.done():
                    return

    def send_rest(self, rest: bytes) -> None:
        self._put(rest)  # never called: `_put` takes everything

    def _put(self, batch: bytes) -> None:
        if self._closing.done():
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
        if not self._closing.done():
            self._closing.set_result((code, reason))
            self._wake.set()

    def _code(self) -> int:
        return self._closing.result()[0] if self._closing.done() else self._peer_code

    async def _say_goodbye(self, code: int, reason: str, *behind: asyncio.Task[None]) -> None:
        # A peer that reads nothing would hold the close frame up for ever.
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(self._door.close_timeout_seconds):
                for task in behind:
                    await asyncio.wait([task])
                await self._send({"type": "websocket.close", "code": code, "reason": reason})


def _left(session: Session) -> float:
    return max(session.principal.expires_at - time.time(), 0)


def query_of(scope: Scope) -> dict[str, list[str]]:
    return parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)


def headers_of(scope: Scope) -> dict[str, str]:
    """By lower-case name; a repeated header is the same as one list."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _upgrade_of(scope: Scope) -> Upgrade:
    # Where the gateway is mounted below a path, the host's router has taken that path off.
    path = PATH_PREFIX + scope["path_params"]["channel"]
    return Upgrade(path, query_of(scope), headers_of(scope))


async def deny(status: int, detail: str, scope: Scope, receive: Receive, send: Send) -> None:
    if "websocket.http.response" in scope.get("extensions", {}):
        _, _, problem = error_response(status, detail).partition(b"\r\n\r\n")
        response = Response(problem, status, media_type="application/problem+json")
        response.raw_headers = with_safe(response.raw_headers)
        await response(scope, receive, send)
    else:
        await send({"type": "websocket.close", "code": POLICY})  # servers answer this with 403
