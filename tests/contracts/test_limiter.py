"""The promises of `gateway.ports.limiter`, on every adapter.

The real Redis knows only the commands that the list of users of a cluster allows (S53).
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from gateway.adapters.memory import limiter as memory
from gateway.adapters.memory.limiter import MemoryLimiter
from gateway.adapters.redis.keys import Keys
from gateway.adapters.redis.places.connection import connect
from gateway.adapters.redis.shared.limiter import RedisLimiter
from gateway.domain.errors import Unavailable
from gateway.ports.limiter import Limiter, Rate
from tests.support.brokers import assembled
from tests.support.servers import RedisServer, free_port

SLOW = Rate(burst=3, per_seconds=60)
FAST = Rate(burst=2, per_seconds=0.05)


@pytest.fixture(params=["memory", "fakeredis", "redis", "cluster"])
async def limiter(request: pytest.FixtureRequest) -> AsyncIterator[Limiter]:
    if request.param == "memory":
        yield MemoryLimiter()
        return
    keys = Keys(f"gw:{secrets.token_hex(4)}")
    if request.param == "cluster":
        async with assembled(request.getfixturevalue("redis_cluster_url"), keys.prefix) as made:
            yield RedisLimiter(made.redis_for(keys.bucket("")), keys)
        return
    name = "fakeredis_url" if request.param == "fakeredis" else "cluster_redis_url"
    redis = connect(request.getfixturevalue(name), timeout_seconds=5, connections_max=10)
    yield RedisLimiter(redis, keys)
    await redis.aclose()


async def taken(limiter: Limiter, key: str, rate: Rate) -> int:
    """How many units the bucket gives before it refuses."""
    count = 0
    while not await limiter.take([(key, rate)]):
        count += 1
    return count


async def test_a_bucket_gives_its_burst_and_then_says_when_to_come_back(limiter: Limiter) -> None:
    assert await taken(limiter, "a", SLOW) == 3
    assert await limiter.take([("a", SLOW)]) == pytest.approx(60, abs=1)


async def test_a_bucket_does_not_pay_for_another(limiter: Limiter) -> None:
    await taken(limiter, "a", SLOW)
    assert await taken(limiter, "b", SLOW) == 3


async def test_a_refusal_costs_nothing_in_none_of_the_buckets(limiter: Limiter) -> None:
    await taken(limiter, "empty", SLOW)
    for takes in ([("empty", SLOW), ("full", SLOW)], [("full", SLOW), ("empty", SLOW)]):
        for _ in range(5):
            assert await limiter.take(takes) == pytest.approx(60, abs=1)
    assert await taken(limiter, "full", SLOW) == 3


async def test_the_longest_wait_is_told(limiter: Limiter) -> None:
    slower = Rate(burst=1, per_seconds=600)
    await taken(limiter, "a", SLOW)
    await taken(limiter, "b", slower)
    assert await limiter.take([("b", slower), ("a", SLOW)]) == pytest.approx(600, abs=1)


async def test_one_take_takes_from_every_bucket(limiter: Limiter) -> None:
    assert await limiter.take([("a", SLOW), ("b", SLOW)]) == 0.0
    assert [await taken(limiter, "a", SLOW), await taken(limiter, "b", SLOW)] == [2, 2]


async def test_a_bucket_that_is_named_twice_gives_two(limiter: Limiter) -> None:
    assert await limiter.take([("a", SLOW), ("a", SLOW)]) == 0.0
    assert await limiter.take([("a", SLOW), ("a", SLOW)]) > 0.0
    assert await taken(limiter, "a", SLOW) == 1


async def test_what_is_given_back_can_be_taken_again(limiter: Limiter) -> None:
    await taken(limiter, "a", SLOW)
    await limiter.give_back("a", SLOW)
    assert await taken(limiter, "a", SLOW) == 1


async def test_nothing_is_given_back_beyond_the_burst(limiter: Limiter) -> None:
    await limiter.give_back("a", SLOW)
    assert await limiter.take([("a", SLOW)]) == 0.0
    for _ in range(5):
        await limiter.give_back("a", SLOW)
    assert await taken(limiter, "a", SLOW) == 3


async def test_waiting_as_long_as_told_is_enough(limiter: Limiter) -> None:
    for _ in range(5):
        wait = await limiter.take([("a", FAST)])
        await asyncio.sleep(wait)
        if wait:
            assert await limiter.take([("a", FAST)]) == 0.0


async def test_silence_saves_up_no_more_than_the_burst(limiter: Limiter) -> None:
    assert await limiter.take([("a", FAST)]) == 0.0
    await asyncio.sleep(0.4)
    start = time.monotonic()
    waits = await asyncio.gather(*(limiter.take([("a", FAST)]) for _ in range(20)))
    assert waits.count(0.0) <= 2 + (time.monotonic() - start) / FAST.per_seconds


async def test_a_smaller_rate_shuts_no_bucket_for_longer_than_it_takes_to_fill(
    limiter: Limiter,
) -> None:
    await taken(limiter, "a", SLOW)
    assert await limiter.take([("a", FAST)]) <= 3 * 60


async def test_many_at_the_same_moment_get_no_more_than_the_burst(limiter: Limiter) -> None:
    """S28: a hundred guesses at once are no way around the limit."""
    waits = await asyncio.gather(*(limiter.take([("a", SLOW)]) for _ in range(100)))
    assert sum(wait == 0.0 for wait in waits) == 3


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    burst=st.integers(1, 5),
    per_ms=st.integers(5, 50),
    pauses_ms=st.lists(st.integers(0, 12), min_size=1, max_size=8),
    takers=st.integers(1, 4),
)
async def test_no_more_is_taken_than_the_burst_and_what_came_back(
    limiter: Limiter, burst: int, per_ms: int, pauses_ms: list[int], takers: int
) -> None:
    rate, key = Rate(burst, per_ms / 1000), secrets.token_hex(8)
    start, count = time.monotonic(), 0
    for pause_ms in pauses_ms:
        await asyncio.sleep(pause_ms / 1000)
        waits = await asyncio.gather(*(limiter.take([(key, rate)]) for _ in range(takers)))
        count += waits.count(0.0)
        assert count <= burst + (time.monotonic() - start) / rate.per_seconds + 1e-6


async def test_a_mark_lasts_as_long_as_it_was_told(limiter: Limiter) -> None:
    await limiter.remember("long", 60)
    await limiter.remember("short", 0.05)
    assert await limiter.remembers("long")
    await asyncio.sleep(0.1)
    assert await limiter.remembers("long")
    assert not await limiter.remembers("short")
    assert not await limiter.remembers("other")


async def test_a_mark_is_prolonged_by_a_new_one(limiter: Limiter) -> None:
    await limiter.remember("a", 0.05)
    await limiter.remember("a", 60)
    await asyncio.sleep(0.1)
    assert await limiter.remembers("a")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


steps = st.lists(
    st.tuples(st.integers(0, 3000), st.sampled_from(["take", "give back"])), max_size=60
)


@settings(deadline=None)
@given(burst=st.integers(1, 10), per_ms=st.integers(1, 3000), steps=steps)
async def test_in_memory_the_level_is_exact_over_any_time(
    burst: int, per_ms: int, steps: list[tuple[int, str]]
) -> None:
    clock = Clock()
    limiter, rate, level = MemoryLimiter(clock=clock), Rate(burst, per_ms / 1000), float(burst)
    for pause_ms, step in steps:
        clock.now += pause_ms / 1000
        level = min(burst, level + pause_ms / per_ms)
        if step == "give back":
            await limiter.give_back("a", rate)
            level = min(burst, level + 1)
        elif wait := await limiter.take([("a", rate)]):
            assert wait == pytest.approx((1 - level) * rate.per_seconds, abs=1e-5)
        else:
            level -= 1
            assert level > -0.01


async def test_made_up_keys_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_BUCKETS_MAX", 3)
    monkeypatch.setattr(memory, "_MARKS_MAX", 3)
    limiter = MemoryLimiter()
    for key in ("idle", "busy", "c", "d", "e"):
        await taken(limiter, key, SLOW)
        if key != "idle":
            assert await limiter.take([("busy", SLOW)]) or key == "busy"
        await limiter.remember(key, 60)
    assert set(limiter._full_at) == {"busy", "d", "e"}
    assert set(limiter._marked_until) == {"c", "d", "e"}


async def test_replicas_share_their_buckets_and_marks(cluster_redis_url: str) -> None:
    """S28"""
    keys = Keys(f"gw:{secrets.token_hex(4)}")
    clients = [connect(cluster_redis_url, timeout_seconds=2, connections_max=2) for _ in range(2)]
    one, two = (RedisLimiter(client, keys) for client in clients)
    assert await one.take([("a", SLOW)]) == 0.0
    assert await taken(two, "a", SLOW) == 2
    await two.remember("a", 60)
    assert await one.remembers("a")
    for client in clients:
        await client.aclose()


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[Redis]:
    redis = connect(redis_server.url, timeout_seconds=5, connections_max=5)
    yield redis
    await redis.aclose()


async def test_everything_in_redis_ends_by_itself(redis: Redis) -> None:
    keys = Keys(f"test-{secrets.token_hex(4)}")
    limiter = RedisLimiter(redis, keys)
    await limiter.take([("a", SLOW)])
    await limiter.remember("a", 7)

    assert 59_000 < await redis.pttl(keys.bucket("a")) <= 61_000
    assert 6_000 < await redis.pttl(keys.mark("a")) <= 7_000
    await limiter.give_back("a", SLOW)
    assert not await redis.exists(keys.bucket("a"))


async def test_a_clock_that_was_set_back_shuts_no_bucket(redis: Redis) -> None:
    keys = Keys(f"test-{secrets.token_hex(4)}")
    a_year_ahead = int((time.time() + 365 * 86_400) * 1_000_000)
    await redis.set(keys.bucket("a"), a_year_ahead)

    assert await RedisLimiter(redis, keys).take([("a", SLOW)]) == pytest.approx(60, abs=1)


async def test_a_full_redis_refuses_and_has_changed_nothing(own_redis: RedisServer) -> None:
    redis = connect(own_redis.url, timeout_seconds=5, connections_max=2)
    limiter = RedisLimiter(redis, Keys("test"))
    await limiter.take([("b", SLOW)])
    await redis.config_set("maxmemory", "1")
    with pytest.raises(Unavailable):
        await limiter.take([("a", SLOW), ("b", SLOW)])
    with pytest.raises(Unavailable):
        await limiter.remember("a", 60)
    await redis.config_set("maxmemory", "0")

    assert await taken(limiter, "a", SLOW) == 3
    assert await taken(limiter, "b", SLOW) == 2
    await redis.aclose()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A redis-server of one test's own."""
    with RedisServer(tmp_path) as server:
        yield server


async def test_without_redis_every_call_is_unavailable() -> None:
    redis = connect(f"redis://127.0.0.1:{free_port()}", timeout_seconds=1, connections_max=2)
    limiter = RedisLimiter(redis, Keys("test"))
    for call in (
        limiter.take([("a", SLOW)]),
        limiter.give_back("a", SLOW),
        limiter.remember("a", 1),
        limiter.remembers("a"),
    ):
        with pytest.raises(Unavailable):
            await call
    await redis.aclose()


@pytest.mark.parametrize(("burst", "per_seconds"), [(0, 1.0), (1, 0.0), (1, -1.0)])
def test_a_rate_that_would_limit_nothing_or_everything_is_refused(
    burst: int, per_seconds: float
) -> None:
    with pytest.raises(ValueError, match="a rate has"):
        Rate(burst, per_seconds)
