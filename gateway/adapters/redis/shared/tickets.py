"""Tickets in Redis: whoever can read it learns no ticket that could be used."""

import hashlib
import math

from redis.asyncio import Redis

from gateway.adapters.redis.keys import Keys
from gateway.adapters.redis.places.asked import asked
from gateway.ports.tickets import Tickets


class RedisTickets(Tickets):
    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    async def put(self, ticket_key: str, value: bytes, lifetime_seconds: float) -> None:
        lifetime_ms = math.ceil(lifetime_seconds * 1000)
        await asked(self._redis.psetex(self._name(ticket_key), lifetime_ms, value))

    async def take(self, ticket_key: str) -> bytes | None:
        # Reading and removing in one step is what makes it once; Redis has it since 6.2.
        value: bytes | None = await asked(self._redis.getdel(self._name(ticket_key)))
        return value

    def _name(self, ticket_key: str) -> str:
        return self._keys.ticket(hashlib.sha256(ticket_key.encode()).hexdigest())
