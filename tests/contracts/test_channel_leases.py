"""The promises of `gateway.ports.channel_presence` about replicas that die or lose the table.

The real Redis knows only the commands that the list of users of a cluster allows.
"""

import asyncio
import time

from gateway.adapters.redis.shared.channel_presence import RedisChannelPresence
from gateway.ports.channel_presence import NOBODY, Announced, Crossing, Headcount, Lease
from tests.support.presence import (
    LEASE_SECONDS,
    Table,
    across_replicas,
    announce,
    joined,
    left,
    listing,
    swept,
)
from tests.support.presence import table as table


@across_replicas
async def test_what_a_dead_replica_held_is_taken_out_once(table: Table) -> None:
    one, two, dead = [await table.join(name) for name in ("one", "two", "dead")]
    await announce(one, alice=1)
    await dead.announce({"room": {"alice": 2, "bob": 1, "carol": 1}, "lobby": {"dave": 1}})
    await announce(two, carol=1)
    assert await one.headcount("room") == Headcount(3, 6)

    found = await swept(one, two, until=2)
    assert sorted(found) == sorted([*left("room", "bob"), *left("lobby", "dave")])
    assert await listing(one) == {"alice": 1, "carol": 1}
    assert await one.headcount("room") == Headcount(2, 2)
    assert await one.headcount("lobby") == NOBODY
    assert (await one.channels(10)).channels == [("room", Headcount(2, 2))]


@across_replicas
async def test_survivors_that_sweep_at_the_same_time_share_what_they_find(table: Table) -> None:
    survivors = [await table.join(f"r{n}") for n in range(3)]
    dead = await table.join("dead")
    names = [f"user{n}" for n in range(450)]
    for number in range(0, 450, 150):
        await dead.announce({f"c{number}": dict.fromkeys(names[number : number + 150], 1)})
    await dead.announce({"big": dict.fromkeys(names, 1)})
    async with asyncio.timeout(10):
        found: list[Crossing] = []
        while len(found) < 900:
            for each in survivors:
                assert await each.renew() is Lease.HELD
            for crossings in await asyncio.gather(*(each.sweep() for each in survivors)):
                found += crossings or ()
            await asyncio.sleep(0.01)
    assert len(found) == len(set(found)) == 900
    assert await survivors[0].headcount("big") == NOBODY


@across_replicas
async def test_a_half_finished_clean_up_is_finished_by_another(table: Table) -> None:
    one, two, dead = [await table.join(name) for name in ("one", "two", "dead")]
    await dead.announce({f"c{n:03}": {"alice": 1} for n in range(120)})
    found: list[Crossing] = []
    async with asyncio.timeout(5):
        while not found:
            await one.renew()
            await two.renew()
            found += await one.sweep() or ()
            await asyncio.sleep(0.02)
    assert len(found) < 120
    found += await swept(two, until=120 - len(found))
    assert len(found) == len(set(found)) == 120


@across_replicas
async def test_a_replica_that_renews_keeps_its_place(table: Table) -> None:
    one, two = await table.join("one"), await table.join("two")
    await announce(two, bob=1)
    end = time.monotonic() + LEASE_SECONDS * 3
    while time.monotonic() < end:
        assert await one.renew() is Lease.HELD
        assert await two.renew() is Lease.HELD
        assert await one.sweep() is None
        await asyncio.sleep(LEASE_SECONDS / 8)
    assert await listing(one) == {"bob": 1}


@across_replicas
async def test_a_replica_that_was_given_up_for_dead_announces_nothing_and_begins_anew(
    table: Table,
) -> None:
    one, sleeper = await table.join("one"), await table.join("sleeper")
    await announce(sleeper, alice=1)
    assert await swept(one) == left("room", "alice")

    assert await sleeper.announce({"room": {"alice": 2}}) == Announced([], False)
    assert await one.headcount("room") == NOBODY
    assert await sleeper.renew() is Lease.ENDED
    assert await announce(sleeper, alice=2) == joined("room", "alice")
    assert await one.headcount("room") == Headcount(1, 2)


@across_replicas
async def test_what_a_sleeper_had_on_its_way_changes_nothing_when_it_wakes(table: Table) -> None:
    """It had written down the channel, fell asleep, and its call arrives after its end."""
    one, sleeper = await table.join("one"), await table.join("sleeper")
    assert isinstance(sleeper, RedisChannelPresence)
    await announce(sleeper, bob=1)
    assert await sleeper._prolong(["lobby"])
    assert await swept(one) == left("room", "bob")

    sleeper._prolong = lambda new: asyncio.sleep(0, True)  # type: ignore[method-assign]
    assert await sleeper.announce({"lobby": {"alice": 1}}) == Announced([], False)
    assert await one.headcount("lobby") == NOBODY


@across_replicas
async def test_after_a_time_without_redis_nobody_is_taken_for_dead(table: Table) -> None:
    one, two = await table.join("one"), await table.join("two")
    await announce(two, bob=1)
    await asyncio.sleep(LEASE_SECONDS * 1.5)  # nobody can renew
    for _ in range(3):
        assert await one.renew() is Lease.HELD
        assert await one.sweep() is None
    assert await two.renew() is Lease.HELD
    assert await listing(one) == {"bob": 1}


@across_replicas
async def test_a_lost_table_is_told_from_a_lost_lease(table: Table) -> None:
    one, two = await table.join("one", 5), await table.join("two", 5)
    await announce(one, alice=1)
    await announce(two, alice=1)
    await table.wipe()

    assert await one.announce({"room": {"bob": 1}}) == Announced([], False)
    assert await one.renew() is Lease.EMPTIED
    assert await announce(one, alice=1) == joined("room", "alice")
    assert await two.renew() is Lease.EMPTIED
    assert await announce(two, alice=1) == []
    assert [await one.renew(), await two.renew()] == [Lease.HELD, Lease.HELD]
    assert await one.headcount("room") == Headcount(1, 2)


@across_replicas
async def test_a_channel_that_redis_dropped_is_brought_back(table: Table) -> None:
    one = await table.join("one", 5)
    await announce(one, alice=1, bob=1)
    keys = table.keys
    held = keys.held("room", one._holder)  # type: ignore[attr-defined]
    await table.redis_of("room").delete(held, keys.members("room"), keys.member_names("room"))

    assert await one.announce({"room": {"carol": 1}}) == Announced([], False)
    assert await one.renew() is Lease.EMPTIED
    await announce(one, alice=1, bob=1, carol=1)
    assert await one.headcount("room") == Headcount(3, 3)
