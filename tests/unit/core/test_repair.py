"""A channel that missed something is read once for all, in order, however the broker answers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from gateway.adapters.memory.broker import MemoryBroker
from gateway.core import repair as module
from gateway.core.repair import Repairs
from gateway.core.track import Gap, Track
from gateway.domain.errors import Unavailable
from gateway.domain.history import History, HistoryQuery
from gateway.domain.messages import Message, Position, Publication

SECONDS = 5.0


class AwayBroker(MemoryBroker):
    """A broker whose history can be away, and that counts who asks."""

    def __init__(self) -> None:
        super().__init__(idempotency_seconds=60)
        self.is_away = False
        self.asked: list[HistoryQuery] = []
        self.open = asyncio.Event()
        self.open.set()

    async def history(self, channel: str, query: HistoryQuery) -> History:
        self.asked.append(query)
        await self.open.wait()
        if self.is_away:
            raise Unavailable("the history is away")
        return await super().history(channel, query)


class Channels:
    """What a hub has of its channels."""

    def __init__(self) -> None:
        self.broker = AwayBroker()
        self.tracks: dict[str, Track] = {}
        self.heard: list[tuple[str, int | Gap]] = []
        self.repairs = Repairs(self.broker, self.tracks, self._write, self._announce)

    def _write(self, channel: str, messages: Sequence[Message]) -> None:
        self.heard += [(channel, message.position.offset) for message in messages]

    def _announce(self, channel: str, gap: Gap) -> None:
        self.heard.append((channel, gap))

    async def publish(self, channel: str, count: int) -> Position:
        publications = [Publication(channel, b"1", "id", "alice", 1.0) for _ in range(count)]
        *_, last = await self.broker.publish(publications)
        assert not isinstance(last, Exception)
        return last.position

    def hold(self, channel: str, position: Position) -> None:
        self.tracks[channel] = Track(position)


@pytest.fixture
async def channels() -> AsyncIterator[Channels]:
    channels = Channels()
    task = asyncio.create_task(channels.repairs.run())
    yield channels
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_what_was_missed_is_read_and_written(channels: Channels) -> None:
    top = await channels.publish("room", 5)
    channels.hold("room", top._replace(offset=2))
    await channels.repairs.repair("room")
    assert channels.heard == [("room", 3), ("room", 4), ("room", 5)]
    assert channels.tracks["room"].last == top
    assert channels.repairs.filled == 3


async def test_everybody_who_wants_it_meanwhile_shares_one_read(channels: Channels) -> None:
    top = await channels.publish("room", 2)
    channels.hold("room", top._replace(offset=0))
    channels.broker.open.clear()
    waiting = [asyncio.create_task(channels.repairs.repair("room")) for _ in range(20)]
    await until(lambda: len(channels.broker.asked) == 1)
    channels.broker.open.set()
    await asyncio.gather(*waiting)
    assert len(channels.broker.asked) == 1
    assert channels.heard == [("room", 1), ("room", 2)]


async def test_a_caller_that_leaves_does_not_end_it(channels: Channels) -> None:
    top = await channels.publish("room", 1)
    channels.hold("room", top._replace(offset=0))
    channels.broker.open.clear()
    leaving = asyncio.create_task(channels.repairs.repair("room"))
    await until(lambda: len(channels.broker.asked) == 1)
    leaving.cancel()
    channels.broker.open.set()
    await until(lambda: channels.heard == [("room", 1)])


async def test_it_waits_for_a_history_that_is_away(
    channels: Channels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0)
    top = await channels.publish("room", 1)
    channels.hold("room", top._replace(offset=0))
    channels.broker.is_away = True
    channels.repairs.want("room")
    await until(lambda: len(channels.broker.asked) > 3)
    assert channels.heard == []
    assert channels.tracks["room"].is_parking
    channels.broker.is_away = False
    await until(lambda: channels.heard == [("room", 1)])


async def test_a_long_absence_is_read_in_pages(
    channels: Channels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_READ_MAX", 10)
    top = await channels.publish("room", 35)
    channels.hold("room", top._replace(offset=1))
    await channels.repairs.repair("room")
    assert [offset for _, offset in channels.heard] == list(range(2, 36))
    assert len(channels.broker.asked) == 4


async def test_what_is_lost_is_announced_before_what_is_left(channels: Channels) -> None:
    top = await channels.publish("room", 150)  # of which 100 are kept
    channels.hold("room", top._replace(offset=20))
    await channels.repairs.repair("room")
    gap = Gap(top._replace(offset=20), top._replace(offset=51))
    assert channels.heard[0] == ("room", gap)
    assert [offset for _, offset in channels.heard[1:]] == list(range(51, 151))


async def test_a_channel_that_was_released_and_joined_anew_gets_nothing_old(
    channels: Channels,
) -> None:
    top = await channels.publish("room", 5)
    channels.hold("room", top._replace(offset=0))
    channels.broker.open.clear()
    channels.repairs.want("room")
    await until(lambda: len(channels.broker.asked) == 1)
    channels.hold("room", top)
    channels.broker.open.set()
    await channels.repairs.repair("room")
    assert channels.heard == []


async def test_a_channel_that_nobody_holds_is_left_alone(channels: Channels) -> None:
    await channels.repairs.repair("room")
    assert channels.broker.asked == []


async def test_many_channels_are_repaired_side_by_side(channels: Channels) -> None:
    for n in range(300):
        top = await channels.publish(f"room{n}", 1)
        channels.hold(f"room{n}", top._replace(offset=0))
    await asyncio.gather(*(channels.repairs.repair(f"room{n}") for n in range(300)))
    assert len(channels.heard) == 300


async def test_a_repair_that_fails_leaves_the_others_going(
    channels: Channels, caplog: pytest.LogCaptureFixture
) -> None:
    top = await channels.publish("room", 1)
    channels.hold("room", top._replace(offset=0))
    channels.tracks["bad"] = Broken(top)
    await channels.repairs.repair("bad")
    assert "could not be repaired" in caplog.text
    await channels.repairs.repair("room")
    assert channels.heard == [("room", 1)]


class Broken(Track):
    def ask(self) -> Position:
        raise RuntimeError("a bug")
