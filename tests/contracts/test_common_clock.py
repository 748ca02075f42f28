"""The promise of `gateway.ports.common_clock`, on every adapter.

The real Redis knows only the commands that the list of users of a cluster allows (S53).
"""

import secrets
import time
from collections.abc import AsyncIterator

import pytest

from gateway.adapters.redis.keys import Keys
from gateway.adapters.redis.places.connection import connect
from gateway.adapters.redis.shared.common_clock import RedisClock
from gateway.domain.errors import Unavailable
from gateway.ports.common_clock import CommonClock
from tests.support.brokers import assembled
from tests.support.servers import free_port


@pytest.fixture(params=["fakeredis", "redis", "cluster"])
async def clock(request: pytest.FixtureRequest) -> AsyncIterator[CommonClock]:
    if request.param == "cluster":
        keys = Keys(f"gw:{secrets.token_hex(4)}")
        async with assembled(request.getfixturevalue("redis_cluster_url"), keys.prefix) as made:
            yield RedisClock(made.redis_for(keys.revocations))
        return
    name = "fakeredis_url" if request.param == "fakeredis" else "cluster_redis_url"
    redis = connect(request.getfixturevalue(name), timeout_seconds=5, connections_max=2)
    yield RedisClock(redis)
    await redis.aclose()


async def test_it_tells_the_time_of_this_machine_on_which_it_runs(clock: CommonClock) -> None:
    before = time.time()
    told = await clock.time()
    assert before - 0.01 <= told <= time.time() + 0.01


async def test_without_redis_it_cannot_be_read() -> None:
    redis = connect(f"redis://127.0.0.1:{free_port()}", timeout_seconds=1, connections_max=2)
    with pytest.raises(Unavailable):
        await RedisClock(redis).time()
    await redis.aclose()
