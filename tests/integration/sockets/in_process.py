"""A server in the test's own loop, for what cannot be seen or arranged from outside."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI

from gateway.serving import Server
from gateway.sockets.http import LimitedHttp
from gateway.sockets.native import NativeSocket


class Served:
    """An application under uvicorn with our protocol classes."""

    def __init__(self, app: FastAPI, **settings: Any) -> None:
        config = uvicorn.Config(
            app,
            port=0,
            http=LimitedHttp,
            ws=NativeSocket,
            log_config=None,
            timeout_graceful_shutdown=5,
            **settings,
        )
        self.server = Server(config)

    @property
    def port(self) -> int:
        port: int = self.server.servers[0].sockets[0].getsockname()[1]
        return port

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def connection_count(self) -> int:
        return len(self.server.server_state.connections)

    async def until_empty(self) -> None:
        await eventually(lambda: self.connection_count == 0, "every connection is forgotten")

    def stop(self) -> None:
        self.server.should_exit = True


@asynccontextmanager
async def serving(app: FastAPI, **settings: Any) -> AsyncIterator[Served]:
    served = Served(app, **settings)
    async with asyncio.TaskGroup() as group:
        group.create_task(served.server.serve())
        await eventually(lambda: served.server.started, "the server has started")
        yield served
        served.stop()


async def eventually(condition: Callable[[], bool], what: str) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"not within 5 s: {what}")
