"""Counting who listens here, and keeping the table current."""

import asyncio

import pytest

from gateway.domain.errors import Denied, InvalidChannel, NotFound
from gateway.domain.namespaces import Namespace, Namespaces
from gateway.domain.principal import ADMIN_ROLE
from gateway.ports.channel_presence import Headcount
from tests.unit.core.attending import OFF, World, who

# Counting.


async def test_the_table_follows_at_once() -> None:
    world = World()
    async with world.running():
        world.join("room", "alice")
        world.join("room", "alice")
        world.join("lobby", "bob")
        await world.until_table({"room": {"alice": 2}, "lobby": {"bob": 1}})
        world.leave("room", "alice")
        world.leave("lobby", "bob")
        await world.until_table({"room": {"alice": 1}})


def test_nobody_leaves_without_having_joined() -> None:
    world = World()
    world.join("room", "alice")
    world.leave("room", "alice")
    with pytest.raises(ValueError, match="had not joined"):
        world.leave("room", "alice")


def test_who_left_takes_no_memory() -> None:
    world = World()
    for number in range(100):
        world.join(f"room{number}", "alice")
        world.leave(f"room{number}", "alice")
    assert list(world.attendance._here) == []
    assert world.attendance._here._channels == {}


async def test_a_namespace_without_presence_is_not_announced() -> None:
    world = World()
    async with world.running():
        world.join("off:room", "alice")
        await world.settle()
        world.leave("off:room", "alice")
        await world.settle()
    assert all(not channel.startswith("off") for call in world.table.announced for channel in call)


async def test_presence_can_be_turned_on_and_off_while_somebody_is_there() -> None:
    world = World(renew_interval_seconds=10)
    async with world.running():
        world.join("off:room", "alice")
        world.join("on:room", "bob")
        await world.until_table({"on:room": {"bob": 1}})
        world.namespaces.replace(Namespaces(OFF, {"off": Namespace()}))
        world.now += 10
        world.attendance.connected()
        await world.until_table({"off:room": {"alice": 1}})
        world.join("off:room", "alice")
        await world.until_table({"off:room": {"alice": 2}})
        world.leave("off:room", "alice")
        world.leave("off:room", "alice")
        world.leave("on:room", "bob")
        await world.until_table({})


async def test_what_changes_during_a_call_goes_into_the_next_one() -> None:
    world = World()
    world.table.open.clear()
    world.join("room", "alice")
    async with world.running():
        await world.table.entered.wait()
        for _ in range(100):
            world.join("room", "alice")
            world.join("room", "bob")
        world.table.open.set()
        await world.until_table({"room": {"alice": 101, "bob": 100}})
    assert len(world.table.announced) == 2


async def test_a_storm_is_announced_in_calls_of_a_limited_size() -> None:
    world = World()
    for number in range(1200):
        world.join("room", f"user{number}")
    async with world.running():
        await world.until_table({"room": {f"user{number}": 1 for number in range(1200)}})
    sizes = [sum(map(len, call.values())) for call in world.table.announced]
    assert sizes == [500, 500, 200]


async def test_who_comes_and_goes_between_two_calls_is_never_announced() -> None:
    world = World(leave_delay_seconds=10)
    world.join("room", "alice")
    world.leave("room", "alice")
    async with world.running():
        await world.table.until(lambda: world.table.renewals == 1)
        world.now += 10
        world.join("room", "bob")
        await world.until_table({"room": {"bob": 1}})
    assert world.table.announced == [{"room": {"bob": 1}}]


# Leaving late.


async def test_a_page_that_reloads_goes_unnoticed() -> None:
    world = World(leave_delay_seconds=10)
    async with world.running():
        world.join("chat:a", "alice")
        await world.until_table({"chat:a": {"alice": 1}})
        world.leave("chat:a", "alice")
        world.now += 9.9
        world.join("chat:a", "alice")
        world.now += 9.9
        world.join("chat:a", "bob")
        await world.until_table({"chat:a": {"alice": 1, "bob": 1}})
    assert [list(call["chat:a"]) for call in world.table.announced] == [["alice"], ["bob"]]
    assert [kind for _, kind in world.notices] == [
        b"user_joined {'channel': 'chat:a', 'user': 'alice'}",
        b"user_joined {'channel': 'chat:a', 'user': 'bob'}",
    ]


