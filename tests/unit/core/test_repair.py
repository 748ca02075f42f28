"""A channel that missed something is read once for all, in order, however the broker answers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
        self.written: list[int] = []
        self.repairs = Repairs(self.broker, self.tracks, self._write, self._announce)

    def _write(self, channel: str, messages: Sequence[Message]) -> int:
        self.heard += [(channel, message.position.offset) for message in messages]
        self.written.append(len(messages))
        return sum(len(message.data) for message in messages)

    def _announce(self, channel: str, gap: Gap) -> None:
        self.heard.append((channel, gap))

    def deliver(self, channel: str, messages: Sequence[Message]) -> None:
        """As the hub does it."""
        track = self.tracks[channel]
        if ready := track.take(messages):
            self._write(channel, ready)
        if track.is_parking:
            self.repairs.want(channel)

    async def publish(self, channel: str, count: int, data: bytes = b"1") -> Position:
        publications = [Publication(channel, data, "id", "alice", 1.0) for _ in range(count)]
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


async def test_much_is_written_in_parts_that_readers_can_take(
    channels: Channels, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    top = await channels.publish("room", 100, b"1" * 50_000)
    channels.hold("room", top._replace(offset=0))
    monkeypatch.setattr(asyncio, "sleep", pause)
    await channels.repairs.repair("room")
    assert [offset for _, offset in channels.heard] == list(range(1, 101))
    assert max(channels.written) == 3, "3 of 50 KB are more than 128 KB"
    assert pauses == [150_000 / 200_000_000] * 33, "between them the readers read"
    assert len(channels.broker.asked) == 1


@given(
    kept=st.integers(0, 60),
    behind=st.integers(0, 60),
    part_bytes=st.integers(0, 3000),
    live=st.lists(st.tuples(st.integers(1, 5), st.booleans()), max_size=12),
)
@settings(deadline=None, max_examples=200)
def test_what_comes_between_the_parts_is_delivered_behind_them_and_once(
    kept: int, behind: int, part_bytes: int, live: list[tuple[int, bool]]
) -> None:
    async def scenario() -> list[tuple[str, int | Gap]]:
        channels = Channels()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "_PART_BYTES", part_bytes)
            patch.setattr(module, "_READ_BYTES_PER_SECOND", float("inf"))
            top = await channels.publish("room", kept + 1)
            channels.hold("room", top._replace(offset=max(kept + 1 - behind, 0)))
            task = asyncio.create_task(channels.repairs.run())
            repaired = channels.repairs.want("room")
            offset = kept + 1
            for count, is_heard in live:
                top = await channels.publish("room", count)
                messages = [
                    Message("room", b"1", "id", "alice", 1.0, top._replace(offset=offset + n))
                    for n in range(1, count + 1)
                ]
                offset += count
                if is_heard:  # others get lost on their way
                    channels.deliver("room", messages)
                await asyncio.sleep(0)
            await repaired
            for _ in range(2):  # the first may be one that read before the last was published
                await channels.repairs.repair("room")
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        first = max(kept + 1 - behind, 0) + 1
        assert [each for _, each in channels.heard] == list(range(first, offset + 1))
        return channels.heard

    asyncio.run(scenario())


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
