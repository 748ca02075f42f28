"""Replicas restarted one after the other behind a balancer, under load: nothing is lost."""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.integration.drains import Talk
from tests.support.balancer import Balancer
from tests.support.clients import listen, make_token
from tests.support.servers import RedisServer, replicas, wait_until

PUBLISHER = make_token("paula", "publisher")
CLIENTS = 60


class Resumer:
    """A client as it should be: it comes back when it is told to, and says how far it got."""

    def __init__(self, ws: str, number: int) -> None:
        self._ws = ws
        self._token = make_token(f"user{number}")
        self.messages: list[Any] = []
        self.notices: list[Any] = []
        self.closes: list[tuple[int, str]] = []
        self.silences: list[float] = []
        self.is_over = False

    async def live(self) -> None:
        wait = 0.0
        while not self.is_over:
            await asyncio.sleep(wait)
            wait = random.uniform(0.2, 1)
            gone = time.monotonic()
            try:
                socket = await listen(self._ws, "room", self._token, self._since())
            except (OSError, InvalidHandshake):
                continue
            async with socket:
                self.silences.append(time.monotonic() - gone)
                with contextlib.suppress(ConnectionClosed):
                    while not self.is_over:
                        with contextlib.suppress(TimeoutError):
                            frame = json.loads(await asyncio.wait_for(socket.recv(), 0.5))
                            (self.messages if "data" in frame else self.notices).append(frame)
            if not self.is_over:
                reason = socket.close_reason or ""
                self.closes.append((socket.close_code or 0, reason))
                if "retry_ms=" in reason:
                    wait = int(reason.partition("retry_ms=")[2]) / 1000

    def _since(self) -> str:
        if not self.messages:
            return ""
        last = self.messages[-1]
        return f"?since={last['epoch']}:{last['offset']}"


async def until(condition: Callable[[], bool], what: str) -> None:
    await asyncio.to_thread(wait_until, condition, what, 20)


@pytest.mark.long
@pytest.mark.timeout(180)
async def test_a_rolling_restart_loses_nothing_and_repeats_nothing(
    redis_server: RedisServer, directory: Path
) -> None:
    settings = {
        "redis_url": redis_server.url,
        "redis_prefix": "rolling",
        "drain_pause_seconds": 2,
        "drain_seconds": 3,
        "history_messages": 1000,
    }
    async with contextlib.AsyncExitStack() as stack:
        started = stack.enter_context(replicas(directory, 3, **settings))
        balancer = stack.enter_context(Balancer(directory, started))
        group = await stack.enter_async_context(asyncio.TaskGroup())
        clients = [Resumer(balancer.ws, number) for number in range(CLIENTS)]
        for client in clients:
            group.create_task(client.live())
        talk = Talk(balancer.http, "room", PUBLISHER)
        talking = group.create_task(talk.run())
        try:
            await until(lambda: all(client.messages for client in clients), "everybody hears")
            for replica in started:
                assert await asyncio.to_thread(replica.terminate, 20) == 0
                assert "Traceback" not in replica.log
                await asyncio.to_thread(replica.start)
                # A careful operator waits until the balancer sends clients there again.
                await asyncio.sleep(1.5)
            talk.stop()
            await talking
            last = max(talk.accepted)
            await until(
                lambda: all(client.messages[-1]["offset"] >= last for client in clients),
                "everybody has heard the last message",
            )
        finally:
            talk.stop()
            for client in clients:
                client.is_over = True

    assert set(talk.statuses) == {200}
    for client in clients:
        offsets = [message["offset"] for message in client.messages]
        assert offsets == list(range(offsets[0], last + 1))
        assert not [notice for notice in client.notices if notice["type"] == "gap"]
        assert {code for code, _ in client.closes} <= {1012}
        assert all("retry_ms=" in reason for _, reason in client.closes)
    assert sum(len(client.closes) for client in clients) >= CLIENTS