async def test_who_does_not_come_back_has_left_a_moment_later() -> None:
    world = World(leave_delay_seconds=10)
    async with world.running():
        world.join("room", "alice")
        await world.until_table({"room": {"alice": 1}})
        world.leave("room", "alice")
        world.now += 9.9
        world.join("room", "bob")
        await world.until_table({"room": {"alice": 1, "bob": 1}})
        world.now += 0.1
        world.join("room", "carol")
        await world.until_table({"room": {"bob": 1, "carol": 1}})


async def test_a_leave_is_announced_though_nothing_else_happens() -> None:
    world = World(leave_delay_seconds=0.02)
    async with world.running():
        world.join("room", "alice")
        await world.until_table({"room": {"alice": 1}})
        world.leave("room", "alice")
        await asyncio.sleep(0)
        world.now += 0.02
        await world.until_table({})


async def test_who_is_leaving_is_not_announced_with_the_others() -> None:
    world = World(leave_delay_seconds=10)
    async with world.running():
        world.join("room", "alice")
        await world.until_table({"room": {"alice": 1}})
        world.join("room", "alice")
        world.leave("room", "alice")
        world.leave("room", "alice")
        world.join("room", "bob")
        await world.until_table({"room": {"alice": 1, "bob": 1}})
    assert len(world.table.announced) == 2


async def test_who_came_back_is_counted_at_once() -> None:
    world = World(leave_delay_seconds=10)
    async with world.running():
        world.join("room", "alice")
        await world.until_table({"room": {"alice": 1}})
        world.leave("room", "alice")
        world.join("room", "alice")
        world.join("room", "alice")
        await world.until_table({"room": {"alice": 2}})


async def test_one_of_two_tabs_leaves_at_once() -> None:
    world = World(leave_delay_seconds=10)
    async with world.running():
        world.join("room", "alice")
        world.join("room", "alice")
        await world.until_table({"room": {"alice": 2}})
        world.leave("room", "alice")
        await world.until_table({"room": {"alice": 1}})


async def test_a_stopping_replica_leaves_its_users_to_its_lease() -> None:
    world = World(leave_delay_seconds=1)
    async with world.running():
        world.join("chat:a", "alice")
        world.join("chat:a", "bob")
        await world.until_table({"chat:a": {"alice": 1, "bob": 1}})
        world.leave("chat:a", "alice")
        world.attendance.hand_over()
        world.leave("chat:a", "bob")
        world.now += 100
        world.join("end", "end")
        await world.until_table({"chat:a": {"alice": 1, "bob": 1}, "end": {"end": 1}})
    assert world.table.closed
    assert not any(b"left" in notice for _, notice in world.notices)


# Asking.


async def test_whoever_may_subscribe_may_ask_who_is_there() -> None:
    world = World()
    async with world.running():
        for user in ("carol", "alice", "bob", "bob"):
            world.join("room", user)
        await world.table.until(lambda: world.table.table.get("room", {}).get("bob") == 2)
        members = world.attendance.members
        count, page = await members(who("zoe"), "room", 2, "")
        assert count == Headcount(3, 4)
        assert page == ([("alice", 1), ("bob", 2)], "bob")
        with pytest.raises(Denied, match="grant"):
            await members(who("zoe", subscribe=["lobby"]), "room", 2, "")
        with pytest.raises(Denied, match="personal"):
            await members(who("zoe"), "user:alice", 2, "")
        with pytest.raises(InvalidChannel):
            await members(who("zoe"), "ro*m", 2, "")
        with pytest.raises(NotFound):
            await members(who("zoe"), "off:room", 2, "")


async def test_administrators_may_list_the_channels() -> None:
    world = World()
    async with world.running():
        world.join("room", "alice")
        await world.until_table({"room": {"alice": 1}})
        page = await world.attendance.channels(who("root", ADMIN_ROLE), 10, "")
        assert page == ([("room", Headcount(1, 1))], "")
        with pytest.raises(Denied):
            await world.attendance.channels(who("zoe"), 10, "")
