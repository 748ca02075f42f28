"""Listeners hear once that their channels have gone silent, and once that they have not."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from gateway.core.outages import Outages
from gateway.core.subscriber import Wire
from gateway.ports.broker import all_channels
from gateway.protocols.plain import Format
from gateway.sockets.wires import FRAME_WIRES


class Listeners:
    """Two channels, and what everybody on them was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, bytes]] = []
        self.channels = {"a", "b"}
        self._more = asyncio.Event()
        self.outages = Outages(self.notify, lambda: self.channels, grace_seconds=0.05)

    def notify(self, channel: str, notice_of: Callable[[Wire], bytes]) -> None:
        self.told.append((channel, notice_of(FRAME_WIRES[Format.JSON])))
        self._more.set()

    def kinds(self) -> list[tuple[str, str]]:
        words = ("degraded", "restored")
        return [
            (channel, next(word for word in words if f'"type":"{word}"'.encode() in notice))
            for channel, notice in self.told
        ]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.outages.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def hear(self, count: int) -> list[tuple[str, str]]:
        async with asyncio.timeout(5):
            while len(self.told) < count:
                self._more.clear()
                await self._more.wait()
        return sorted(self.kinds())


def only_a(channel: str) -> bool:
    return channel == "a"


async def test_an_outage_that_lasts_is_told_once_and_its_end_behind_the_repair() -> None:
    listeners = Listeners()
    async with listeners.running():
        listeners.outages.began(all_channels)
        assert await listeners.hear(2) == [("a", "degraded"), ("b", "degraded")]
        listeners.outages.began(all_channels)  # every further attempt to connect says it again
        await asyncio.sleep(0.15)
        assert len(listeners.told) == 2

        listeners.outages.ended(all_channels)
        assert len(listeners.told) == 2, "not before the channel has been looked at"
        listeners.outages.repaired("a")
        listeners.outages.repaired("a")
        assert listeners.kinds()[2:] == [("a", "restored")]


async def test_a_link_that_is_back_at_once_alarms_nobody() -> None:
    listeners = Listeners()
    async with listeners.running():
        listeners.outages.began(all_channels)
        await asyncio.sleep(0)
        listeners.outages.ended(all_channels)
        listeners.outages.repaired("a")
        listeners.outages.began(only_a)
        assert await listeners.hear(1) == [("a", "degraded")]


async def test_only_those_hear_of_it_whose_channels_are_silent() -> None:
    listeners = Listeners()
    async with listeners.running():
        listeners.outages.began(only_a)
        assert await listeners.hear(1) == [("a", "degraded")]
        listeners.outages.began(all_channels)
        await listeners.hear(2)
        assert listeners.kinds()[1:] == [("b", "degraded")], "a has been told"
        listeners.outages.ended(only_a)
        listeners.outages.repaired("a")
        assert len(listeners.told) == 2, "the other outage goes on"


async def test_a_channel_that_nobody_hears_any_more_is_forgotten() -> None:
    listeners = Listeners()
    async with listeners.running():
        listeners.outages.began(only_a)
        await listeners.hear(1)
        listeners.channels.clear()
        listeners.outages.ended(only_a)
        listeners.outages.began(all_channels)
        await asyncio.sleep(0.15)
        listeners.outages.ended(all_channels)
        listeners.outages.repaired("a")
        assert listeners.kinds() == [("a", "degraded")]


async def test_raw_and_text_have_no_words_for_it() -> None:
    for format in (Format.RAW, Format.TEXT):
        assert FRAME_WIRES[format].notice("degraded", channel="a") == b""
