"""What the native sockets of both protocols share: frames out, and the end of a connection."""

import asyncio
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from gateway.sockets.door import Door
from gateway.sockets.inbox import Inbox
from gateway.sockets.log import ABNORMAL
from gateway.sockets.reader import End


class FramedSocket(asyncio.Protocol, ABC):
    """A subclass says what is taken out of the frames, and who leaves when it ends."""

    __slots__ = ("_address", "_closing", "_door", "_inbox", "_is_paused", "_transport", "due")

    _transport: asyncio.Transport
    _door: Door

    def __init__(self) -> None:
        self._address = ""
        self._closing = False
        self._is_paused = False
        # Made when the client first says something that takes time; an idle listener needs none.
        self._inbox: Inbox[Any] | None = None
        self.due = 0

    def eof_received(self) -> bool | None:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._door.wheel.discard(self)
        self._leave()

    @abstractmethod
    def _leave(self, code: int = ABNORMAL) -> None:
        """It listens no more; ``code`` is that of the close frame."""

    @abstractmethod
    def _close_slow(self) -> None:
        """It reads too slowly."""

    @abstractmethod
    def tick(self, now: int) -> int:
        """The wheel's visit."""

    # Sending.

    def _set_out(self) -> Callable[[bytes], int] | None:
        """Prepare the transport for writes past it; None where there is no way past it."""
        send = direct_send(self._transport)
        if send is not None:
            # Whatever does not fit into the kernel pauses us: then nothing can overtake it.
            self._transport.set_write_buffer_limits(high=0)
        return send

    def send_rest(self, rest: bytes) -> None:
        # Full, or broken: the transport knows what to do about both.
        self._transport.write(rest)

    def _write_aside(self, frames: bytes) -> None:
        """Answer this client alone: past what waits, whose policy is about messages.

        Not past its limit: a peer could ask for more and more, or for pongs, and never read it.
        """
        waiting = self._transport.get_write_buffer_size()
        if waiting + len(frames) > self._door.outbox_bytes_max:
            self._close_slow()
        else:
            self._transport.write(frames)

    # Ending.

    @property
    def is_reading_paused(self) -> bool:
        return self._inbox is not None and self._inbox.is_reading_paused

    def _end(self, end: End, closing: tuple[int, str] | None) -> None:
        self._closing = True
        self._leave(closing[0] if closing else ABNORMAL)
        if end is End.CLOSED:
            self._transport.close()
        elif self._transport.can_write_eof():
            # The peer may still be sending. Closing with unread input makes the kernel reset
            # the connection, and the peer would never read our close frame. (TLS cannot close
            # one direction; there the wheel alone ends it, a moment later.)
            self._transport.write_eof()
        self._end_soon()

    def _end_soon(self) -> None:
        """The wheel cuts off a peer that stays."""
        if self._inbox is not None:
            self._inbox.resume_reading()
        wheel = self._door.wheel
        # One more, because the second that is running now may be over in no time.
        wheel.schedule(self, wheel.now() + self._door.close_timeout_seconds + 1)


def direct_send(transport: asyncio.Transport) -> Callable[[bytes], int] | None:
    """The kernel socket's ``send``; None where bytes are changed on their way, as by TLS."""
    kernel_socket = getattr(transport, "_sock", None)
    return kernel_socket.send if isinstance(kernel_socket, socket.socket) else None
