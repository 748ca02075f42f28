"""uvicorn's HTTP protocol class with the limits that it lacks.

httptools sets no limit on a request's head (24 MB were accepted) and uvicorn no deadline for it;
a handshake that uvicorn's WebSocket class refuses for its length is never answered at all.
Here a head that is too long is answered 414 or 431 and one that does not come in time 408,
before anything else sees it.
"""

import asyncio
import http
import socket
from collections.abc import Callable, Iterable
from typing import Any

import orjson
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from gateway.core.drain import DRAIN
from gateway.protocols.answers import SAFE_LINES

# A little less than 8 KiB: uvicorn's WebSocket class never answers a longer line, and a line is
# the URL and the words around it.
URL_BYTES_MAX = 8000
HEADER_BYTES_MAX = 8000
HEAD_BYTES_MAX = 32768
HEADERS_MAX = 100
_LINGER_SECONDS = 2.0
_UNREAD_SECONDS = 20.0  # where the server's settings have none
_BODY_HEADERS = {b"content-length", b"transfer-encoding"}


def error_response(status: int, detail: str, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """A whole HTTP response with problem details (RFC 9457), for where there is no framework."""
    phrase = http.HTTPStatus(status).phrase
    body = orjson.dumps(
        {"type": "about:blank", "title": phrase, "status": status, "detail": detail}
    )
    extra = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return (
        f"HTTP/1.1 {status} {phrase}\r\nContent-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n{extra}"
    ).encode() + b"%b\r\n%b" % (SAFE_LINES, body)


CONNECTION = "gateway.connection"  # where the state of a request carries its `Connection`


class Connection:
    """What a response that never ends by itself has to know of the connection under it.

    A server that stops waits for such a response, and after its end for a peer that does not
    read what is left; ASGI has no word for either.
    """

    __slots__ = ("_transport", "on_shutdown")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.on_shutdown: Callable[[], None] | None = None

    def abort(self) -> None:
        self._transport.abort()

    def give_up_after(self, seconds: int) -> None:
        """End the connection when what is sent stays unacknowledged for so long.

        A machine that vanished sends no farewell, and a reader of events answers no pings; the
        kernel alone would go on trying for a quarter of an hour.
        """
        kernel_socket = self._transport.get_extra_info("socket")
        if kernel_socket is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            kernel_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, seconds * 1000)


