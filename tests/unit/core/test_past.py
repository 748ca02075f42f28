"""Reading on where the broker keeps no more, checked against a list of all that was published."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.past import Past
from gateway.domain.archive import Hole
from gateway.domain.history import HistoryQuery
from gateway.domain.messages import BEGINNING, Position
from tests.unit.core.archiving import KEPT, POSITION_SECONDS, Library


@pytest.fixture
async def library() -> Library:
    """The epochs old, with 12 messages, and new with 8; of the last 5 are kept."""
    library = Library()
    for count in (12, 8):
        for _ in range(count // 4):
            await library.publish("a", 4)
            await library.archiver.turn()
        library.clock.now += 2
        if count == 12:
            library.clock.now += POSITION_SECONDS + 1
    return library


async def everything(library: Library) -> list[Position]:
    return await library.archived("a")


async def test_the_last_messages_go_back_into_the_archive(library: Library) -> None:
    every = await everything(library)
    for limit in (0, 1, KEPT, KEPT + 1, 8, 9, 20, 50):
        last = every[-limit:] if limit else []
        assert await library.read("a", None, limit) == (last, True)
        assert await library.read("a", None, limit, True) == (last[::-1], True)


async def test_pages_from_the_beginning_have_everything(library: Library) -> None:
    every = await everything(library)
    for limit in (1, 3, 7, 100):
        found: list[Position] = []
        since = BEGINNING
        while page := (await library.read("a", since, limit))[0]:
            found += page
            since = page[-1]
        assert found == every


async def test_pages_back_have_everything(library: Library) -> None:
    every = await everything(library)
    for limit in (1, 3, 7, 100):
        found, _ = await library.read("a", None, limit, True)
        while page := (await library.read("a", found[-1], limit, True))[0]:
            found += page
        assert found == every[::-1]


async def test_an_answer_is_complete_where_the_archive_fills_it(library: Library) -> None:
    every = await everything(library)
    old, new = every[:12], every[12:]
    assert await library.read("a", new[0], 100) == (new[1:], True)
    assert await library.read("a", new[5], 100, True) == (new[:5][::-1] + old[::-1], False)
    assert await library.read("a", new[5], 5, True) == (new[:5][::-1], True)
    assert await library.read("a", old[2], 9) == (old[3:], True)
    assert await library.read("a", old[2], 10) == (old[3:] + new[:1], False)
    assert await library.read("a", old[5], 5, True) == (old[:5][::-1], True)
    assert await library.read("a", old[5], 9, True) == (old[:5][::-1], True)
    assert await library.read("a", new[0], 0) == ([], True)
    assert await library.read("a", old[0], 0) == ([], True)


async def test_what_is_kept_is_not_asked_of_the_archive(library: Library) -> None:
    every = await everything(library)
    await library.read("a", None, KEPT)
    await library.read("a", every[-3], 100)
    await library.read("a", every[-2], 2, True)
    await library.read("plain:a", None, 100)
    assert library.archive.reads == 0


async def test_an_epoch_that_nobody_knows_begins_anew(library: Library) -> None:
    every = await everything(library)
    unknown = Position("unknown", 3)
    assert await library.read("a", unknown, 3) == (every[:3], False)
    assert await library.read("a", unknown, 3, True) == (every[::-1][:3], False)


async def test_what_is_not_archived_yet_follows(library: Library) -> None:
    every = await everything(library)
    fresh = await library.publish("a", 2)
    assert await library.read("a", every[-8], 100) == (every[-7:] + fresh, True)
    assert (await library.read("a", None, 100))[0] == every + fresh


async def test_an_epoch_that_is_not_archived_yet_stands_behind_the_others(
    library: Library,
) -> None:
    every = await everything(library)
    library.clock.now += POSITION_SECONDS + 1
    fresh = await library.publish("a", 2)
    assert (await library.read("a", None, 100))[0] == every + fresh
    assert (await library.read("a", fresh[1], 3, True))[0] == [fresh[0], *every[:-3:-1]]
    assert (await library.read("a", every[-1], 3)) == (fresh, False)
    assert (await library.read("a", fresh[0], 3)) == (fresh[1:], True)


async def test_a_channel_that_the_broker_has_forgotten_is_read_from_the_archive(
    library: Library,
) -> None:
    every = await everything(library)
    library.clock.now += POSITION_SECONDS + 1

    answer = await library.ask("a", None, 100)
    assert [message.position for message in answer.messages] == every
    assert answer.top == every[-1]
    assert (await library.ask("a", None, 0)).top == every[-1]
    # Nobody knows whether there was more.
    assert await library.read("a", every[-3], 100) == (every[-2:], False)
    assert await library.read("a", every[-3], 2) == (every[-2:], True)


async def test_a_channel_that_nobody_knows_is_empty(library: Library) -> None:
    for since, is_reverse in [(None, False), (BEGINNING, False), (BEGINNING, True)]:
        answer = await library.ask("other", since, 10, is_reverse)
        assert (answer.messages, answer.top, answer.is_complete) == ([], BEGINNING, True)


async def test_while_the_archive_is_away_what_is_kept_is_not_called_complete(
    library: Library,
) -> None:
    every = await everything(library)
    library.archive.is_away = True
    assert await library.read("a", None, 100) == (every[-KEPT:], False)
    assert await library.read("a", every[-7], 100) == (every[-KEPT:], False)
    assert await library.read("a", every[-3], 100) == (every[-2:], True)


async def test_tables_that_are_not_there_yet_are_not_asked(library: Library) -> None:
    past = Past(library.broker, library.archive, library.namespaces, lambda: "not ready")
    answer = await past.history("a", HistoryQuery(None, 100))
    assert (len(answer.messages), answer.is_complete) == (KEPT, False)
    assert library.archive.reads == 0


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.integers(1, KEPT + 3)),
        st.just(("archive", 0)),
        st.just(("trim", 0)),
        st.just(("forget", 0)),
    ),
    max_size=15,
)


@settings(deadline=None, max_examples=150)
@given(STEPS, st.integers(1, 9))
def test_nothing_is_read_twice_or_left_out_in_silence(
    steps: list[tuple[str, int]], limit: int
) -> None:
    asyncio.run(play(steps, limit))


async def play(steps: list[tuple[str, int]], limit: int) -> None:
    library = Library(batch_messages=3)
    published: list[Position] = []
    for what, count in steps:
        if what == "publish":
            published += await library.publish("a", count)
        elif what == "archive":
            await library.archiver.turn()
        else:
            library.clock.now += 301 if what == "trim" else POSITION_SECONDS + 1
    await library.archiver.turn()

    found: list[Position] = []
    since = BEGINNING
    while True:
        page, is_complete = await library.read("a", since, limit)
        if is_complete and page:
            assert all(m.epoch == page[0].epoch for m in page)
            start = since.offset if since != BEGINNING else 0
            assert [m.offset for m in page] == list(range(start + 1, start + 1 + len(page)))
        if not page:
            break
        found += page
        since = page[-1]
    assert found == [position for position in published if position in set(found)]
    back, _ = await library.read("a", None, limit, True)
    while back and (page := (await library.read("a", back[-1], limit, True))[0]):
        back += page
    assert back == found[::-1]
    holes = library.archive.holes("a")
    archived = {position.epoch for position in await library.archived("a")}
    for position in set(published) - set(found):
        # An epoch that came and went between two looks has left no trace but a line in the log.
        is_noted = any(covers(hole, position) for hole in holes)
        assert is_noted or position.epoch not in archived


def covers(hole: Hole, position: Position) -> bool:
    last = position.offset if hole.last is None else hole.last
    return hole.epoch == position.epoch and hole.first <= position.offset <= last
