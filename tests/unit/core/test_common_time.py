"""The later of two clocks, however the own one jumps between two looks at the other."""

import asyncio
import logging

import pytest

from gateway.core import common_time
from gateway.core.common_time import CommonTime
from gateway.domain.errors import Unavailable
from gateway.ports.common_clock import CommonClock
from tests.unit.core.clock import Clock


class Common(CommonClock):
    """Right, and as far off as a test wants; asking takes a second each way."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.is_away = False
        self.off = 0.0

    async def time(self) -> float:
        self._world.pass_seconds(1)
        if self.is_away:
            raise Unavailable("away")
        told = self._world.wall.now + self.off
        self._world.pass_seconds(1)
        return told


class World:
    def __init__(self) -> None:
        self.wall, self.own, self.monotonic = Clock(1_000_000), Clock(1_000_000), Clock(50)
        self.common = Common(self)
        self.time = CommonTime(
            self.common, tolerated_seconds=5, clock=self.own, monotonic=self.monotonic
        )

    def pass_seconds(self, seconds: float) -> None:
        for clock in (self.wall, self.own, self.monotonic):
            clock.now += seconds


async def test_the_later_clock_counts() -> None:
    world = World()
    await world.time.look()
    assert world.time.offset_seconds == 0
    assert world.time.latest() == world.wall.now
    world.own.now -= 600
    assert world.time.offset_seconds == -600
    assert world.time.latest() == world.wall.now
    world.pass_seconds(100)
    assert world.time.latest() == world.wall.now
    world.own.now += 900
    assert world.time.offset_seconds == 300
    assert world.time.latest() == world.own.now


async def test_what_was_seen_last_counts_while_the_common_clock_is_away() -> None:
    world = World()
    await world.time.look()
    world.common.is_away = True
    world.own.now -= 600
    with pytest.raises(Unavailable):
        await world.time.look()
    assert world.time.latest() == world.wall.now


async def test_a_common_clock_that_is_hours_ahead_shuts_nobody_out_for_hours() -> None:
    world = World()
    world.common.off = 86_400
    await world.time.look()
    assert world.time.offset_seconds == -86_400
    assert world.time.latest() == world.own.now + 3600


async def test_nobody_knows_better_before_the_first_look_or_alone() -> None:
    world = World()
    world.own.now -= 600
    assert (world.time.offset_seconds, world.time.latest()) == (0, world.own.now)
    alone = CommonTime(None, tolerated_seconds=5, clock=world.own)
    await alone.look()
    await alone.run()
    assert (alone.offset_seconds, alone.latest()) == (0, world.own.now)


async def test_clocks_that_disagree_are_said_once_and_that_they_agree_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common_time, "_READ_SECONDS", 0)
    caplog.set_level(logging.INFO, logger="gateway.core.common_time")
    world = World()

    async def a_few_looks() -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    running = asyncio.create_task(world.time.run())
    await a_few_looks()
    assert not caplog.messages
    world.own.now += 4
    await a_few_looks()
    assert not caplog.messages
    world.own.now -= 604
    await a_few_looks()
    assert len(caplog.messages) == 1
    assert "600 s behind Redis'" in caplog.messages[0]
    world.common.is_away = True
    await a_few_looks()
    world.own.now += 600
    world.common.is_away = False
    await a_few_looks()
    assert caplog.messages[1:] == ["this replica's clock agrees with Redis' again"]
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
