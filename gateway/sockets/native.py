"""The native door: a uvicorn WebSocket protocol class that is the live socket itself.

uvicorn hands over the request's head; the class authenticates, subscribes, answers 101 and
from then on writes frames straight to the transport. No ASGI task, queue or coroutine stays
behind per idle socket. Paths that are not ours are passed on to uvicorn's own class.
"""

import asyncio
import logging
import time
from collections import deque
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, SERVER
from websockets.protocol import Protocol as FrameParser

from gateway.core.session import Session
from gateway.domain.errors import GatewayError, InvalidRequest, LimitReached
from gateway.protocols.frames import PING_FRAME, close_frame, text_frame
from gateway.protocols.upgrade import BadUpgrade, Upgrade, accept_upgrade, parse_upgrade
from gateway.sockets.closing import INTERNAL, OVERLOADED, POLICY, RESTART, closing_of
from gateway.sockets.door import FRAME_WIRES, PATH_PREFIX, Admission, Door, chosen_subprotocol
from gateway.sockets.http import error_response

DOOR = "door"  # the name under which the lifespan state carries the `Door`

_INBOX_PAUSE = 32
_INBOX_RESUME = 8
_FRAGMENTS_MAX = 1000
_RETRY_MS_ON_RESTART = 1000
_PONG_BYTES = 6  # an empty pong: two bytes of header, four of mask
_PONG_START = b"\x8a\x80"

logger = logging.getLogger(__name__)
# The parser logs whole frames at DEBUG and every close at INFO: neither is for our log.
_parser_logger = logging.getLogger("gateway.sockets.frames")
_parser_logger.setLevel(logging.WARNING)


