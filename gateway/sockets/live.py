"""A WebSocket after its handshake: frames in and out, signs of life, and the end.

Nothing waits in here. What goes out is written straight to the transport, what comes in and
takes time is left to the `Inbox`, and time itself is the wheel's business.
"""

import math
import time
from collections.abc import Callable, Sequence

from websockets.extensions import Extension

from gateway.core.session import Session
from gateway.domain.errors import GatewayError, InvalidRequest
from gateway.protocols.frames import PING_FRAME, close_frame, text_frame
from gateway.sockets.closing import INTERNAL, OVERLOADED, POLICY, RESTART, closing_of
from gateway.sockets.framed import FramedSocket
from gateway.sockets.inbox import Inbox
from gateway.sockets.log import ABNORMAL
from gateway.sockets.outbox import Outbox
from gateway.sockets.reader import MessageReader

_PONG_BYTES = 6  # an empty pong: two bytes of header, four of mask
_PONG_START = b"\x8a\x80"


class LiveSocket(FramedSocket):
    """A subclass makes the handshake, sets the transport and the door, and calls `_go_live`."""

    __slots__ = (
        "_expires",
        "_extensions",
        "_heard",
        "_notice_due",
        "_outbox",
        "_pinged",
        "_reader",
        "_send",
        "_session",
    )

    def __init__(self) -> None:
        super().__init__()
        self._session: Session | None = None
        # Made when the client first says something; an idle listener does not need it.
        self._reader: MessageReader | None = None
        self._extensions: Sequence[Extension] = ()
        # Made when the peer first reads too slowly.
        self._outbox: Outbox | None = None
        self._send: Callable[[bytes], int] | None = None
        # Seconds of the wheel's clock: the last sign of life, the unanswered ping, the end.
        self._heard = 0
        self._pinged = 0
        self._expires = 0
        self._notice_due = 0  # when to say that the end is near; 0 once that is said

    # Called by the transport.

    def data_received(self, data: bytes) -> None:
        self._heard = self._door.wheel.now()
        self._pinged = 0
        if self._reader is None:
            if len(data) == _PONG_BYTES and data.startswith(_PONG_START):
                return  # by far the most frequent input; a parser would cost 1 KB per socket
            self._reader = MessageReader(self._door.message_bytes_max, self._extensions)
        incoming = self._reader.read(data)
        for message in incoming.messages:
            self._take(message)
        if incoming.reply and self._session is not None:
            self._write_aside(incoming.reply)
        if incoming.end is not None:
            self._end(incoming.end, incoming.closing)

    def pause_writing(self) -> None:
        self._is_paused = True
        if self._session is not None:
            self._session.write = self._write_slowly

    def resume_writing(self) -> None:
        self._is_paused = False
        session, outbox = self._session, self._outbox
        if session is None:
            return
        while outbox and not self._is_paused:  # a write may pause us again
            missing, batch = outbox.take()
            notice = self._door.gap_notice(session, missing)
            self._transport.write((text_frame(notice) if notice else b"") + batch)
        if not self._is_paused:
            self._write_fast(session)

    # Receiving.

    def _take(self, message: str | None) -> None:
        session = self._session
        if session is None:
            return  # it is closing, and may not say anything anymore
        if message is None:
            session.reply_error(InvalidRequest("binary messages are not understood; send text"))
            return
        if self._inbox is None:
            self._inbox = Inbox(session.receive, self._fail, self._transport, self._door.tasks)
        self._inbox.put(message)

    def _fail(self) -> None:
        self.close(INTERNAL, "internal error")

    # Sending and closing.

    def send(self, payload: bytes) -> None:
        if self._session is not None:
            self._write_aside(text_frame(payload))

    def refuse(self, error: GatewayError) -> None:
        self.close(*closing_of(error))

    def close(self, code: int, reason: str) -> None:
        """Say goodbye, and make sure that it ends."""
        if self._closing:
            return
        self._closing = True
        outbox = self._outbox
        self._leave(code)
        if self._inbox is not None and code != RESTART:
            # It may not say anything anymore. A restart is not its fault: what it said before
            # that is published.
            self._inbox.clear()
        while outbox and code != OVERLOADED:
            self._transport.write(outbox.take()[1])
        self._transport.write(close_frame(code, reason))
        self._end_soon()

    def _close_slow(self) -> None:
        self._door.counts.slow_closed += 1
        self.close(OVERLOADED, "slow consumer: too much is waiting to be read")

    def _write_fast(self, session: Session) -> None:
        # The transport's own `write` spends 0.8 µs on finding out what is known here: its
        # buffer is empty, or it would have paused us. That is an eighth of a delivery.
        session.write = self._transport.write if self._send is None else self._send

    def _write_slowly(self, batch: bytes) -> None:
        if self._session is None:
            return
        if self._outbox is None:
            self._outbox = self._door.outbox(self._session.channel)
        if not self._outbox.put(batch, self._transport.get_write_buffer_size()):
            self._close_slow()

    # Among the others: counted, listed, timed.

    def _go_live(self, session: Session) -> None:
        """The handshake is done; what is written to the session from now on goes out."""
        door = self._door
        self._session = session
        self._send = self._set_out()
        self._write_fast(session)
        if self._is_paused:
            session.write = self._write_slowly
        door.enter(session, self._address)
        now = self._heard = door.wheel.now()
        # Rounded up: nobody is told that a token has expired that has not.
        self._expires = math.ceil(time.monotonic() + session.principal.expires_at - time.time())
        if door.expiry_notice_seconds:
            self._notice_due = max(self._expires - door.expiry_notice_seconds, now + 1)
        door.wheel.schedule(self, self._next(now + door.ping_interval_seconds))

    def _leave(self, code: int = ABNORMAL) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.leave()
            session.write = _forget
            self._outbox = None
            self._door.leave(session, self._address, code)

    def tick(self, now: int) -> int:
        """The wheel's visit."""
        door = self._door
        if self._closing:
            self._transport.abort()
            return 0
        if now >= self._expires:
            self.close(POLICY, "the token has expired")
            return self.due
        if self._notice_due and now >= self._notice_due:
            self._notice_due = 0
            if self._session is not None and (notice := door.expiry_notice(self._session)):
                self.send(notice)
        if self._pinged and now - self._pinged >= door.ping_timeout_seconds:
            # A peer that vanished, and one that stopped reading: both leave a ping unanswered.
            # Closing politely would wait for a buffer that nobody empties.
            door.counts.dead_closed += 1
            self._closing = True
            self._leave()
            self._transport.abort()
            return 0
        if self.is_reading_paused:
            self._pinged = 0  # its pong may be waiting: it is us who do not listen
            return self._next(now + door.ping_interval_seconds)
        if not self._pinged:
            if now - self._heard < door.ping_interval_seconds:
                return self._next(self._heard + door.ping_interval_seconds)
            self._pinged = now
            self._transport.write(PING_FRAME)
        return self._next(self._pinged + door.ping_timeout_seconds)

    def _next(self, second: int) -> int:
        """This second, or an earlier one in which something else is due."""
        second = min(second, self._expires)
        return min(second, self._notice_due) if self._notice_due else second


def _forget(batch: bytes) -> None:
    """Where a batch goes that was on its way while the socket closed."""
