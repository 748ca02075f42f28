"""Telling the listeners who comes and goes, whatever happens to the table."""

import asyncio

import pytest

from gateway.core import attendance as module
from gateway.ports.channel_presence import Lease
from tests.unit.core.attending import SECONDS, World, crossings

# Notices.


async def test_listeners_are_told_who_comes_and_goes() -> None:
    world = World()
    async with world.running():
        world.join("chat:a", "alice")
        world.join("chat:a", "alice")
        world.join("room", "alice")
        await world.table.until(lambda: len(world.notices) == 1)
        world.leave("chat:a", "alice")
        await world.until_table({"chat:a": {"alice": 1}, "room": {"alice": 1}})
        world.leave("chat:a", "alice")
        world.leave("room", "alice")
        await world.table.until(lambda: len(world.notices) == 2)
    assert world.notices == [
        ("chat:a", b"user_joined {'channel': 'chat:a', 'user': 'alice'}"),
        ("chat:a", b"user_left {'channel': 'chat:a', 'user': 'alice'}"),
    ]


async def test_many_who_come_together_are_told_in_one_signal() -> None:
    world = World()
    for number in range(50):
        world.join("chat:a", f"user{number}")
    async with world.running():
        await world.table.until(lambda: bool(world.notices))
    assert len(world.signals) == len(world.notices) == 1
    assert world.notices[0][1].count(b"user_joined") == 50


async def test_who_is_also_elsewhere_neither_comes_nor_goes() -> None:
    world = World()
    world.table.elsewhere = {("chat:a", "alice"): 1}
    async with world.running():
        world.join("chat:a", "alice")
        await world.until_table({"chat:a": {"alice": 1}})
        world.leave("chat:a", "alice")
        await world.until_table({})
        await world.settle()
    assert world.notices == []


async def test_who_was_on_a_dead_replica_has_left() -> None:
    world = World(renew_interval_seconds=0.01)
    world.table.dead = [
        crossings("chat:a", False, "alice", "bob"),
        crossings("room", False, "carol"),
        [],
        crossings("chat:b", False, "dave"),
    ]
    async with world.running():
        await world.table.until(lambda: len(world.notices) == 2)
    assert [channel for channel, _ in world.notices] == ["chat:a", "chat:b"]
    assert world.notices[0][1].count(b"user_left") == 2


async def test_a_long_clean_up_holds_up_neither_the_others_nor_the_lease() -> None:
    world = World(renew_interval_seconds=10)
    world.table.dead = [crossings("chat:a", False, f"user{n}") for n in range(100)]
    async with world.running():
        await world.table.until(lambda: len(world.table.dead) < 90)
        world.join("room", "alice")
        world.now += 10
        await world.until_table({"room": {"alice": 1}})
        assert world.table.dead
        assert world.table.renewals == 2


async def test_notices_that_cannot_be_sent_are_given_up(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.fail_to_signal()
    async with world.running():
        world.join("chat:a", "alice")
        await world.until_table({"chat:a": {"alice": 1}})
        await world.settle()
    assert caplog.messages == ["join and leave notices may be lost: nobody hears"]


# A table that is away, or was lost.


async def test_what_could_not_be_announced_is_announced_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0)
    world = World()
    world.table.open.clear()
    world.join("chat:a", "alice")
    async with world.running():
        await world.table.entered.wait()
        world.table.is_reachable = False
        world.table.changed.clear()
        world.table.open.set()
        await asyncio.wait_for(world.table.changed.wait(), SECONDS)
        world.join("chat:a", "bob")
        world.table.is_reachable = True
        await world.until_table({"chat:a": {"alice": 1, "bob": 1}})
        await world.settle()
    assert "who listens to channels here cannot be announced: the table is away" in caplog.text
    assert b"".join(notice for _, notice in world.notices).count(b"user_joined") == 2


async def test_whom_the_others_have_taken_out_is_announced_and_told_anew() -> None:
    world = World(renew_interval_seconds=10)
    async with world.running():
        world.join("chat:a", "alice")
        await world.until_table({"chat:a": {"alice": 1}})
        world.table.lost = [Lease.ENDED]
        world.join("chat:a", "bob")
        await world.until_table({"chat:a": {"alice": 1, "bob": 1}})
        await world.settle()
    told = b"".join(notice for _, notice in world.notices)
    assert (told.count(b"'alice'"), told.count(b"'bob'"), told.count(b"left")) == (2, 1, 0)


async def test_a_lost_table_is_brought_back_before_it_follows_and_nobody_is_told() -> None:
    world = World()
    async with world.running():
        world.join("chat:a", "alice")
        world.join("chat:a", "bob")
        await world.until_table({"chat:a": {"alice": 1, "bob": 1}})
        await world.table.until(lambda: len(world.notices) == 1)
        world.table.lost = [Lease.EMPTIED]
        world.leave("chat:a", "alice")
        world.join("chat:a", "carol")
        await world.table.until(lambda: world.table.renewals == 2)
        await world.until_table({"chat:a": {"alice": 1, "bob": 1}})
        for _ in range(50):  # nor after a while, as long as the others may not have come back
            await asyncio.sleep(0)
        assert world.table.table == {"chat:a": {"alice": 1, "bob": 1}}
        assert len(world.notices) == 1


async def test_after_a_lost_table_what_changed_meanwhile_is_announced_and_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.02)
    world = World(renew_interval_seconds=0.01)
    async with world.running():
        world.join("chat:a", "alice")
        await world.table.until(lambda: len(world.notices) == 1)
        world.table.open.clear()
        world.table.lost = [Lease.EMPTIED]
        world.leave("chat:a", "alice")
        world.join("chat:a", "carol")
        world.table.open.set()
        await world.table.until(lambda: world.table.renewals == 2)
        await world.until_table({"chat:a": {"alice": 1}})
        world.now += 1
        await world.until_table({"chat:a": {"carol": 1}})
        await world.table.until(lambda: len(world.notices) == 3)
    told = [notice for _, notice in world.notices[1:]]
    assert sorted(told) == [
        b"user_joined {'channel': 'chat:a', 'user': 'carol'}",
        b"user_left {'channel': 'chat:a', 'user': 'alice'}",
    ]


async def test_after_a_reconnect_everything_is_announced_once_more_and_nobody_told() -> None:
    world = World()
    async with world.running():
        for number in range(700):
            world.join("chat:a", f"user{number}")
        await world.table.until(lambda: len(world.notices) == 2)
        world.table._channels.clear()  # as if the last writes had been lost
        world.attendance.connected()
        await world.until_table({"chat:a": {f"user{number}": 1 for number in range(700)}})
        await world.settle()
    assert len(world.notices) == 2


async def test_the_lease_is_renewed_while_nothing_changes() -> None:
    world = World(renew_interval_seconds=0.01)
    async with world.running():
        for n in range(3):
            await world.table.until(lambda n=n: world.table.renewals > n)  # type: ignore[misc]
            world.now += 0.01
    assert world.table.announced == []
