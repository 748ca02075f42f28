"""A reader of Server-Sent Events after the WHATWG's text (HTML section 9.2), and a client on it.

It knows nothing of the product's own code, so that both cannot be wrong in the same way.
"""

import asyncio
import codecs
import contextlib
import json
import re
from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple, Self
from urllib.parse import quote, urlsplit


class Event(NamedTuple):
    """What a page gets: ``event.type``, ``event.data``, ``event.lastEventId``."""

    type: str
    data: str
    last_event_id: str

    @property
    def json(self) -> Any:
        return json.loads(self.data)


class EventParser:
    """Section 9.2.6, "interpreting an event stream", for bytes that come in pieces."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._text = ""
        self._type = self._data = self._id_buffer = ""
        self.last_event_id = ""
        self.retry: int | None = None
        self.comments: list[str] = []

    def feed(self, data: bytes) -> list[Event]:
        self._text += self._decoder.decode(data)
        events: list[Event] = []
        while end := re.search(r"\r\n|\n|\r(?!$)", self._text):
            line, self._text = self._text[: end.start()], self._text[end.end() :]
            if not line:
                events += self._dispatch()
            elif line.startswith(":"):
                self.comments.append(line[1:])
            else:
                name, _, value = line.partition(":")
                self._field(name, value.removeprefix(" "))
        return events

    def _field(self, name: str, value: str) -> None:
        if name == "event":
            self._type = value
        elif name == "data":
            self._data += value + "\n"
        elif name == "id" and "\0" not in value:
            self._id_buffer = value
        elif name == "retry" and re.fullmatch("[0-9]+", value):
            self.retry = int(value)

    def _dispatch(self) -> list[Event]:
        self.last_event_id = self._id_buffer
        type, data = self._type or "message", self._data
        self._type = self._data = ""
        return [Event(type, data.removesuffix("\n"), self.last_event_id)] if data else []


class EventSource:
    """One response; a test comes back by itself, with `last_event_id`.

    Use it with ``async with``; any status but 200 ends as an `AssertionError`.
    """

    def __init__(
        self,
        http: str,
        channel: str,
        token: str | None = None,
        query: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._address = urlsplit(http)
        self._path = f"{self._address.path}/sse/{quote(channel, safe='')}{query}"
        self._request = {"Host": self._address.netloc, "Accept": "text/event-stream"}
        if token is not None:
            self._request["Authorization"] = f"Bearer {token}"
        self._request |= headers or {}
        self._waiting: deque[Event] = deque()
        self.parser = EventParser()
        self.headers: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        host, port = self._address.hostname, self._address.port
        self._reader, self._writer = await asyncio.open_connection(host, port)
        try:
            lines = "".join(f"{name}: {value}\r\n" for name, value in self._request.items())
            self._writer.write(f"GET {self._path} HTTP/1.1\r\n{lines}\r\n".encode())
            head = await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), 10)
            status, *rest = head.decode().rstrip().split("\r\n")
            for line in rest:
                name, _, value = line.partition(":")
                self.headers[name.lower()] = value.strip()
            assert status.split(" ")[1] == "200", head
            await self._until_marked()
        except BaseException:
            self._writer.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    @property
    def last_event_id(self) -> str:
        return self.parser.last_event_id

    @property
    def has_more(self) -> bool:
        """Whether events wait to be taken; only without, `last_event_id` is that of the last."""
        return bool(self._waiting)

    async def next(self, seconds: float = 5.0) -> Event:
        """The next event; raises `EOFError` at the end of the stream."""
        async with asyncio.timeout(seconds):
            while not self._waiting:
                self._waiting += self.parser.feed(await self._chunk())
        return self._waiting.popleft()

    async def message(self, seconds: float = 5.0) -> Any:
        """The next event, which has to be a message in ``json``."""
        event = await self.next(seconds)
        assert event.type == "message", event
        assert event.last_event_id == f"{event.json['epoch']}:{event.json['offset']}"
        return event.json

    async def end(self, seconds: float = 5.0) -> list[Event]:
        """What comes before the end of the stream."""
        async with asyncio.timeout(seconds):
            while True:
                try:
                    self._waiting += self.parser.feed(await self._chunk())
                except EOFError:
                    return list(self._waiting)

    async def comment(self, seconds: float = 5.0) -> str:
        """The next comment that arrives."""
        async with asyncio.timeout(seconds):
            before = len(self.parser.comments)
            while len(self.parser.comments) == before:
                self._waiting += self.parser.feed(await self._chunk())
        return self.parser.comments[-1]

    async def _until_marked(self) -> None:
        """A stream begins with a place to come back to; `EventSource` shows nothing of that."""
        async with asyncio.timeout(5):
            while not self.last_event_id:
                self._waiting += self.parser.feed(await self._chunk())

    async def _chunk(self) -> bytes:
        size = int((await self._reader.readline()) or b"0", 16)
        if size == 0:
            raise EOFError
        data = await self._reader.readexactly(size)
        await self._reader.readexactly(2)
        return data
