"""A port for `/metrics` alone: for several workers, and for networks that only operators reach."""

import asyncio
import logging
from collections.abc import Callable
from typing import NoReturn, cast

from gateway.protocols.answers import SAFE_LINES
from gateway.web.metrics import CONTENT_TYPE, PATH

_HEAD_BYTES_MAX = 8192
_REQUEST_SECONDS = 5.0
_CONNECTIONS_MAX = 20
_RETRY_SECONDS = 5.0

logger = logging.getLogger(__name__)


class MetricsPort:
    """Answers on the first free one of some ports.

    Workers of one gateway look for theirs among the same ones, so that each finds one, and one
    that takes another's place takes its port. Where none is free the gateway works all the same,
    and tries again.
    """

    def __init__(self, text: Callable[[], bytes], *, host: str, port: int, count: int) -> None:
        self._text = text
        self._host = host
        self._ports = range(port, min(port + count, 65536))
        self._open: set[_Request] = set()
        self._is_noted = False

    async def run(self) -> NoReturn:
        """Answer until cancelled."""
        server = await self._listen()
        try:
            await asyncio.Event().wait()
        finally:
            server.close()
            for request in tuple(self._open):
                request.abort()
        raise AssertionError("nobody sets it")

    async def _listen(self) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        while True:
            problem = ""
            for port in self._ports:
                try:
                    server = await loop.create_server(self._make_request, self._host, port)
                except OSError as error:
                    problem = str(error)
                else:
                    logger.info("measures at http://%s:%d%s", self._host, port, PATH)
                    return server
            if not self._is_noted:
                self._is_noted = True
                logger.warning("no port for measures: %s; trying again", problem)
            await asyncio.sleep(_RETRY_SECONDS)

    def _make_request(self) -> "_Request":
        return _Request(self._text, self._open)


class _Request(asyncio.Protocol):
    """One request, and the end of its connection."""

    def __init__(self, text: Callable[[], bytes], others: "set[_Request]") -> None:
        self._text = text
        self._others = others
        self._head = b""
        self._is_answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        # Until the last byte of the answer has been taken.
        self._deadline = asyncio.get_running_loop().call_later(_REQUEST_SECONDS, self.abort)
        if len(self._others) >= _CONNECTIONS_MAX:
            self.abort()
        self._others.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        self._others.discard(self)

    def abort(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._is_answered:
            return
        self._head += data
        if b"\r\n\r\n" in self._head:
            self._answer()
        elif len(self._head) > _HEAD_BYTES_MAX:
            self.abort()

    def _answer(self) -> None:
        self._is_answered = True
        status, body = "404 Not Found", b"there is nothing but /metrics here\n"
        kind = "text/plain; charset=utf-8"
        method, _, rest = self._head.partition(b" ")
        if method == b"GET" and rest.partition(b" ")[0].partition(b"?")[0] == PATH.encode():
            status, kind, body = "200 OK", CONTENT_TYPE, self._text()
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n"
        )
        self._transport.write(b"%b%b\r\n%b" % (head.encode(), SAFE_LINES, body))
        self._transport.close()
