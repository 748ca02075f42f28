"""Who is connected, kept in Redis: one hash per replica, held by a lease on Redis' clock."""

from collections.abc import Awaitable, Mapping
from importlib.resources import files
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.adapters.redis.connection import end_if_cancelled
from gateway.adapters.redis.keys import Keys
from gateway.domain.errors import Unavailable
from gateway.ports.presence import Presence

_ANNOUNCE = files("gateway.adapters.redis").joinpath("announce.lua").read_text()

T = TypeVar("T")


class RedisPresence(Presence):
    def __init__(self, redis: Redis, keys: Keys, *, replica: str, lease_seconds: float) -> None:
        self._redis = redis
        self._keys = keys
        self._replica = replica
        self._lease_ms = int(lease_seconds * 1000)
        self._announce = redis.register_script(_ANNOUNCE)

    async def announce(self, counts: Mapping[str, int]) -> None:
        arguments: list[str | int] = [self._replica, self._lease_ms]
        for user, count in counts.items():
            arguments += [user, count]
        keys = [self._keys.replicas, self._keys.users(self._replica)]
        await _asked(self._announce(keys=keys, args=arguments))

    async def renew(self) -> bool:
        held = await _asked(self._redis.exists(self._keys.users(self._replica)))
        await self.announce({})
        return bool(held)

    async def withdraw(self) -> None:
        async def forget() -> None:
            async with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.delete(self._keys.users(self._replica))
                pipeline.zrem(self._keys.replicas, self._replica)
                await pipeline.execute()

        await _asked(forget())

    async def connected(self) -> dict[str, dict[str, int]]:
        names = await _asked(self._redis.zrange(self._keys.replicas, 0, -1))
        replicas = [name.decode() for name in names]

        async def read() -> list[dict[bytes, bytes]]:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for replica in replicas:
                    # A replica whose lease has run out has no hash any more.
                    pipeline.hgetall(self._keys.users(replica))
                tables: list[dict[bytes, bytes]] = await pipeline.execute()
            return tables

        table: dict[str, dict[str, int]] = {}
        for replica, users in zip(replicas, await _asked(read()), strict=True):
            for user, count in users.items():
                if user:
                    table.setdefault(user.decode(), {})[replica] = int(count)
        return table


async def _asked(question: Awaitable[T] | Any) -> Any:
    try:
        answer = await question
        end_if_cancelled()
        return answer
    except (RedisError, OSError, TimeoutError) as error:
        raise Unavailable(f"Redis did not answer ({type(error).__name__})") from None
