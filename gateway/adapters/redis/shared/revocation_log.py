"""The revocations where every replica finds them at once: in one hash at Redis.

Redis may lose it. The log in SQL does not, and each replica puts back what is missing here.
"""

import logging
import time
from dataclasses import asdict
from importlib.resources import files

import orjson
from redis.asyncio import Redis

from gateway.adapters.redis.keys import Keys
from gateway.adapters.redis.places.asked import asked
from gateway.domain.revocations import Revocation
from gateway.ports.revocation_log import RevocationLog

logger = logging.getLogger(__name__)

_REVOKE = files(__package__).joinpath("revoke.lua").read_text()


class RedisRevocationLog(RevocationLog):
    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._key = keys.revocations
        self._revoke = redis.register_script(_REVOKE)

    async def add(self, revocation: Revocation) -> None:
        await asked(
            self._revoke(
                keys=[self._key],
                args=[
                    f"{revocation.kind}:{revocation.subject}",
                    orjson.dumps(asdict(revocation)),
                    revocation.before,
                    revocation.expires_at,
                    int(time.time()),
                ],
            )
        )

    async def live(self, now: float) -> list[Revocation]:
        return [entry for entry in await self._entries() if entry.expires_at > now]

    async def prune(self, now: float) -> int:
        gone = [entry for entry in await self._entries() if entry.expires_at <= now]
        if not gone:
            return 0
        names = [f"{entry.kind}:{entry.subject}" for entry in gone]
        return int(await asked(self._redis.hdel(self._key, *names)))

    async def _entries(self) -> list[Revocation]:
        table: dict[bytes, bytes] = await asked(self._redis.hgetall(self._key))
        entries = [_revocation(text) for text in table.values()]
        return [entry for entry in entries if entry is not None]


def _revocation(text: bytes) -> Revocation | None:
    """None for what this version cannot read: a newer one's, while it is rolled out."""
    try:
        return Revocation.read(orjson.loads(text))
    except ValueError:
        logger.warning("Redis holds a revocation that this version does not understand")
        return None
