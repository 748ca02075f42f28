"""Holds what a gateway says, and what is said to it, against its document."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from jsonschema import Draft7Validator

Next = Callable[[], Awaitable[str | None]]


class Said(NamedTuple):
    name: str
    value: Any


class Document:
    """Remembers which of its messages were met."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._messages = document["components"]["messages"]
        # References are looked up in the whole document; beside one, Draft 7 looks at nothing.
        self._validators = {
            name: Draft7Validator({**document, "$ref": f"#/components/messages/{name}/payload"})
            for name in self._messages
        }
        self.met: set[str] = set()
        self.codes: set[int] = set()

    @property
    def names(self) -> set[str]:
        return set(self._messages)

    def said(self, channel: str, words: str, format: str = "json") -> Said:
        """Which message of the gateway's this is; it has to be one, and no other as well."""
        found = self._find("send", channel, words, format)
        assert len(found) == 1, (words, found)
        self.met.add(found[0].name)
        return found[0]

    def told(self, channel: str, name: str, words: str) -> None:
        """A client says this message."""
        assert name in [each.name for each in self._find("receive", channel, words, "json")]
        self.met.add(name)

    def closed(self, channel: str, code: int) -> None:
        assert str(code) in self._document["channels"][channel]["x-close-codes"], code
        self.codes.add(code)

    def _find(self, action: str, channel: str, words: str, format: str) -> list[Said]:
        found: list[Said] = []
        for name in self._of(action, channel):
            message = self._messages[name]
            if format not in message.get("x-formats", [format]):
                continue
            try:
                is_json = message["contentType"] == "application/json"
                value = json.loads(words) if is_json else words
            except ValueError:
                continue
            if self._validators[name].is_valid(value):
                found.append(Said(name, value))
        return found

    def _of(self, action: str, channel: str) -> set[str]:
        """What may be said there: in an operation, or in the reply to one of the other side's."""
        place = f"#/channels/{channel}"
        prefix = f"{place}/messages/"
        named: set[str] = set()
        for operation in self._document["operations"].values():
            part = operation if operation["action"] == action else operation.get("reply", {})
            if part.get("channel") == {"$ref": place}:
                named |= {each["$ref"].removeprefix(prefix) for each in part["messages"]}
        assert named <= self._document["channels"][channel]["messages"].keys()
        return named


class Ear:
    """Hears everything that ``next`` gives, in its own task, until that is None."""

    def __init__(self, document: Document, channel: str, next: Next, format: str = "json") -> None:
        self._document, self._channel, self._next, self._format = document, channel, next, format
        self._heard: list[Said] = []
        self._more = asyncio.Event()
        self._task = asyncio.create_task(self._listen())

    async def until(self, name: str, seconds: float = 30.0) -> Any:
        """The first message of this name that nobody has asked for yet."""
        async with asyncio.timeout(seconds):
            while True:
                for index, (heard, value) in enumerate(self._heard):
                    if heard == name:
                        del self._heard[index]
                        return value
                if self._task.done():
                    self._task.result()
                    raise AssertionError(f"{name} never came: {self._heard}")
                self._more.clear()
                await self._more.wait()

    async def ended(self, seconds: float = 30.0) -> None:
        """Wait for the end of what can be heard."""
        async with asyncio.timeout(seconds):
            await self._task

    async def close(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _listen(self) -> None:
        try:
            while (words := await self._next()) is not None:
                self._heard.append(self._document.said(self._channel, words, self._format))
                self._more.set()
        finally:
            self._more.set()