class LimitedHttp(HttpToolsProtocol):
    """Refuses heads over the limits above, requests that stop half-way, and unread answers."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        request_timeout_seconds: float = 10.0,
        deadline: float | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._first_deadline = deadline  # by the loop's clock; None: counted from the connection
        self._request_timeout_seconds = request_timeout_seconds
        self._head_bytes = 0
        self._in_head = True
        self._started = False
        self._refusal: tuple[int, str] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._connection: Connection | None = None
        self._cut_off: asyncio.TimerHandle | None = None
        self._unread_seconds = config.ws_ping_timeout or _UNREAD_SECONDS

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_request(self._first_deadline)

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_nothing()
        self._trust_the_reader()
        super().connection_lost(exc)
        # uvicorn leaves this timer running after an abnormal end, and with it the connection.
        self._unset_keepalive_if_required()

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            return
        if self._deadline is None and (self.cycle is None or self.cycle.response_complete):
            # Also where this is no request yet: an empty line stops uvicorn's keep-alive timer.
            self._expect_request()
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > HEAD_BYTES_MAX:
            self._refuse(431, "the request's head is too long")
        if self._refusal is not None:
            self._answer_refusal(*self._refusal)

    def shutdown(self) -> None:
        self._unread_seconds = _LINGER_SECONDS
        super().shutdown()
        if self._connection is not None and self._connection.on_shutdown is not None:
            self._connection.on_shutdown()
        self._end_for_sure()

    # Answers that nobody reads: uvicorn would hold them for ever.

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._connection is None or self._connection.on_shutdown is None:
            self._doubt_the_reader()  # a stream without an end looks after itself

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.transport.is_closing():
            self._trust_the_reader()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._end_for_sure()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._end_for_sure()

    def _end_for_sure(self) -> None:
        # A transport that closes waits until its buffer is empty, however long that takes.
        if self.transport.is_closing():
            self._trust_the_reader()
            self._doubt_the_reader()

    def _doubt_the_reader(self) -> None:
        if self._cut_off is None:
            unread = self.transport.get_write_buffer_size()
            self._cut_off = self.loop.call_later(self._unread_seconds, self._look_again, unread)

    def _look_again(self, unread_before: int) -> None:
        """A large answer may be read slowly, as long as it is read."""
        self._cut_off = None
        if self.transport.get_write_buffer_size() < unread_before:
            self._doubt_the_reader()
        else:
            self.transport.abort()

    def _trust_the_reader(self) -> None:
        if self._cut_off is not None:
            self._cut_off.cancel()
            self._cut_off = None

    # Parser callbacks.

    def on_message_begin(self) -> None:
        self._in_head = True
        self._started = True
        if self._deadline is None:
            self._expect_request()
        super().on_message_begin()
        if self._connection is None:
            self._connection = Connection(self.transport)
        self.scope["state"][CONNECTION] = self._connection

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > URL_BYTES_MAX:
            self._refuse(414, f"a URL has at most {URL_BYTES_MAX} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if len(name) + len(value) > HEADER_BYTES_MAX:
            self._refuse(431, f"a header has at most {HEADER_BYTES_MAX} bytes")
        elif len(self.headers) > HEADERS_MAX:
            self._refuse(431, f"a request has at most {HEADERS_MAX} headers")

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        if sum(len(name) + len(value) for name, value in self.headers) > HEAD_BYTES_MAX:
            self._refuse(431, "the request's head is too long")
        if self._refusal is None:
            super().on_headers_complete()
            drain = self.app_state.get(DRAIN)
            if self.cycle is not None and drain is not None and drain.has_begun:
                # The next request of this client belongs on another replica.
                self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        if self._refusal is None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._expect_nothing()
        self._in_head = True
        self._started = False
        if self._refusal is None:
            super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        self._expect_nothing()
        self._trust_the_reader()  # who has become a socket is none of our business
        busy = self.cycle is not None and not self.cycle.response_complete
        if busy or self.flow.write_paused:
            # The answer would come in the middle of the frames, and the socket would not know
            # that its transport is full already.
            self._refuse(400, "a handshake waits for the answers to earlier requests")
        if any(name in _BODY_HEADERS for name, _ in self.headers):
            # What follows would be a body to one reader and frames to another.
            self._refuse(400, "a handshake has no body")
        # Some clients send this header empty, and uvicorn's class would answer them with 400.
        self.scope["headers"] = [
            (name, value)
            for name, value in self.scope["headers"]
            if value or name != b"sec-websocket-protocol"
        ]
        if self._refusal is None:
            super().handle_websocket_upgrade()
            self.parser = None  # type: ignore[assignment]  # or both would wait for the collector

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "this is not an HTTP request")

    # Deadline and refusal.

    def _expect_request(self, deadline: float | None = None) -> None:
        if deadline is None:
            deadline = self.loop.time() + self._request_timeout_seconds
        self._deadline = self.loop.call_at(deadline, self._give_up)

    def _expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        is_answered = not self._in_head and self.cycle is not None and self.cycle.response_started
        if self._started and not is_answered:
            self._answer_refusal(408, "the request did not come in time")
        else:
            self.transport.abort()

    def _refuse(self, status: int, detail: str) -> None:
        if self._refusal is None:
            self._refusal = (status, detail)

    def _answer_refusal(self, status: int, detail: str) -> None:
        self._refusal = (status, detail)
        self._expect_nothing()
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started or self.pipeline:
                self.transport.abort()  # our answer would stand in the middle of another one
                return
        self.transport.write(error_response(status, detail))
        # The peer may still be sending; closing now would reset the connection before it has
        # read the answer. It gets a moment, and everything it still sends is thrown away.
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, self.transport.abort)
