"""Buckets and marks in Redis, the same for all replicas, on Redis' clock."""

import math
from collections.abc import Sequence
from importlib.resources import files

from redis.asyncio import Redis

from gateway.adapters.redis.keys import Keys
from gateway.adapters.redis.places.asked import asked
from gateway.ports.limiter import Limiter, Rate

_GCRA = files(__package__).joinpath("gcra.lua").read_text()


class RedisLimiter(Limiter):
    """Redis is asked once for all buckets of a take.

    On a cluster that means that all buckets stand on one node. Taking them one by one would
    spread them, but then a refusal by the second had to give back the first, and would lose it
    whenever that fails. What is limited here is rare and costs more elsewhere.
    """

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys
        self._gcra = redis.register_script(_GCRA)

    async def take(self, takes: Sequence[tuple[str, Rate]]) -> float:
        wait: float = await self._change(1, takes)
        return wait

    async def give_back(self, key: str, rate: Rate) -> None:
        await self._change(-1, [(key, rate)])

    async def remember(self, key: str, seconds: float) -> None:
        await asked(self._redis.psetex(self._keys.mark(key), math.ceil(seconds * 1000), b"1"))

    async def remembers(self, key: str) -> bool:
        return bool(await asked(self._redis.exists(self._keys.mark(key))))

    async def _change(self, units: int, buckets: Sequence[tuple[str, Rate]]) -> float:
        keys = [self._keys.bucket(key) for key, _ in buckets]
        arguments = [units]
        for _, rate in buckets:
            arguments += [rate.burst, max(round(rate.per_seconds * 1_000_000), 1)]
        return int(await asked(self._gcra(keys=keys, args=arguments))) / 1_000_000
