"""Redis' clock, which every replica can ask."""

from redis.asyncio import Redis

from gateway.adapters.redis.places.asked import asked
from gateway.ports.common_clock import CommonClock


class RedisClock(CommonClock):
    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def time(self) -> float:
        seconds, microseconds = await asked(self._redis.time())
        return float(seconds) + float(microseconds) / 1_000_000
