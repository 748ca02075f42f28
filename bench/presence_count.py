"""What presence costs on a large channel: python bench/presence_count.py

Starts a redis-server of its own on a free port of the loopback, fills one channel through
several replicas, and measures counting, listing, joins with leaves, and the clean-up after a
replica that died.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence

from redis.asyncio import Redis

from bench.history_reads import redis_server
from gateway.adapters.redis.keys import Keys
from gateway.adapters.redis.places.connection import connect, place_at
from gateway.adapters.redis.places.pipe import Pipe
from gateway.adapters.redis.shared.channel_presence import RedisChannelPresence

_CHANNEL = "chat:large"
_PER_CALL = 500  # what a replica announces at once
_LEASE_SECONDS = 3.0


def make(redis: Redis, url: str, replica: str) -> RedisChannelPresence:
    pipe = Pipe(place_at(url), name=replica, timeout_seconds=10)
    keys = Keys("bench")
    return RedisChannelPresence(redis, pipe, keys, replica=replica, lease_seconds=_LEASE_SECONDS)


async def announce(presence: RedisChannelPresence, users: Sequence[str], count: int) -> None:
    for first in range(0, len(users), _PER_CALL):
        counts = dict.fromkeys(users[first : first + _PER_CALL], count)
        answer = await presence.announce({_CHANNEL: counts})
        assert answer.is_whole
        assert len(answer.crossings) == len(counts)


async def timed(name: str, times: int, ask: Callable[[], Awaitable[object]]) -> None:
    spent = []
    for _ in range(times):
        start = time.perf_counter()
        await ask()
        spent.append((time.perf_counter() - start) * 1000)
    spent.sort()
    print(
        f"{name}: median {statistics.median(spent):.2f} ms, p99 {spent[times * 99 // 100]:.2f} ms"
    )


async def run(url: str, members: int, replicas: int) -> None:
    redis = connect(url, timeout_seconds=10, connections_max=10)
    table = [make(redis, url, f"r{n}") for n in range(replicas)]
    for presence in table:
        await presence.renew()
    users = [f"user{n:07}" for n in range(members)]
    shares = [users[n::replicas] for n in range(replicas)]
    before = (await redis.info("memory"))["used_memory"]

    async def keep(others: Sequence[RedisChannelPresence]) -> None:
        for presence in others:
            await presence.renew()

    start = time.perf_counter()
    for presence, share in zip(table, shares, strict=True):
        await keep(table)
        await announce(presence, share, 1)
    spent = time.perf_counter() - start
    print(f"{members:,} users join over {replicas} replicas: {members / spent:,.0f} joins/s")
    used = (await redis.info("memory"))["used_memory"] - before
    print(f"memory in Redis: {used / members:.0f} bytes per member")

    one = table[0]
    assert await one.headcount(_CHANNEL) == (members, members)
    await timed("count of members and connections", 2000, lambda: one.headcount(_CHANNEL))
    await timed(
        "a page of 100 from the middle",
        500,
        lambda: one.members(_CHANNEL, 100, users[members // 2]),
    )

    start, cursor, listed = time.perf_counter(), "", 0
    while True:
        page = await one.members(_CHANNEL, 1000, cursor)
        listed += len(page.members)
        cursor = page.cursor
        if not cursor:
            break
    assert listed == members
    print(f"full listing in pages of 1000: {(time.perf_counter() - start) * 1000:.0f} ms")

    await keep(table)
    guests = [f"guest{n:05}" for n in range(20_000)]
    start, cpu = time.perf_counter(), time.process_time()
    await announce(one, guests, 1)
    await announce(one, guests, 0)
    spent, cpu = time.perf_counter() - start, time.process_time() - cpu
    print(
        f"join and leave beside them: {len(guests) / spent:,.0f} pairs/s in calls of {_PER_CALL}, "
        f"{cpu / len(guests) * 1e6:.0f} µs of CPU here for each pair"
    )

    async def pair() -> None:
        await announce(one, ["guest"], 1)
        await announce(one, ["guest"], 0)

    await keep(table)
    await timed("one alone who joins and leaves", 1000, pair)

    await keep(table)
    last = time.perf_counter()
    survivors, left, cleaning, slowest = table[:-1], 0, 0.0, 0.0
    while left < len(shares[-1]):
        await keep(survivors)
        renewed = time.perf_counter()
        while time.perf_counter() - renewed < _LEASE_SECONDS / 6:
            start = time.perf_counter()
            crossings, waited = await asyncio.gather(one.sweep(), ping(redis))
            if crossings is None:
                await asyncio.sleep(_LEASE_SECONDS / 6)
                break
            left += len(crossings)
            slowest = max(slowest, waited)
            cleaning += time.perf_counter() - start
    print(
        f"a dead replica's {left:,} members: gone {time.perf_counter() - last:.1f} s after its "
        f"last renewal with a lease of {_LEASE_SECONDS:.0f} s, {cleaning:.2f} s of it cleaning up, "
        f"slowest answer to others meanwhile {slowest * 1000:.1f} ms"
    )
    assert await one.headcount(_CHANNEL) == (members - left, members - left)
    for presence in table:
        await presence.close()
    await redis.aclose()


async def ping(redis: Redis) -> float:
    start = time.perf_counter()
    await redis.ping()
    return time.perf_counter() - start


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--members", type=int, default=100_000)
    parser.add_argument("--replicas", type=int, default=3)
    given = parser.parse_args()
    with redis_server() as url:
        asyncio.run(run(url, given.members, given.replicas))
