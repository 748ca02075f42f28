"""A listener over plain HTTP: a channel as Server-Sent Events, behind the same door as a socket.

It is an ASGI response like any other, for any server: the request's own coroutine writes, and a
task waits for the client to leave. Who is refused is answered in HTTP, before the stream begins.
"""

import asyncio
import math
import random
import time
from collections.abc import Mapping, Sequence

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.core.session import Session
from gateway.domain.errors import GatewayError, InvalidToken, Unavailable
from gateway.protocols.event_stream import (
    MEDIA_TYPE,
    PING,
    count_events,
    last_event,
    notice_event,
    position_mark,
    retry_after,
)
from gateway.sockets.asgi import headers_of, query_of
from gateway.sockets.door import Door
from gateway.sockets.events import EVENT_WIRES, continued, farewell
from gateway.sockets.http import CONNECTION, Connection
from gateway.sockets.outbox import Outbox

# In seconds. Each listener gets a time of its own, or all that a replica had would come back to
# the next one in the same moment.
_RETRY_MIN, _RETRY_MAX = 1.0, 3.0
_HEADERS = [
    (b"content-type", MEDIA_TYPE.encode()),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # or nginx would keep small events until there are more
]


class EventStream(Response):
    """One listener, from its request to its end."""

    due = 0
    _outbox: Outbox

    def __init__(self, door: Door, channel: str) -> None:
        self.background = None
        self._door = door
        self._channel = channel
        self._address = ""
        self._session: Session | None = None  # while it is live
        self._connection: Connection | None = None
        self._wake = asyncio.Event()
        # For this client alone, in front of what waits: never more than a few lines.
        self._aside = b""
        self._patience = asyncio.timeout(None)
        self._end_error: GatewayError | None = None
        self._is_gone = False
        # What is being written, and seconds of the wheel's clock: since when, and when last.
        self._sending_bytes = 0
        self._sending_since = 0
        self._wrote = 0
        self._expires = 0
        self._notice_due = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        door, headers = self._door, headers_of(scope)
        self._connection = scope.get("state", {}).get(CONNECTION)
        if self._connection is not None:
            self._connection.on_shutdown = self._restart
        try:
            try:
                if refusal := door.origin_refusal(headers):
                    raise refusal
                self._address = door.address_of(scope.get("client"), headers)
                session = await self._join(continued(query_of(scope), headers), headers)
            except GatewayError as refusal:
                # The application answers it, and logs what it answers.
                door.room.count_refusal(refusal)
                raise
            start = {"type": "http.response.start", "status": 200, "headers": self._head(headers)}
            await self._live(session, start, receive, send)
        finally:
            if self._connection is not None:
                self._connection.on_shutdown = None

    async def _join(
        self, query: Mapping[str, Sequence[str]], headers: Mapping[str, str]
    ) -> Session:
        door, channel = self._door, self._channel
        admission = door.admit(channel, query, headers, self._address)
        self._outbox = door.outbox(channel, count_events, last_event)
        session: Session | None = None
        door.counts.joining += 1
        try:
            principal = admission.principal or await door.redeem(admission.ticket)
            format, wire = admission.format, EVENT_WIRES[admission.format]
            session = Session(self, door.hub, principal, channel, format, wire, self._put)
            await session.join(admission.start)
            door.check(principal)  # it may have been revoked while we waited
            if self._end_error is not None:
                raise self._end_error
        except BaseException:
            if session is not None:
                session.leave()
            raise
        finally:
            door.counts.joining -= 1
        return session

    def _head(self, headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
        """A page of another origin that may connect may also read, as it may from a socket."""
        origin = headers.get("origin")
        if origin is None:
            return _HEADERS
        allowed = (b"access-control-allow-origin", origin.encode("latin-1"))
        head = [*_HEADERS, allowed, (b"vary", b"origin")]
        if origin in self._door.allowed_origins:  # its cookie may count, too
            head.append((b"access-control-allow-credentials", b"true"))
        return head

    # Called by the session.

    def send(self, payload: bytes) -> None:
        """Never called: a session answers what its client says, and this one says nothing."""

    def refuse(self, error: GatewayError) -> None:
        self._end(error)

    # The life of the stream.

    async def _live(
        self, session: Session, start: dict[str, object], receive: Receive, send: Send
    ) -> None:
        door = self._door
        self._aside = retry_after(_retry_seconds())
        if not self._outbox:
            # Also who leaves before the first message comes back to where it was.
            self._aside += position_mark(door.hub.position(self._channel))
        self._session = session
        door.enter(session, self._address)
        watching = door.tasks.start(self._watch(receive), "watch")
        try:
            self._set_out(session)
            if self._connection is not None:
                self._connection.give_up_after(door.ping_timeout_seconds)
            async with self._patience:
                await send(start)
                await self._write(session, send)
        except TimeoutError:
            if self._connection is not None:
                # The server would wait for its buffer to be read, which may be never.
                self._connection.abort()
                await asyncio.wait([watching], timeout=1)
        except OSError:
            pass  # so some servers say that the client has gone
        finally:
            self._leave()
            watching.cancel()

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass  # a body, which means nothing here
        self._is_gone = True
        self._leave()
        self._wake.set()

    async def _write(self, session: Session, send: Send) -> None:
        outbox, now = self._outbox, self._door.wheel.now
        while not self._is_gone:
            if self._aside:
                body, self._aside = self._aside, b""
            elif outbox:
                missing, body = outbox.take()
                if notice := self._door.gap_notice(session, missing):
                    body = notice_event("gap", notice) + body
            elif self._end_error is not None:
                body = farewell(session.format, self._end_error)
                await send({"type": "http.response.body", "body": body})
                return
            else:
                self._wake.clear()
                await self._wake.wait()
                continue
            self._sending_bytes, self._sending_since = len(body), now()
            await send({"type": "http.response.body", "body": body, "more_body": True})
            self._sending_bytes, self._wrote = 0, now()

    def send_rest(self, rest: bytes) -> None:
        self._put(rest)  # never called: `_put` takes everything

    def _put(self, batch: bytes) -> None:
        if self._end_error is not None:
            return
        # One batch may be larger than the outbox; who has not taken the one before is slow.
        is_behind = self._sending_bytes > 0 or len(self._outbox) > 0
        fits = self._outbox.put(batch, self._sending_bytes)
        self._wake.set()
        if is_behind and not fits:
            # Nothing is lost with it: a browser comes back and says how far it got.
            self._door.counts.slow_closed += 1
            self._outbox.clear()
            self._end(Unavailable("slow consumer: too much is waiting to be read"))

    def _restart(self) -> None:
        self._end(Unavailable("this replica restarts", _retry_seconds()))

    def _end(self, error: GatewayError) -> None:
        """Hear nothing more; the farewell goes out behind what waits, or the connection is cut."""
        if self._end_error is not None:
            return
        self._end_error = error
        if self._session is not None:
            self._leave()
            self._cut(self._door.close_timeout_seconds)
        self._wake.set()

    def _cut(self, seconds: float) -> None:
        self._patience.reschedule(asyncio.get_running_loop().time() + seconds)

    def _leave(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            self._door.wheel.discard(self)
            session.leave()
            self._door.leave(session, self._address)

    # Among the others: timed.

    def _set_out(self, session: Session) -> None:
        door = self._door
        now = self._wrote = door.wheel.now()
        # Rounded up: nobody is told that a token has expired that has not.
        self._expires = math.ceil(time.monotonic() + session.principal.expires_at - time.time())
        if door.expiry_notice_seconds:
            self._notice_due = max(self._expires - door.expiry_notice_seconds, now + 1)
        door.wheel.schedule(self, self._next())

    def tick(self, now: int) -> int:
        """The wheel's visit."""
        door, session = self._door, self._session
        if session is None:
            return 0
        if now >= self._expires:
            self._end(InvalidToken("the token has expired"))
            return 0
        if self._notice_due and now >= self._notice_due:
            self._notice_due = 0
            if notice := door.expiry_notice(session):
                self._say(notice_event("expires", notice))
        if self._sending_bytes:
            if now - self._sending_since >= door.ping_timeout_seconds:
                # It has stopped reading; saying goodbye would wait behind what it does not read.
                door.counts.dead_closed += 1
                self._end(Unavailable("the client has stopped reading"))
                self._cut(0)
                return 0
        elif now - self._wrote >= door.ping_interval_seconds:
            self._wrote = now
            self._say(PING)
        return self._next()

    def _say(self, words: bytes) -> None:
        self._aside += words
        self._wake.set()

    def _next(self) -> int:
        """When something is due again."""
        if self._sending_bytes:
            second = self._sending_since + self._door.ping_timeout_seconds
        else:
            second = self._wrote + self._door.ping_interval_seconds
        second = min(second, self._expires)
        return min(second, self._notice_due) if self._notice_due else second


def _retry_seconds() -> float:
    return random.uniform(_RETRY_MIN, _RETRY_MAX)
