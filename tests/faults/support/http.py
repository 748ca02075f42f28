"""A small HTTP client that knows the difference between "not sent" and "no answer"."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, NamedTuple


class NotSent(Exception):
    """Nobody was there to take the request."""


class Unanswered(Exception):
    """The request was sent, and what became of it is unknown."""


class Reply(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class HttpConnection:
    """One keep-alive connection to a port of this machine, made when it is needed."""

    def __init__(self, port: int, token: str = "") -> None:
        self._port = port
        self._authorization = f"Authorization: Bearer {token}\r\n" if token else ""
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = 5.0,
    ) -> Reply:
        """Raises `NotSent` or `Unanswered`; nothing is sent twice."""
        data = b"" if body is None else json.dumps(body).encode()
        more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        request = (
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n{self._authorization}"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n{more}\r\n"
        ).encode() + data
        is_sent = False
        try:
            async with asyncio.timeout(timeout_seconds):
                reader, writer = await self._connected()
                is_sent = True
                writer.write(request)
                reply = await _read_reply(reader)
        except (OSError, TimeoutError, EOFError, ValueError) as error:
            self.close()
            why = str(error) or type(error).__name__
            raise (Unanswered(why) if is_sent else NotSent(why)) from None
        except asyncio.CancelledError:
            self.close()
            raise
        if reply.headers.get("connection", "").lower() == "close":
            self.close()
        return reply

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        # An end that has arrived is known: a request written behind it would have an unknown
        # outcome for no reason.
        if self._streams is not None and self._streams[0].at_eof():
            self.close()
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        return self._streams


async def _read_reply(reader: asyncio.StreamReader) -> Reply:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Reply(int(first.split(" ")[1]), headers, body)
