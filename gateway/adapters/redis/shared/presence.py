"""Who is connected, kept in Redis: one hash per replica, held by a lease on Redis' clock."""

from collections import Counter
from collections.abc import Collection, Mapping
from importlib.resources import files

from redis.asyncio import Redis

from gateway.adapters.redis.keys import Keys
from gateway.adapters.redis.places.asked import asked
from gateway.ports.presence import Presence

_ANNOUNCE = files(__package__).joinpath("announce.lua").read_text()


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
        await asked(self._announce(keys=keys, args=arguments))

    async def totals(self, users: Collection[str]) -> dict[str, int]:
        if not users:
            return {}
        replicas = await self._replicas()

        async def read() -> list[list[bytes | None]]:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for replica in replicas:
                    pipeline.hmget(self._keys.users(replica), list(users))
                counts: list[list[bytes | None]] = await pipeline.execute()
            return counts

        sums = Counter[str]()
        for counts in await asked(read()):
            found = zip(users, counts, strict=True)
            sums.update({user: int(count) for user, count in found if count})
        return dict(sums)

    async def renew(self) -> bool:
        held = await asked(self._redis.exists(self._keys.users(self._replica)))
        await self.announce({})
        return bool(held)

    async def withdraw(self) -> None:
        async def forget() -> None:
            async with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.delete(self._keys.users(self._replica))
                pipeline.zrem(self._keys.replicas, self._replica)
                await pipeline.execute()

        await asked(forget())

    async def connected(self) -> dict[str, dict[str, int]]:
        replicas = await self._replicas()

        async def read() -> list[dict[bytes, bytes]]:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for replica in replicas:
                    # A replica whose lease has run out has no hash any more.
                    pipeline.hgetall(self._keys.users(replica))
                tables: list[dict[bytes, bytes]] = await pipeline.execute()
            return tables

        table: dict[str, dict[str, int]] = {}
        for replica, users in zip(replicas, await asked(read()), strict=True):
            for user, count in users.items():
                if user:
                    table.setdefault(user.decode(), {})[replica] = int(count)
        return table

    async def _replicas(self) -> list[str]:
        names = await asked(self._redis.zrange(self._keys.replicas, 0, -1))
        return [name.decode() for name in names]
