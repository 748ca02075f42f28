"""Replicas that share a table of who listens to which channel, for the contract suites."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence

import pytest
from redis.asyncio import Redis

from gateway.adapters.memory.channel_presence import MemoryChannelPresence
from gateway.adapters.redis.assembly import Assembled
from gateway.adapters.redis.cluster.pipe import RoutedPipe
from gateway.adapters.redis.keys import Keys
from gateway.adapters.redis.places.connection import connect, place_at
from gateway.adapters.redis.places.pipe import Commands, Pipe
from gateway.adapters.redis.shared.channel_presence import SCRIPTS, RedisChannelPresence
from gateway.ports.channel_presence import ChannelPresence, Crossing, Lease
from tests.support.brokers import assembled

LEASE_SECONDS = 0.4


class Table:
    """Replicas that share one table of their own."""

    def __init__(
        self, redis: Redis | None, url: str, keys: Keys, made: Assembled | None = None
    ) -> None:
        """``made``: where it is a cluster, what knows its way there."""
        self.redis = redis
        self.keys = keys
        self._cluster = made
        self._url = url
        self._made: list[ChannelPresence] = []

    async def join(self, replica: str, lease_seconds: float = LEASE_SECONDS) -> ChannelPresence:
        """A replica that holds a lease."""
        presence = self.make(replica, lease_seconds)
        assert await presence.renew() is Lease.ENDED
        return presence

    def make(self, replica: str, lease_seconds: float = LEASE_SECONDS) -> ChannelPresence:
        presence: ChannelPresence
        if self.redis is None:
            presence = MemoryChannelPresence()
        else:
            presence = RedisChannelPresence(
                self.redis,
                self._pipe(replica),
                self.keys,
                replica=replica,
                lease_seconds=lease_seconds,
                redis_of=self.redis_of,
            )
        self._made.append(presence)
        return presence

    def _pipe(self, replica: str) -> Commands:
        if self._cluster is None:
            return Pipe(place_at(self._url), name=replica, timeout_seconds=5)
        pipe = self._cluster.presence_pipe  # one call at a time: each replica has its own
        assert isinstance(pipe, RoutedPipe)
        return RoutedPipe(pipe.cluster, name=replica, scripts=SCRIPTS)

    def redis_of(self, channel: str) -> Redis:
        """Where the channel's members are."""
        assert self.redis is not None
        return self.redis if self._cluster is None else self._cluster.redis_of(channel)

    async def wipe(self) -> None:
        """What FLUSHALL does, which a user of a cluster may not."""
        assert self.redis is not None
        names = ["one", "two", "room", "lobby"]
        keys = self.keys
        await self.redis.delete(keys.presence, keys.leases, keys.ended_leases)
        for name in names:
            await self.redis_of(name).delete(keys.members(name), keys.member_names(name))
        for presence in self._made:
            holder = presence._holder  # type: ignore[attr-defined]
            await self.redis.delete(keys.holdings(holder))
            for name in names:
                await self.redis_of(name).delete(keys.held(name, holder))

    async def close(self) -> None:
        for presence in self._made:
            await presence.close()
        if self.redis is not None:
            await self.redis.aclose()


@pytest.fixture(params=["memory", "fakeredis", "redis", "cluster"])
async def table(request: pytest.FixtureRequest) -> AsyncIterator[Table]:
    redis, url = None, ""
    keys = Keys(f"gw:{secrets.token_hex(4)}")
    if request.param == "cluster":
        async with assembled(request.getfixturevalue("redis_cluster_url"), keys.prefix) as made:
            table = Table(made.redis_for(keys.presence), "", keys, made)
            yield table
            await table.close()
        return
    if request.param != "memory":
        name = "fakeredis_url" if request.param == "fakeredis" else "cluster_redis_url"
        url = request.getfixturevalue(name)
        redis = connect(url, timeout_seconds=5, connections_max=5)
    table = Table(redis, url, keys)
    yield table
    await table.close()


# The memory adapter has one replica by nature, and no lease that could run out.
across_replicas = pytest.mark.parametrize("table", ["fakeredis", "redis", "cluster"], indirect=True)


def joined(channel: str, *users: str) -> list[Crossing]:
    return [Crossing(channel, user, True) for user in users]


def left(channel: str, *users: str) -> list[Crossing]:
    return [Crossing(channel, user, False) for user in users]


async def announce(
    presence: ChannelPresence, channel: str = "room", **counts: int
) -> Sequence[Crossing]:
    crossings, is_whole = await presence.announce({channel: counts})
    assert is_whole
    return crossings


async def listing(presence: ChannelPresence, channel: str = "room") -> dict[str, int]:
    page = await presence.members(channel, 1000)
    assert page.cursor == ""
    return dict(page.members)


async def swept(*presences: ChannelPresence, until: int = 1) -> list[Crossing]:
    """What the sweeps of these replicas find, each renewing, until it is so much."""
    found: list[Crossing] = []
    async with asyncio.timeout(LEASE_SECONDS * 10):
        while True:
            for presence in presences:
                assert await presence.renew() is Lease.HELD
                while (crossings := await presence.sweep()) is not None:
                    found += crossings
            if len(found) >= until:
                return found
            await asyncio.sleep(LEASE_SECONDS / 8)
