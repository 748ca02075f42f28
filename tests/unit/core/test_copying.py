"""Batches: their size, what fits into them, and what does not."""

import pytest

from gateway.core.copying import Copier, Progress
from gateway.domain.errors import Unavailable
from gateway.domain.history import History, HistoryQuery
from tests.unit.core.archiving import KEPT, Library

DONE, MORE, REFUSED = Progress.DONE, Progress.MORE, Progress.REFUSED


@pytest.fixture
def library() -> Library:
    return Library()


def copier_of(library: Library, batch_messages: int = 100) -> Copier:
    return Copier(library.broker, library.archive, batch_messages=batch_messages)


async def test_a_batch_is_what_several_channels_have_together(library: Library) -> None:
    copier = copier_of(library, 6)
    for name in ("a", "b", "c"):
        await library.publish(name, KEPT if name == "b" else 1)

    assert await copier.copy(["a", "b", "c"]) == [DONE, MORE, DONE]
    assert await copier.copy(["b"]) == [DONE]
    assert library.archive.batches == [[1, 2, 1], [3]]
    assert copier.rows == 7


async def test_a_batch_has_a_message_of_each_channel_at_least(library: Library) -> None:
    copier = copier_of(library, 1)
    for name in ("a", "b"):
        await library.publish(name, 2)
    while MORE in await copier.copy(["a", "b"]):
        pass
    assert len(await library.archived("a")) == len(await library.archived("b")) == 2


async def test_one_message_that_the_database_refuses_does_not_hold_up_the_others(
    library: Library, caplog: pytest.LogCaptureFixture
) -> None:
    copier = copier_of(library)
    library.archive.poison = {b"bad"}
    await library.publish("a", 2)
    good = await library.publish("b", 2)
    await library.publish("b", 1, b"bad")
    await library.publish("b", 1)
    await library.publish("c", 2)

    assert await copier.copy(["a", "b", "c"]) == [DONE, REFUSED, DONE]
    assert "takes nothing of b: got a packet" in caplog.text
    await library.publish("a")
    for _ in range(8):
        await copier.copy(["a", "b", "c"])
        await library.publish("c")
    assert await library.archived("b") == good
    assert len(await library.archived("a")) == 3
    assert len(await library.archived("c")) == 9

    later = await library.publish("b", KEPT)  # the bad one is trimmed in the end
    while await copier.copy(["b"]) != [DONE]:
        pass
    assert await library.archived("b") == [*good, *later]
    assert [tuple(hole)[1:] for hole in library.archive.holes("b")] == [(3, 4)]


async def test_a_database_that_refuses_everything_is_away(library: Library) -> None:
    copier = copier_of(library)
    library.archive.poison = {b"1"}
    for name in ("a", "b", "c"):
        await library.publish(name)
    with pytest.raises(Unavailable):
        await copier.copy(["a", "b", "c"])


async def test_a_broker_that_is_away_is_not_held_against_a_channel(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(channel: str, query: HistoryQuery) -> History:
        raise Unavailable("Redis did not answer")

    copier = copier_of(library)
    monkeypatch.setattr(library.broker, "history", away)
    with pytest.raises(Unavailable, match="Redis"):
        await copier.copy(["a", "b"])


async def test_a_broker_that_was_set_back_is_noticed_by_its_offset(library: Library) -> None:
    first = await library.publish("a", 4)
    copier = copier_of(library)
    await copier.copy(["a"])
    set_back(library, 2)
    again = await library.publish("a", 1)
    assert again == first[2:3]
    assert await copier.copy(["a"]) == [DONE]

    assert await library.archived("a") == first + first[:3]
    assert len(library.archive.holes("a")) == 1


async def test_a_broker_that_was_set_back_is_noticed_by_another_message(
    library: Library,
) -> None:
    first = await library.publish("a", 4)
    copier = copier_of(library)
    await copier.copy(["a"])
    set_back(library, 2)
    again = await library.publish("a", 3)
    while await copier.copy(["a"]) != [DONE]:
        pass

    assert await library.archived("a") == first + first[:2] + again
    assert await copier.copy(["a"]) == [DONE]
    assert copier.rows == 9


def set_back(library: Library, offset: int) -> None:
    """As a Redis is that lost its last writes."""
    channel = library.broker._history._channels["a"]
    while channel.offset > offset:
        channel.kept.pop()
        channel.offset -= 1


async def test_so_many_places_are_remembered_and_no_more(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.core.copying._PLACES_MAX", 3)
    copier = copier_of(library)
    for n in range(10):
        await library.publish(f"c{n}")
        assert await copier.copy([f"c{n}"]) == [DONE]
        assert len(copier._places) <= 3
    copier.forget()
    assert not copier._places