class NativeSocket(asyncio.Protocol):
    """One connection, from its handshake to its end."""

    __slots__ = (
        "_app_state",
        "_closing",
        "_config",
        "_door",
        "_early",
        "_expires",
        "_fragments",
        "_heard",
        "_inbox",
        "_parser",
        "_pinged",
        "_reading_paused",
        "_server_state",
        "_session",
        "_slow",
        "_transport",
        "_worker",
        "due",
    )

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._config = config
        self._server_state = server_state
        self._door: Door | None = app_state.get(DOOR)
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._app_state = app_state
        self._session: Session | None = None
        # What was written before the 101 went out; None from then on.
        self._early: list[bytes] | None = []
        # Made when the client first says something; an idle listener never needs it.
        self._parser: FrameParser | None = None
        self._fragments: list[bytes] | None = None
        self._inbox: deque[str] | None = None
        self._worker: asyncio.Task[None] | None = None
        self._reading_paused = False
        self._slow = False
        self._closing = False
        # Seconds of the wheel's clock: the last sign of life, the unanswered ping, the end.
        self._heard = 0
        self._pinged = 0
        self._expires = 0
        self.due = 0

    # Called by the server.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server_state.connections.add(cast(Any, self))

    def data_received(self, data: bytes) -> None:
        if self._session is not None or self._closing:
            self._receive(data)
        else:
            self._open(data)

    def eof_received(self) -> bool | None:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._server_state.connections.discard(cast(Any, self))
        self._closing = True
        if self._door is not None:
            self._door.wheel.discard(self)
        if self._worker is not None and self._early is not None:
            self._worker.cancel()  # it was still joining; one that publishes finishes its work
        self._leave()

    def pause_writing(self) -> None:
        self._slow = True
        if self._session is not None and not self._closing:
            self._session.write = self._write_slowly

    def resume_writing(self) -> None:
        self._slow = False
        if self._session is not None and not self._closing:
            self._session.write = self._transport.write

    def shutdown(self) -> None:
        """Part of the server's stop; the client is told when to come back."""
        self.close(RESTART, f"this replica restarts; retry_ms={_RETRY_MS_ON_RESTART}")

    # Opening.

    def _open(self, head: bytes) -> None:
        try:
            upgrade = parse_upgrade(head)
            if self._door is None or not upgrade.path.startswith(PATH_PREFIX):
                self._pass_on(head)
                return
            if refusal := self._door.origin_refusal(upgrade):
                raise BadUpgrade(403, refusal.detail)
            response = accept_upgrade(upgrade, chosen_subprotocol(upgrade))
        except BadUpgrade as bad:
            self._closing = True
            self._transport.write(error_response(bad.status, bad.detail, bad.headers))
            self._transport.close()
            return
        self._admit(self._door, upgrade, response)

    def _admit(self, door: Door, upgrade: Upgrade, response: bytes) -> None:
        try:
            admission = door.admit(upgrade)
            session = self._session = self._session_of(door, admission)
            joined = session.join_if_held()
        except GatewayError as refusal:
            self._reject(response, refusal)
            return
        door.counts.open += 1
        self._expires = self._wheel_second(door, admission.principal.expires_at)
        if joined:
            self._accept(door, session, response)
        else:
            self._worker = door.tasks.start(self._join(door, session, response), "join")

    def _session_of(self, door: Door, admission: Admission) -> Session:
        return Session(
            self,
            door.hub,
            admission.principal,
            admission.channel,
            admission.format,
            FRAME_WIRES[admission.format],
            self._hold,
        )

    async def _join(self, door: Door, session: Session, response: bytes) -> None:
        # The 101 waits for the broker's confirmation: to a plain client it is the sign that
        # nothing published from now on will be missed.
        try:
            await session.join()
        except GatewayError as refusal:
            self._worker = None
            self._leave()
            self._reject(response, refusal)
            return
        self._worker = None
        if not self._closing:
            self._accept(door, session, response)

    def _accept(self, door: Door, session: Session, response: bytes) -> None:
        door.counts.accepted += 1
        door.roster.join(session.principal.subject)
        early, self._early = self._early or [], None
        session.write = self._transport.write
        self._transport.write(b"".join((response, *early)))
        now = self._heard = door.wheel.now()
        door.wheel.schedule(self, min(now + door.ping_interval_seconds, self._expires))

    def _reject(self, response: bytes, refusal: GatewayError) -> None:
        if self._door is not None:
            self._door.counts.refused += 1
        self._session = None
        self._early = None
        if not self._closing:
            self._transport.write(response)
            self.close(*closing_of(refusal))

    def _pass_on(self, head: bytes) -> None:
        self._server_state.connections.discard(cast(Any, self))
        other = WebSocketsSansIOProtocol(self._config, self._server_state, self._app_state)
        other.connection_made(self._transport)
        other.data_received(head)
        # uvicorn sets this object as the protocol when we return; the swap has to come after.
        asyncio.get_running_loop().call_soon(self._transport.set_protocol, other)

    def _hold(self, batch: bytes) -> None:
        if self._early is not None:
            self._early.append(batch)

    # Receiving.

    def _receive(self, data: bytes) -> None:
        if self._door is not None:
            self._heard = self._door.wheel.now()
            self._pinged = 0
        if self._early is not None:
            return  # RFC 6455 section 4.1: a client is silent until it has the 101
        if self._parser is None:
            if len(data) == _PONG_BYTES and data.startswith(_PONG_START):
                return  # by far the most frequent input; a parser would cost 1 KB per socket
            size_max = self._door.message_bytes_max if self._door else None
            self._parser = FrameParser(SERVER, state=OPEN, max_size=size_max, logger=_parser_logger)
        self._parser.receive_data(data)
        for event in self._parser.events_received():
            if not self._closing:
                self._take(event)
        for output in self._parser.data_to_send():
            if not output:
                self._end(self._parser)
            elif self._session is not None:
                # Not past the outbox: a peer could ask for pongs and never read them.
                self._session.write(output)

    def _take(self, event: object) -> None:
        if not isinstance(event, Frame):
            return
        if event.opcode is Opcode.TEXT or event.opcode is Opcode.CONT:
            self._take_part(bytes(event.data), event.fin)
        elif event.opcode is Opcode.BINARY:
            # Also when it is fragmented: the parser keeps track, the first part is enough.
            if not event.fin:
                self.refuse(InvalidRequest("binary frames are not understood here"))
            elif self._session is not None:
                self._session.reply_error(
                    InvalidRequest("binary frames are not understood here; send text")
                )

    def _take_part(self, part: bytes, is_last: bool) -> None:
        if is_last and self._fragments is None:
            self._take_text(part)
            return
        fragments = self._fragments = [] if self._fragments is None else self._fragments
        fragments.append(part)
        if len(fragments) > _FRAGMENTS_MAX:
            # Empty fragments cost the sender nothing, and no size limit stops them.
            self.refuse(LimitReached("too many fragments in one message"))
        elif is_last:
            self._fragments = None
            self._take_text(b"".join(fragments))

    def _take_text(self, data: bytes) -> None:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            self.close(1007, "a text frame is UTF-8")
            return
        if self._door is None or self._session is None:
            return
        if self._inbox is None:
            self._inbox = deque()
        self._inbox.append(text)
        if self._worker is None:
            self._worker = self._door.tasks.start(self._work(self._session), "receive")
        elif len(self._inbox) >= _INBOX_PAUSE and not self._reading_paused:
            # A client that sends faster than we publish is slowed down by TCP.
            self._reading_paused = True
            self._transport.pause_reading()

    async def _work(self, session: Session) -> None:
        try:
            # Also after the client has gone: what it said before that is not lost.
            while self._inbox:
                await session.receive(self._inbox.popleft())
                if self._reading_paused and len(self._inbox) <= _INBOX_RESUME:
                    self._reading_paused = False
                    self._transport.resume_reading()
        except Exception:
            self.close(INTERNAL, "internal error")
            raise
        finally:
            self._worker = None

    # Sending and closing.

    def send(self, payload: bytes) -> None:
        if not self._closing and self._session is not None:
            self._session.write(text_frame(payload))

    def refuse(self, error: GatewayError) -> None:
        self.close(*closing_of(error))

    def close(self, code: int, reason: str) -> None:
        """Say goodbye, and make sure that it ends: the wheel cuts off a peer that stays."""
        if self._closing:
            return
        self._closing = True
        self._leave()
        if self._inbox is not None:
            self._inbox.clear()  # it may not say anything anymore
        if self._early is not None:
            self._transport.abort()  # still in the handshake: there is no socket to close
            return
        self._transport.write(close_frame(code, reason))
        self._end_soon()

    def _end(self, parser: FrameParser) -> None:
        """The closing handshake is complete, or the parser has given up on the peer."""
        self._closing = True
        self._leave()
        if parser.close_rcvd is None and self._transport.can_write_eof():
            # The peer may still be sending. Closing with unread input makes the kernel reset
            # the connection, and the peer would never read our close frame.
            self._transport.write_eof()
        else:
            self._transport.close()
        self._end_soon()

    def _end_soon(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            self._transport.resume_reading()
        if self._door is not None:
            wheel = self._door.wheel
            wheel.schedule(self, wheel.now() + self._door.close_timeout_seconds)

    def _write_slowly(self, batch: bytes) -> None:
        door = self._door
        waiting = self._transport.get_write_buffer_size()
        if door is not None and waiting + len(batch) > door.outbox_bytes_max:
            door.counts.slow_closed += 1
            self.close(OVERLOADED, "slow consumer: too much is waiting to be read")
        else:
            self._transport.write(batch)

    def _leave(self) -> None:
        session, self._session = self._session, None
        if session is None or self._door is None:
            return
        session.leave()
        session.write = self._forget
        self._door.counts.open -= 1
        if self._early is None:
            self._door.roster.leave(session.principal.subject)

    @staticmethod
    def _forget(batch: bytes) -> None:
        """Where a batch goes that was on its way while the socket closed."""

    # The wheel.

    def tick(self, now: int) -> int:
        door = self._door
        if door is None or self._closing:
            self._transport.abort()
            return 0
        if now >= self._expires:
            self.close(POLICY, "the token has expired")
            return self.due
        if self._pinged and now - self._pinged >= door.ping_timeout_seconds:
            # A peer that vanished, and one that stopped reading: both leave a ping unanswered.
            # Closing politely would wait for a buffer that nobody empties.
            door.counts.dead_closed += 1
            self._closing = True
            self._leave()
            self._transport.abort()
            return 0
        if self._reading_paused:
            self._pinged = 0  # its pong may be waiting: it is us who do not listen
            return min(now + door.ping_interval_seconds, self._expires)
        if not self._pinged:
            if now - self._heard < door.ping_interval_seconds:
                return min(self._heard + door.ping_interval_seconds, self._expires)
            self._pinged = now
            self._transport.write(PING_FRAME)
        return min(self._pinged + door.ping_timeout_seconds, self._expires)

    @staticmethod
    def _wheel_second(door: Door, unix_seconds: int) -> int:
        return door.wheel.now() + max(1, int(unix_seconds - time.time()) + 1)
