"""A cluster whose presence is watched, and listeners that collect what they are told."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.support.clients import call, listen, make_token
from tests.support.servers import GatewayProcess, RedisServer

ROOM = "chat:room"


class Cluster:
    def __init__(self, redis: RedisServer, replicas: list[GatewayProcess]) -> None:
        self.redis = redis
        self.replicas = replicas

    def presence(self, channel: str = ROOM, replica: int = 0, query: str = "") -> Any:
        url = f"{self.replicas[replica].http}/channels/{channel}/presence{query}"
        answer = call(url, token=make_token("reader"))
        assert answer.status == 200, answer.body
        return answer.json

    async def until_users(self, expected: dict[str, int], seconds: float = 10) -> None:
        """Wait until every living replica counts these connections in the room."""
        async with asyncio.timeout(seconds):
            for index, replica in enumerate(self.replicas):
                while replica.is_running():
                    answer = await asyncio.to_thread(self.presence, ROOM, index)
                    users = {entry["user"]: entry["connections"] for entry in answer["users"]}
                    if users == expected:
                        assert answer["members"] == len(expected)
                        assert answer["connections"] == sum(expected.values())
                        break
                    await asyncio.sleep(0.02)

    def join(self, replica: int, user: str, query: str = "") -> Any:
        return listen(self.replicas[replica].ws, ROOM, make_token(user), query)


class Watcher:
    """Collects what a socket is told."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.notices: list[tuple[str, str]] = []
        self.said: list[Any] = []
        self._arrived = asyncio.Event()

    async def read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for text in self.socket:
                frame = json.loads(text)
                if "data" in frame:
                    self.said.append(frame["data"])
                elif frame["type"] not in ("degraded", "restored"):  # of Redis, not of anybody
                    assert frame["channel"] == ROOM
                    assert frame.keys() == {"type", "channel", "user"}
                    self.notices.append((frame["type"].removeprefix("user_"), frame["user"]))
                self._arrived.set()

    async def until(self, *notices: tuple[str, str], seconds: float = 10) -> None:
        """Wait for these, in any order, and nothing else."""
        with contextlib.suppress(TimeoutError):
            await self._while_not(lambda: len(self.notices) >= len(notices), seconds)
        assert sorted(self.notices) == sorted(notices)

    async def until_told(self, notice: tuple[str, str]) -> None:
        await self._while_not(lambda: notice in self.notices, 10)

    async def _while_not(self, condition: Callable[[], bool], seconds: float) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                self._arrived.clear()
                await self._arrived.wait()


@contextlib.asynccontextmanager
async def watching(cluster: Cluster, *indices: int) -> AsyncIterator[list[Watcher]]:
    """A listener called w0, w1 … on each of these replicas; what they see of each other is over."""
    async with contextlib.AsyncExitStack() as stack:
        group = await stack.enter_async_context(asyncio.TaskGroup())
        watchers, tasks = [], []
        for index in indices:
            socket = await stack.enter_async_context(cluster.join(index, f"w{index}"))
            watchers.append(watcher := Watcher(socket))
            tasks.append(group.create_task(watcher.read()))
            for each in watchers:
                await each.until_told(("joined", f"w{index}"))
        for watcher in watchers:
            watcher.notices.clear()
        yield watchers
        for task in tasks:
            task.cancel()
