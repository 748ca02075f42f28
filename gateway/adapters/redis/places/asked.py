"""One way to ask Redis through redis-py."""

from collections.abc import Awaitable
from typing import Any

from redis.exceptions import RedisError

from gateway.adapters.redis.places.connection import end_if_cancelled
from gateway.domain.errors import Unavailable


async def asked(question: Awaitable[Any] | Any) -> Any:
    """The answer; raises `Unavailable` where none comes, or one that refuses."""
    try:
        answer = await question
        end_if_cancelled()
        return answer
    except (RedisError, OSError, TimeoutError) as error:
        raise Unavailable(f"Redis did not answer ({type(error).__name__})") from None
