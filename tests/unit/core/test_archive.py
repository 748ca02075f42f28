"""Who archives and when, and what becomes of it when something is away."""

import asyncio
import logging
from datetime import timedelta
from types import SimpleNamespace

import pytest

from gateway.core import archive
from gateway.domain.namespaces import Namespace
from tests.unit.core.archiving import KEPT, POSITION_SECONDS, Library

DAY = timedelta(days=1).total_seconds()


@pytest.fixture
def library() -> Library:
    return Library()


async def test_what_was_published_is_archived_and_the_marks_are_cleared(library: Library) -> None:
    positions = {name: await library.publish(name, 3) for name in ("a", "b")}
    await library.publish("plain:c")
    await library.archiver.turn()

    for name, expected in positions.items():
        assert await library.archived(name) == expected
    assert await library.archived("plain:c") == []
    assert await library.marked() == set()
    assert library.archiver.rows == 6


async def test_what_comes_later_is_added(library: Library) -> None:
    expected = []
    for _ in range(10):
        expected += await library.publish("a", KEPT)
        await library.archiver.turn()

    assert await library.archived("a") == expected
    assert library.archive.holes("a") == []
    assert library.archiver.holes == 0


async def test_what_was_trimmed_before_it_was_read_is_a_hole(
    library: Library, caplog: pytest.LogCaptureFixture
) -> None:
    (first,) = await library.publish("a")
    await library.archiver.turn()
    rest = await library.publish("a", 3 + KEPT)
    await library.archiver.turn()

    assert await library.archived("a") == [first, *rest[3:]]
    assert [tuple(hole) for hole in library.archive.holes("a")] == [(first.epoch, 2, 4)]
    assert library.archiver.holes == 1
    assert f"a {first.epoch}:2-4" in caplog.text


async def test_an_epoch_that_ended_is_a_hole_without_an_end(library: Library) -> None:
    old = await library.publish("a", 2)
    await library.archiver.turn()
    library.clock.now += POSITION_SECONDS + 1
    new = await library.publish("a", 2)
    await library.archiver.turn()

    assert old[0].epoch != new[0].epoch
    assert await library.archived("a") == old + new
    assert [tuple(hole) for hole in library.archive.holes("a")] == [(old[0].epoch, 3, None)]


async def test_a_channel_that_was_lost_as_a_whole_is_said(
    library: Library, caplog: pytest.LogCaptureFixture
) -> None:
    await library.publish("a", 2)
    library.clock.now += POSITION_SECONDS + 1
    await library.archiver.turn()

    assert "could read them: a all" in caplog.text
    assert library.archiver.holes == 1
    assert await library.marked() == set()


async def test_while_the_archive_is_away_marks_stay_and_then_it_catches_up(
    library: Library, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await library.archiver.turn()
    library.archive.is_away = True
    expected = {name: await library.publish(name, 4) for name in ("a", "b", "c")}
    for _ in range(3):
        library.clock.now += 10
        await library.archiver.turn()
    assert await library.marked() == {"a", "b", "c"}
    assert library.archiver.lag_seconds == 30
    assert caplog.text.count("the archive waits") == 1
    library.archive.is_away = False
    await library.archiver.turn()

    assert {name: await library.archived(name) for name in expected} == expected
    assert await library.marked() == set()
    assert library.archiver.lag_seconds == 0
    assert "the archive goes on" in caplog.text


async def test_who_has_not_the_lead_does_nothing(library: Library) -> None:
    library.news.is_free = False
    await library.publish("a", 2)
    pause = await library.archiver.turn()
    assert (pause, await library.archived("a")) == (2.5, [])
    assert library.archiver.lag_seconds == 0
    library.news.is_free = True
    await library.archiver.turn()
    assert len(await library.archived("a")) == 2


async def test_the_lead_is_prolonged_in_good_time(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(archive, "time", SimpleNamespace(monotonic=lambda: now))
    for _ in range(6):
        await library.archiver.turn()
        now += 1.0
    assert library.news.asked == 2  # at 0 and at 4: the lease is 10
    library.news.is_free = False
    now = 8.0
    await library.archiver.turn()
    await library.publish("a")
    await library.archiver.turn()
    assert await library.archived("a") == []


async def test_two_who_archive_at_once_write_everything_once(library: Library) -> None:
    other = library.make_archiver()
    expected: list[object] = []
    for turn in range(12):
        expected += await library.publish("a", 2)
        if turn % 3:
            await asyncio.gather(library.archiver.turn(), other.turn())
        else:
            await (library.archiver, other)[turn % 2].turn()

    assert await library.archived("a") == expected
    assert library.archiver.rows + other.rows == len(expected)


async def test_an_archive_that_was_restored_from_an_old_copy_is_read_anew(
    library: Library,
) -> None:
    first = await library.publish("a", 2)
    await library.archiver.turn()
    copy = library.archive._channels["a"][0].messages[:]
    place = library.archive._channels["a"][0].place
    second = await library.publish("a", 2)
    await library.archiver.turn()
    library.archive._channels["a"][0].messages = copy
    library.archive._channels["a"][0].place = place
    third = await library.publish("a", 1)
    await library.archiver.turn()

    assert await library.archived("a") == first + second + third


async def test_what_is_too_old_goes(library: Library) -> None:
    library.namespaces.default = library.namespaces.default._replace(archive_days=7)
    library.namespaces.named["long"] = Namespace(archive=True, archive_days=30)
    library.namespaces.named["ever"] = Namespace(archive=True)
    for name in ("a", "long:a", "ever:a"):
        await library.publish(name)
    await library.archiver.turn()
    left = []
    for days in (1, 7, 24):
        library.clock.now += days * DAY
        await library.make_archiver().turn()  # which looks at the beginning
        left.append([len(await library.archived(name)) for name in ("a", "long:a", "ever:a")])

    assert left == [[1, 1, 1], [0, 1, 1], [0, 0, 1]]


async def test_where_nothing_is_archived_nobody_leads(library: Library) -> None:
    library.namespaces.default = Namespace()
    await library.archiver.turn()
    assert library.news.asked == 0


async def test_it_runs_until_it_is_told_to_finish_and_archives_what_is_left(
    library: Library,
) -> None:
    task = asyncio.create_task(library.archiver.run())
    await library.publish("a")
    async with asyncio.timeout(5):
        while not library.archiver.rows:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        await library.publish("a")
        await library.archiver.finish()
        await task

    assert len(await library.archived("a")) == 2
    assert library.news.resigned == 1


async def test_who_is_cancelled_resigns(library: Library) -> None:
    task = asyncio.create_task(library.archiver.run())
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert library.news.resigned == 1


async def test_what_never_began_is_finished_at_once(library: Library) -> None:
    async with asyncio.timeout(1):
        await library.archiver.finish()
