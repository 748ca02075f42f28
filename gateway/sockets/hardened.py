"""uvicorn's own WebSocket class, for the portable door and a user's routes, without its hang."""

import asyncio
from typing import Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

_FLUSH_SECONDS = 2.0


class HardenedWebSockets(WebSocketsSansIOProtocol):
    """Ends every connection that it closes.

    uvicorn closes its transport after a keep-alive time-out, at a stop and when the application
    is done, and each time waits until the buffer is empty: for ever, if the peer reads nothing.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(Any, _Ending(cast(asyncio.Transport, transport))))


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
