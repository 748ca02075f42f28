"""The promises of `gateway.ports.channel_presence` about counting, on every adapter.

The real Redis knows only the commands that the list of users of a cluster allows.
"""

import asyncio
from collections import Counter

import pytest

from gateway.adapters.redis.keys import Keys
from gateway.adapters.redis.places.connection import connect
from gateway.domain.errors import Unavailable
from gateway.ports.channel_presence import (
    NOBODY,
    Announced,
    ChannelPresence,
    Crossing,
    Headcount,
    Lease,
)
from tests.support.presence import Table, across_replicas, announce, joined, left, listing
from tests.support.presence import table as table
from tests.support.servers import free_port

# Counting.


async def test_a_channel_that_nobody_listens_to_is_empty(table: Table) -> None:
    presence = await table.join("one")
    assert await presence.headcount("room") == NOBODY
    assert await listing(presence) == {}
    assert await presence.channels(10) == ([], "")


async def test_members_and_their_connections_are_counted(table: Table) -> None:
    presence = await table.join("one")
    await presence.announce({"room": {"alice": 2, "bob": 1}, "lobby": {"alice": 1}})
    assert await presence.headcount("room") == Headcount(2, 3)
    assert await presence.headcount("lobby") == Headcount(1, 1)
    assert await listing(presence) == {"alice": 2, "bob": 1}
    assert await presence.channels(10) == (
        [("lobby", Headcount(1, 1)), ("room", Headcount(2, 3))],
        "",
    )


async def test_an_announcement_sets_counts_and_says_who_crossed(table: Table) -> None:
    presence = await table.join("one")
    assert await announce(presence, alice=1, bob=2) == joined("room", "alice", "bob")
    assert await announce(presence, alice=3, bob=0, carol=0) == left("room", "bob")
    assert await announce(presence, alice=3, bob=0) == []
    assert await listing(presence) == {"alice": 3}
    assert await announce(presence, alice=0) == left("room", "alice")
    assert await presence.headcount("room") == NOBODY
    assert await presence.channels(10) == ([], "")
    assert await announce(presence, alice=1) == joined("room", "alice")
    assert await presence.headcount("room") == Headcount(1, 1)
    assert await presence.channels(10) == ([("room", Headcount(1, 1))], "")


async def test_a_channel_that_fills_again_is_listed_again(table: Table) -> None:
    presence = await table.join("one")
    await announce(presence, alice=1)
    await announce(presence, alice=0)
    assert await presence.renew() is Lease.HELD
    await announce(presence, alice=1)
    assert await presence.channels(10) == ([("room", Headcount(1, 1))], "")


async def test_a_channel_left_for_good_leaves_nothing_behind(table: Table) -> None:
    presence = await table.join("one")
    for number in range(20):
        await announce(presence, f"c{number}", alice=1)
        await announce(presence, f"c{number}", alice=0)
    await presence.renew()
    if table.redis is not None:
        for number in range(20):
            assert not await table.redis_of(f"c{number}").exists(
                table.keys.members(f"c{number}"), table.keys.member_names(f"c{number}")
            )
        assert not await table.redis.exists(table.keys.holdings(presence._holder))  # type: ignore[attr-defined]


async def test_any_name_can_be_a_user(table: Table) -> None:
    presence = await table.join("one")
    names = ["ñ 'x' \"y\"", "a{b}c", "0", "(", "-", "+", "x" * 150, "日本"]
    await presence.announce({"room": dict.fromkeys(names, 1)})
    assert await listing(presence) == dict.fromkeys(names, 1)
    first = await presence.members("room", 3)
    rest = await presence.members("room", 100, first.cursor)
    assert sorted(user for user, _ in [*first.members, *rest.members]) == sorted(names)


async def test_before_the_first_renewal_nothing_is_announced(table: Table) -> None:
    presence = table.make("one")
    assert await presence.announce({"room": {"alice": 1}}) == Announced([], False)
    assert await presence.renew() is Lease.ENDED
    assert await presence.headcount("room") == NOBODY
    assert await presence.renew() is Lease.HELD


# Paging.


