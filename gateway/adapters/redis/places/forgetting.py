"""Saying at the start what Redis is set up to forget."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from gateway.adapters.redis.places.connection import end_if_cancelled

_RETRY_SECONDS = 2.0
_SAFE_POLICY = "noeviction"

logger = logging.getLogger(__name__)


async def warn_of_forgetting(redis: Redis) -> None:
    """Look once, as soon as Redis answers, and write a warning for each thing it would lose."""
    while True:
        try:
            memory, persistence = await redis.info("memory"), await redis.info("persistence")
        except ResponseError:
            return  # a user of an older list, who may not ask
        except (RedisError, OSError, TimeoutError):
            await asyncio.sleep(_RETRY_SECONDS)
            continue
        finally:
            end_if_cancelled()
        for concern in concerns(memory | persistence):
            logger.warning("Redis %s", concern)
        return


def concerns(info: Mapping[str, Any]) -> list[str]:
    """What is wrong with a Redis that describes itself so; no answer is no concern."""
    found = []
    policy = info.get("maxmemory_policy", _SAFE_POLICY)
    if info.get("maxmemory", 0) and policy != _SAFE_POLICY:
        found.append(
            f"drops what it likes when it is full (maxmemory-policy {policy}): histories, tickets "
            f"and the counts of failed logins; set it to {_SAFE_POLICY}"
        )
    if not info.get("aof_enabled", 1):
        found.append(
            "keeps nothing over a restart but old snapshots (appendonly no): histories, and the "
            "counts of failed logins; revoked tokens stay revoked, for the database has them"
        )
    return found
