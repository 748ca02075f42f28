"""uvicorn's own WebSocket class, for the portable door and a user's routes, with our frame rules.

uvicorn runs the application and writes; what arrives is read as the native door reads it.
"""

import asyncio
import random
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from gateway.protocols.frames import close_frame
from gateway.protocols.upgrade import BadUpgrade, accept_upgrade, parse_upgrade
from gateway.sockets.closing import OVERLOADED, RESTART
from gateway.sockets.http import error_response
from gateway.sockets.reader import End, Incoming, MessageReader

_FLUSH_SECONDS = 2.0
_UNREAD_REPLY_BYTES_MAX = 65_536


class HardenedWebSockets(WebSocketsSansIOProtocol):
    """Answers a broken rule with its close code, and ends every connection that it closes.

    uvicorn knows no limit on fragments and forgets what came in front of a broken rule. It closes
    its transport after a keep-alive time-out, at a stop and when the application is done, and
    each time waits until the buffer is empty: for ever, if the peer reads nothing.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._reader: MessageReader | None = None  # made when the application has accepted
        self._early = b""
        self._unread_reply_bytes = 0

    # Called by the server and the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(Any, _Ending(cast(asyncio.Transport, transport))))

    def data_received(self, data: bytes) -> None:
        if self._reader is not None:
            self._take(self._reader.read(data))
        elif self.handshake_initiated:
            # What is said before the 101 waits: uvicorn would answer a ping in front of it.
            self._early += data
            self.transport.pause_reading()
        else:
            self._open(data)

    def resume_writing(self) -> None:
        self._unread_reply_bytes = 0
        super().resume_writing()

    def shutdown(self) -> None:
        if self._reader is None or self.close_sent:
            super().shutdown()
        else:
            retry_ms = random.randint(1000, 3000)
            self._say_goodbye(RESTART, f"this replica restarts; retry_ms={retry_ms}")
            self.transport.close()

    # Called by the application.

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.accept":
            self._reader = MessageReader(self.config.ws_max_size, self.conn.extensions)
            self.transport.resume_reading()
            early, self._early = self._early, b""
            if early:
                self.data_received(early)

    # Opening.

    def _open(self, head: bytes) -> None:
        try:
            accept_upgrade(parse_upgrade(head), None)
        except BadUpgrade as bad:
            self.handshake_initiated = True
            self.transport.write(error_response(bad.status, bad.detail, bad.headers))
            self.transport.close()
        else:
            super().data_received(head)

    # Receiving.

    def _take(self, incoming: Incoming) -> None:
        self._hear()
        if self.close_sent:
            if incoming.end is End.CLOSED:  # the peer's answer to our goodbye
                self.transport.close()
            return
        binaries = iter(incoming.binaries)
        for text in incoming.messages:
            kind, content = ("bytes", next(binaries)) if text is None else ("text", text)
            self.queue.put_nowait(cast(Any, {"type": "websocket.receive", kind: content}))
        if incoming.closing is not None:
            self.transport.write(incoming.reply)
            self._end(*incoming.closing)
            self._linger() if incoming.end is End.BROKEN else self.transport.close()
            return
        if incoming.reply:
            self._reply(incoming.reply)
        if incoming.messages and not self.read_paused:
            # The application comes first; taking the last of them makes uvicorn read on.
            self.read_paused = True
            self.transport.pause_reading()

    def _reply(self, frames: bytes) -> None:
        if not self.writable.is_set():
            self._unread_reply_bytes += len(frames)
        if self._unread_reply_bytes > _UNREAD_REPLY_BYTES_MAX:
            # A peer could ask for pongs and never read them.
            self._say_goodbye(OVERLOADED, "slow consumer: too much is waiting to be read")
            self._linger()
        else:
            self.transport.write(frames)

    # Signs of life.

    def _hear(self) -> None:
        # Whatever a client says will do; uvicorn waits for the pong alone.
        if self.pong_timer is not None:
            self.pong_timer.cancel()
            self.pong_timer = None
            self.schedule_ping()

    def keepalive_timeout(self) -> None:
        self.pong_timer = None
        if self.read_paused:
            self.schedule_ping()  # its pong may be waiting: it is us who do not listen
        else:
            self.transport.abort()  # it has vanished or stopped reading, and hears no goodbye

    # Closing.

    def _say_goodbye(self, code: int, reason: str) -> None:
        self.transport.write(close_frame(code, reason))
        self._end(code, reason)

    def _end(self, code: int, reason: str) -> None:
        """The close frame is out: the application learns of it, and can send nothing more."""
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.close_sent = self.disconnected = True
        self.stop_keepalive()

    def _linger(self) -> None:
        # The peer may still be sending, and has to read why it was closed; see `FramedSocket._end`.
        self.read_paused = False
        self.transport.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.close_timer = self.loop.call_later(_FLUSH_SECONDS, self.transport.abort)


class _Ending:
    """A transport whose `close` becomes an `abort` when the peer does not take what is left."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._abort: asyncio.TimerHandle | None = None

    def close(self) -> None:
        self._transport.close()
        if self._abort is None:
            loop = asyncio.get_running_loop()
            self._abort = loop.call_later(_FLUSH_SECONDS, self._transport.abort)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