async def test_members_are_paged_by_name(table: Table) -> None:
    presence = await table.join("one")
    names = [f"user{n:03}" for n in range(25)]
    await presence.announce({"room": dict.fromkeys(names, 1)})
    pages, cursor = [], ""
    while True:
        page = await presence.members("room", 10, cursor)
        pages.append([user for user, _ in page.members])
        cursor = page.cursor
        if not cursor:
            break
    assert pages == [names[:10], names[10:20], names[20:]]


async def test_who_stays_is_listed_once_though_others_come_and_go(table: Table) -> None:
    presence = await table.join("one")
    stay = [f"stay{n:03}" for n in range(30)]
    await presence.announce({"room": dict.fromkeys(stay, 1)})
    seen: Counter[str] = Counter()
    cursor, turn = "", 0
    while True:
        come = {f"a{turn}": 1, f"stay{turn:03}x": 1, f"z{turn}": 1}
        await presence.announce({"room": come})
        await presence.announce({"room": {f"a{turn}": 0}})
        page = await presence.members("room", 4, cursor)
        seen.update(user for user, _ in page.members)
        cursor, turn = page.cursor, turn + 1
        if not cursor:
            break
    assert {user: seen[user] for user in stay} == dict.fromkeys(stay, 1)


async def test_channels_are_paged_by_name(table: Table) -> None:
    presence = await table.join("one")
    names = [f"c{n:02}" for n in range(7)]
    await presence.announce({name: {"alice": 1} for name in names})
    first = await presence.channels(5)
    rest = await presence.channels(5, first.cursor)
    assert [name for name, _ in first.channels] == names[:5]
    assert ([name for name, _ in rest.channels], rest.cursor) == (names[5:], "")


# Several replicas.


@across_replicas
async def test_the_same_user_on_two_replicas_is_one_member(table: Table) -> None:
    one, two = await table.join("one", 5), await table.join("two", 5)
    assert await announce(one, alice=1) == joined("room", "alice")
    assert await announce(two, alice=2, bob=1) == joined("room", "bob")
    assert await one.headcount("room") == Headcount(2, 4)
    assert await listing(one) == {"alice": 3, "bob": 1}
    assert await announce(one, alice=0) == []
    assert await announce(two, alice=1) == []
    assert await announce(two, alice=0) == left("room", "alice")
    assert await listing(one) == {"bob": 1}


@across_replicas
async def test_channels_of_all_replicas_are_listed_once(table: Table) -> None:
    one, two = await table.join("one", 5), await table.join("two", 5)
    await one.announce({"a": {"alice": 1}, "c": {"alice": 1}})
    await two.announce({"a": {"bob": 1}, "b": {"bob": 1}, "d": {"bob": 1}})
    first = await one.channels(3)
    assert [name for name, _ in first.channels] == ["a", "b", "c"]
    assert first.channels[0][1] == Headcount(2, 2)
    assert [name for name, _ in (await one.channels(3, first.cursor)).channels] == ["d"]


@across_replicas
async def test_in_a_race_exactly_one_replica_reports_each_crossing(table: Table) -> None:
    replicas = [await table.join(f"r{n}", 30) for n in range(3)]
    crossings: list[Crossing] = []

    async def come_and_go(presence: ChannelPresence) -> None:
        for turn in range(20):
            crossings.extend(await announce(presence, alice=turn % 3, bob=1 - turn % 2))
        crossings.extend(await announce(presence, alice=0, bob=0))

    async with asyncio.TaskGroup() as group:
        for presence in replicas:
            group.create_task(come_and_go(presence))
    counts = Counter((crossing.user, crossing.joined) for crossing in crossings)
    for user in ("alice", "bob"):
        assert counts[user, True] == counts[user, False] > 0
    assert await replicas[0].headcount("room") == NOBODY


async def test_a_table_out_of_reach_is_unavailable() -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    table = Table(connect(url, timeout_seconds=1, connections_max=2), url, Keys("gw"))
    presence = table.make("one")
    for question in (
        presence.renew,
        presence.sweep,
        lambda: presence.headcount("room"),
        lambda: presence.members("room", 10),
        lambda: presence.channels(10),
    ):
        with pytest.raises(Unavailable):
            await question()
    await table.close()
