"""Gateways on a Redis of their own, to be broken: with a proxy in between where one is wanted."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from redis import Redis

from tests.faults.support.proxy import TcpProxy, proxy_to
from tests.faults.support.watching import descriptors, rss_bytes
from tests.support.clients import call, make_token
from tests.support.servers import (
    REDIS_PASSWORD,
    GatewayProcess,
    Process,
    RedisServer,
    status_of,
)

_START_SECONDS = 45.0
_HISTORY = 10_000  # more than anybody misses here: what is lost is then lost by the fault

_ADMIN = make_token("root", "admin")


class Cluster:
    def __init__(
        self, redis: RedisServer, gateways: list[GatewayProcess], proxies: list[TcpProxy]
    ) -> None:
        self.redis = redis
        self.gateways = gateways
        self.proxies = proxies  # one per gateway, or none

    @property
    def ports(self) -> list[int]:
        return [gateway.port for gateway in self.gateways]

    def signal(self, index: int, number: signal.Signals) -> float:
        """Send a gateway a signal; return when."""
        os.kill(self.gateways[index].pid, number)
        return time.monotonic()

    def kill(self, index: int) -> float:
        """SIGKILL, and take note of its end."""
        self.gateways[index].kill()
        return time.monotonic()

    def ask_redis(self, *command: str | int) -> Any:
        with Redis(port=self.redis.port, password=REDIS_PASSWORD) as client:
            return client.execute_command(*command)

    def listening_replicas(self, channels: Sequence[str], prefix: str = "gw") -> dict[str, int]:
        """PUBSUB NUMSUB: so many gateways listen to each channel at Redis."""
        with Redis(port=self.redis.port, password=REDIS_PASSWORD) as client:
            names = {f"{prefix}:{{{channel}}}": channel for channel in channels}
            counts = client.pubsub_numsub(*names)
        return {names[topic.decode()]: int(count) for topic, count in counts}

    def connected(self, index: int) -> dict[str, int]:
        """What a gateway says of who is connected anywhere: so many sockets of each user."""
        answer = call(f"{self.gateways[index].http}/users/connected", token=_ADMIN)
        assert answer.status == 200, answer.body
        return {entry["user"]: entry["connections"] for entry in answer.json["users"]}

    def health(self, index: int) -> dict[str, Any]:
        answer: dict[str, Any] = call(f"{self.gateways[index].http}/health").json
        return answer

    def footprint(self) -> dict[int, tuple[int, int]]:
        """Memory and open descriptors of every gateway that lives."""
        return {
            index: (rss_bytes(gateway.pid), descriptors(gateway.pid))
            for index, gateway in enumerate(self.gateways)
            if gateway.is_running()
        }

    async def until_ready(self, *indices: int, seconds: float = _START_SECONDS) -> None:
        chosen = indices or range(len(self.gateways))

        def is_ready() -> bool:
            for index in chosen:
                gateway = self.gateways[index]
                assert gateway.is_running(), gateway.log
            return all(status_of(f"{self.gateways[i].http}/readyz") == 200 for i in chosen)

        await eventually(is_ready, "the gateways are ready", seconds)

    async def restart(self, index: int) -> None:
        """Start a gateway that has ended, on its port, and wait until it is ready."""
        Process.start(self.gateways[index])
        await self.until_ready(index)


async def eventually(condition: Callable[[], object], what: str, seconds: float = 15.0) -> None:
    """Poll, in a thread, until it is true."""
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def cluster(
    directory: Path,
    gateways: int = 3,
    *,
    is_proxied: bool = False,
    redis_options: Sequence[str] = (),
    **settings: object,
) -> AsyncIterator[Cluster]:
    """So many gateways and a redis-server; every setting of the gateways may be given."""
    async with contextlib.AsyncExitStack() as stack:
        redis = RedisServer(directory, *redis_options)
        stack.callback(redis.__exit__)
        await asyncio.to_thread(redis.start)
        proxies = []
        if is_proxied:
            proxies = [
                await stack.enter_async_context(proxy_to(redis.port)) for _ in range(gateways)
            ]
        ports = [proxy.port for proxy in proxies] or [redis.port] * gateways
        everybody: dict[str, object] = {
            "database_url": f"sqlite:///{directory / 'accounts.db'}",
            "history_messages": _HISTORY,
            "lease_seconds": 3,
            "release_delay_seconds": 0.5,
            **settings,
        }
        started = [
            GatewayProcess(
                directory, redis_url=f"redis://:{REDIS_PASSWORD}@127.0.0.1:{port}/0", **everybody
            )
            for port in ports
        ]
        made = Cluster(redis, started, proxies)
        for gateway in started:
            Process.start(gateway)
        stack.push_async_callback(_end, started)
        await made.until_ready()
        yield made


async def _end(gateways: Sequence[GatewayProcess]) -> None:
    """What a fault test has shown, it has shown: nobody waits for a graceful end here."""
    for gateway in gateways:
        await asyncio.to_thread(gateway.kill)
