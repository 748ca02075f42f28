"""What a connection is before its first bytes have come: nothing yet."""

import asyncio
import re
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.server import ServerState

from gateway.sockets.door import DOOR, PATH_PREFIX
from gateway.sockets.flavours import CLIENT_PATH
from gateway.sockets.http import HEADER_BYTES_MAX, HEADERS_MAX, LimitedHttp

# A whole handshake that needs no parser: in one piece, with nothing in it that could be read in
# two ways, within every limit above. Parsing it header by header costs a quarter of a connect.
_PLAIN_HANDSHAKE = re.compile(
    rb"GET (?:%s[!\"$-~]*|%s(?:\?[!\"$-~]*)?) HTTP/1\.1\r\n"
    rb"(?:[!#$%%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*\r\n){1,%d}\r\n"
    % (re.escape(PATH_PREFIX).encode(), re.escape(CLIENT_PATH).encode(), HEADERS_MAX)
)
_HAS_UPGRADE = re.compile(
    rb"(?=.*\r\nupgrade:[ \t]*websocket[ \t]*\r\n)"
    rb"(?=.*\r\nconnection:(?:[^\r]*,)?[ \t]*upgrade[ \t]*[,\r])"
    rb"(?!.*\r\n(?:content-length|transfer-encoding|expect):)",
    re.DOTALL | re.IGNORECASE,
)


def is_plain_handshake(head: bytes) -> bool:
    """Whether these bytes are one handshake for a gateway's socket, and beyond any doubt."""
    return (
        len(head) <= HEADER_BYTES_MAX
        and _PLAIN_HANDSHAKE.fullmatch(head) is not None
        and _HAS_UPGRADE.match(head) is not None
    )


class FirstLook(asyncio.Protocol):
    """Makes the protocol that the first bytes ask for: a live socket, or HTTP for all the rest.

    uvicorn's HTTP class with its parser is made for requests that follow each other; for the one
    handshake of a socket it would be a tenth of what a connect costs.
    """

    __slots__ = ("_app_state", "_config", "_deadline", "_seconds", "_server_state", "_transport")

    _transport: asyncio.Transport
    _deadline: asyncio.TimerHandle

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        request_timeout_seconds: float = 10.0,
    ) -> None:
        self._config = config
        self._server_state = server_state
        self._app_state = app_state
        self._seconds = request_timeout_seconds

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server_state.connections.add(cast(Any, self))
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(self._seconds, self._transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        self._server_state.connections.discard(cast(Any, self))

    def data_received(self, data: bytes) -> None:
        self._deadline.cancel()
        self._server_state.connections.discard(cast(Any, self))
        protocol: Any
        if DOOR in self._app_state and is_plain_handshake(data):
            make = cast(Any, self._config.ws_protocol_class)
            protocol = make(self._config, self._server_state, self._app_state)
        else:
            protocol = LimitedHttp(
                self._config,
                self._server_state,
                self._app_state,
                request_timeout_seconds=self._seconds,
                deadline=self._deadline.when(),
            )
        # Before the bytes: what they ask for may put another protocol in the place of this one.
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(data)

    def shutdown(self) -> None:
        """Part of the server's stop: nobody has asked for anything here."""
        self._transport.abort()
