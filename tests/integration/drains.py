"""What tests of a drain share: sockets that remember when and how they were closed."""

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.support.clients import publish
from tests.support.event_source import EventSource
from tests.support.servers import GatewayProcess, wait_until


def ended(gateway: GatewayProcess, seconds: float) -> int:
    """Wait for its end, whatever caused it; return its exit code."""
    wait_until(lambda: not gateway.is_running(), f"it has ended; its log:\n{gateway.log}", seconds)
    return gateway.terminate()


@dataclass
class Witness:
    """One listener: what it heard, and its end. Times are of the monotonic clock."""

    messages: list[Any] = field(default_factory=list)
    closed_at: float = 0.0
    code: int = 0
    reason: str = ""
    retry_ms: int = 0

    async def watch(self, socket: ClientConnection) -> None:
        try:
            async for text in socket:
                frame = json.loads(text)
                if "data" in frame:
                    self.messages.append(frame)
        except ConnectionClosed:
            pass
        self.closed_at = time.monotonic()
        self.code, self.reason = socket.close_code or 0, socket.close_reason or ""
        if "retry_ms=" in self.reason:
            self.retry_ms = int(self.reason.partition("retry_ms=")[2])

    async def watch_events(self, source: EventSource) -> None:
        source.parser.retry = None
        while True:
            event = await source.next(60)
            if event.type == "end":
                break
            self.messages.append(event.json)
        self.closed_at = time.monotonic()
        self.code, self.reason = 1012, event.json["detail"]
        self.retry_ms = source.parser.retry or 0

    def check_order(self) -> None:
        """No hole and nothing twice between the first message and the last."""
        offsets = [message["offset"] for message in self.messages]
        assert offsets == list(range(offsets[0], offsets[0] + len(offsets)))


class Talk:
    """Publishes one message after the other until it is stopped; every one has to be accepted."""

    def __init__(self, http: str, channel: str, token: str) -> None:
        self._where = http, channel
        self._token = token
        self._is_over = asyncio.Event()
        self.accepted: dict[int, float] = {}  # by offset: when the answer was here
        self.statuses: list[int] = []

    async def run(self, pause: float = 0.02) -> None:
        number = 0
        while not self._is_over.is_set():
            answer = await publish(*self._where, number, self._token)
            self.statuses.append(answer.status)
            if answer.status == 200:
                self.accepted[answer.json["offset"]] = time.monotonic()
            number += 1
            await asyncio.sleep(pause)

    def stop(self) -> None:
        self._is_over.set()
