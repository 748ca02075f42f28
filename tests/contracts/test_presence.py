"""The promises of `gateway.ports.presence`, on every adapter."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from gateway.adapters.memory.presence import MemoryPresence
from gateway.adapters.redis.keys import Keys
from gateway.adapters.redis.places.connection import connect
from gateway.adapters.redis.shared.presence import RedisPresence
from gateway.ports.presence import Presence
from tests.support.brokers import assembled, fake_redis

LEASE_SECONDS = 0.5

Make = Callable[[str], Presence]


@pytest.fixture(scope="module")
def fake_redis_url() -> Iterator[str]:
    with fake_redis() as url:
        yield url


# The memory adapter has one replica by nature, and no lease that could run out.
across_replicas = pytest.mark.parametrize("make", ["fakeredis", "redis", "cluster"], indirect=True)


@pytest.fixture(params=["memory", "fakeredis", "redis", "cluster"])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    if request.param == "memory":
        yield lambda replica: MemoryPresence(replica=replica)
        return
    keys = Keys(f"gw:{secrets.token_hex(4)}")
    if request.param == "cluster":
        async with assembled(request.getfixturevalue("redis_cluster_url"), keys.prefix) as made:
            redis = made.redis_for(keys.replicas)
            yield lambda replica: RedisPresence(
                redis, keys, replica=replica, lease_seconds=LEASE_SECONDS
            )
        return
    fixture = "fake_redis_url" if request.param == "fakeredis" else "redis_server"
    value = request.getfixturevalue(fixture)
    url = value if isinstance(value, str) else value.url
    redis = connect(url, timeout_seconds=2, connections_max=5)
    yield lambda replica: RedisPresence(redis, keys, replica=replica, lease_seconds=LEASE_SECONDS)
    await redis.aclose()


async def test_what_was_announced_is_there(make: Make) -> None:
    presence = make("one")
    await presence.announce({"alice": 2, "bob": 1})

    assert await presence.connected() == {"alice": {"one": 2}, "bob": {"one": 1}}


async def test_an_announcement_sets_counts_and_zero_removes(make: Make) -> None:
    presence = make("one")
    await presence.announce({"alice": 2, "bob": 1})
    await presence.announce({"alice": 3, "bob": 0})
    await presence.announce({"alice": 3})

    assert await presence.connected() == {"alice": {"one": 3}}


async def test_the_first_renewal_says_that_there_was_no_lease(make: Make) -> None:
    presence = make("one")

    assert not await presence.renew()
    assert await presence.renew()
    assert await presence.connected() == {}


async def test_withdrawing_forgets_the_replica(make: Make) -> None:
    presence = make("one")
    await presence.announce({"alice": 1})
    await presence.withdraw()

    assert await presence.connected() == {}
    assert not await presence.renew()


@across_replicas
async def test_every_replica_sees_all_replicas(make: Make) -> None:
    one, two = make("one"), make("two")
    await one.announce({"alice": 1})
    await two.announce({"alice": 2, "bob": 1})

    assert await one.connected() == {"alice": {"one": 1, "two": 2}, "bob": {"two": 1}}
    await two.withdraw()
    assert await one.connected() == {"alice": {"one": 1}}


@across_replicas
async def test_a_replica_that_stops_renewing_is_forgotten(make: Make) -> None:
    one, two = make("one"), make("two")
    await two.announce({"bob": 1})
    async with asyncio.timeout(LEASE_SECONDS * 6):
        while await one.connected():
            assert await one.renew() in (True, False)
            await asyncio.sleep(0.05)

    assert not await two.renew()
    assert await one.renew()
