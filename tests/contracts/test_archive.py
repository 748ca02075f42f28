"""The promises of `gateway.ports.archive`, on every adapter."""

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest

from gateway.domain.archive import Place, Stretch
from gateway.domain.errors import Unavailable
from gateway.domain.messages import BEGINNING, Message, Position
from tests.support.archives import ARCHIVES, Shelf, opened_shelf, shown, stretch_of


@pytest.fixture(params=ARCHIVES)
async def shelf(request: pytest.FixtureRequest) -> AsyncIterator[Shelf]:
    async with opened_shelf(request.param, request) as shelf:
        yield shelf


@pytest.fixture
def channel() -> str:
    return f"room:{secrets.token_hex(4)}"


async def test_what_was_appended_is_read_as_it_was(shelf: Shelf, channel: str) -> None:
    data = ['"Hola ñ 🔑"'.encode(), b"null", b'{"a":[1,2.5,"\\u0000"]}', b'" "', b'""']
    sent = [
        Message(channel, each, secrets.token_hex(12), "josé 🔑", 1e9 + n / 1000, Position("e", n))
        for n, each in enumerate(data, 1)
    ]
    tags, info = '{"kind":"é\\n\\u0000"}'.encode(), '{"conn_info":{"name":"Ñ"}}'.encode()
    sent[1] = sent[1]._replace(tags=tags)
    sent[2] = sent[2]._replace(info=info)
    await shelf.archive.append([Stretch(channel, BEGINNING, Position("e", 5), sent)])

    assert await shelf.archive.after(channel, BEGINNING, 100) == sent
    assert await shelf.archive.before(channel, None, 100) == sent[::-1]
    assert await shelf.holes(channel) == []
    places = await shelf.archive.places([channel, "other"])
    assert places == {channel: Place(Position("e", 5), sent[-1].id)}


async def test_an_archive_that_knows_nothing_says_so(shelf: Shelf, channel: str) -> None:
    assert await shelf.archive.places([channel]) == {}
    assert await shelf.archive.places([]) == {}
    assert await shelf.archive.append([]) == []
    assert await shelf.archive.after(channel, BEGINNING, 10) == []
    assert await shelf.archive.before(channel, None, 10) == []
    assert await shelf.archive.after(channel, Position("e", 1), 10) is None
    assert await shelf.archive.before(channel, Position("e", 1), 10) is None


async def test_channels_that_differ_in_one_letter_are_two(shelf: Shelf, channel: str) -> None:
    await shelf.put(channel, "e", [1])
    await shelf.put(channel.upper(), "e", [1, 2])

    assert await shelf.all(channel) == ["e:1"]
    assert await shelf.all(channel.upper()) == ["e:1", "e:2"]


async def test_pages_go_on_and_back_across_epochs(shelf: Shelf, channel: str) -> None:
    await shelf.put(channel, "zz", [1, 2, 3])
    await shelf.put(channel, "aa", [1, 2])
    await shelf.put(channel, "mm", [1, 2, 3])
    everything = ["zz:1", "zz:2", "zz:3", "aa:1", "aa:2", "mm:1", "mm:2", "mm:3"]
    read = shelf.archive

    assert await shelf.all(channel) == everything
    assert shown(await read.before(channel, None, 100)) == everything[::-1]
    for nth, position in enumerate(map(Position.parse, everything)):
        assert shown(await read.after(channel, position, 3)) == everything[nth + 1 : nth + 4]
        back = everything[:nth][::-1][:3]
        assert shown(await read.before(channel, position, 3)) == back
    assert shown(await read.after(channel, Position("zz", 9), 1)) == ["aa:1"]
    assert shown(await read.before(channel, Position("mm", 0), 1)) == ["aa:2"]
    assert shown(await read.after(channel, BEGINNING, 0)) == []
    assert await read.after(channel, Position("unknown", 1), 3) is None
    assert await read.before(channel, Position("unknown", 1), 3) is None


async def test_appending_again_changes_nothing(shelf: Shelf, channel: str) -> None:
    first = stretch_of(channel, BEGINNING, "e", [1, 2, 3])
    longer = stretch_of(channel, BEGINNING, "e", [1, 2, 3, 4])
    await shelf.archive.append([first])
    (entry,) = await shelf.archive.append([first])
    assert entry is not None
    assert (entry.messages, entry.is_new) == ((), False)
    (entry,) = await shelf.archive.append([longer])

    assert entry is not None
    assert shown(entry.messages) == ["e:4"]
    assert await shelf.all(channel) == ["e:1", "e:2", "e:3", "e:4"]
    assert await shelf.holes(channel) == []


async def test_of_many_who_append_at_once_each_message_comes_once(
    shelf: Shelf, channel: str
) -> None:
    channels = [f"{channel}-{n}" for n in range(3)]

    async def consumer(seed: int) -> int:
        count = 0
        for top in range(1 + seed, 30, 3):
            stretches = [
                stretch_of(name, BEGINNING, "e", range(1, top + 1)) for name in channels[::-1]
            ]
            for _ in range(20):
                try:
                    entries = await shelf.archive.append(stretches)
                except Unavailable:
                    continue  # the database ended one of two that wait for each other
                break
            count += sum(len(entry.messages) for entry in entries if entry)
        return count

    counts = await asyncio.gather(*(consumer(seed) for seed in range(3)))

    assert sum(counts) == 29 * len(channels)
    for name in channels:
        assert await shelf.all(name) == [f"e:{n}" for n in range(1, 30)]


async def test_what_is_missing_is_noted(shelf: Shelf, channel: str) -> None:
    await shelf.put(channel, "e", [3, 4, 7])
    await shelf.put(channel, "e", [10], until=12)
    await shelf.put(channel, "e", [13])

    assert await shelf.all(channel) == ["e:3", "e:4", "e:7", "e:10", "e:13"]
    holes = [("e", 1, 2), ("e", 5, 6), ("e", 8, 9), ("e", 11, 12)]
    assert await shelf.holes(channel) == holes


async def test_where_an_epoch_ends_nobody_knows_what_is_missing(shelf: Shelf, channel: str) -> None:
    await shelf.put(channel, "old", [1, 2])
    entry = await shelf.put(channel, "new", [2, 3])

    assert entry is not None
    assert entry.is_new
    assert await shelf.holes(channel) == [("old", 3, None), ("new", 1, 1)]


async def test_a_state_that_is_gone_ends_the_epoch_once(shelf: Shelf, channel: str) -> None:
    gone = Stretch(channel, Position("old", 2), BEGINNING, [])
    await shelf.put(channel, "old", [1, 2])
    for _ in range(2):
        await shelf.archive.append([gone])
    assert await shelf.holes(channel) == [("old", 3, None)]
    assert (await shelf.archive.places([channel]))[channel].is_ended

    await shelf.put(channel, "new", [1])
    assert await shelf.holes(channel) == [("old", 3, None)]
    assert await shelf.all(channel) == ["old:1", "old:2", "new:1"]


async def test_an_epoch_that_goes_on_after_its_end_may_end_again(
    shelf: Shelf, channel: str
) -> None:
    await shelf.put(channel, "e", [1, 2])
    await shelf.archive.append([Stretch(channel, Position("e", 2), BEGINNING, [])])
    await shelf.put(channel, "e", [5])

    assert await shelf.holes(channel) == [("e", 3, 4)]
    assert await shelf.all(channel) == ["e:1", "e:2", "e:5"]


async def test_a_state_that_went_before_anybody_looked_leaves_nothing(
    shelf: Shelf, channel: str
) -> None:
    await shelf.archive.append([Stretch(channel, BEGINNING, BEGINNING, [])])

    assert await shelf.archive.places([channel]) == {}


async def test_a_stretch_that_does_not_fit_is_left_out_and_the_others_are_not(
    shelf: Shelf, channel: str
) -> None:
    """Who has slept, or believes an archive that was restored from an old copy."""
    fits = f"{channel}-fits"
    await shelf.put(channel, "first", [1, 2])
    await shelf.put(channel, "second", [1, 2, 3])
    for stretch in [
        stretch_of(channel, Position("second", 5), "second", [6, 7]),
        stretch_of(channel, Position("second", 5), "third", [1]),
        stretch_of(channel, Position("first", 2), "first", [3]),
        stretch_of(channel, Position("first", 2), "third", [1]),
        Stretch(channel, Position("first", 2), BEGINNING, []),
        stretch_of(channel, BEGINNING, "first", [1, 2]),
        stretch_of(channel, Position("second", 2), "second", [1], is_again=True),
    ]:
        other = stretch_of(fits, BEGINNING, "e", [1])
        entries = await shelf.archive.append([stretch, other])
        assert entries[0] is None, stretch
        assert entries[1] is not None
    assert await shelf.all(channel) == ["first:1", "first:2", "second:1", "second:2", "second:3"]
    assert await shelf.all(fits) == ["e:1"]

    # Read before the other one began the epoch; nothing is left out, so it fits.
    overlapping = stretch_of(channel, Position("first", 2), "second", [1, 2, 3, 4])
    (entry,) = await shelf.archive.append([overlapping])
    assert entry is not None
    assert shown(entry.messages) == ["second:4"]


async def test_offsets_that_are_given_again_are_kept_beside_the_first(
    shelf: Shelf, channel: str
) -> None:
    """A Redis that lost its last writes, or came back from a copy."""
    await shelf.put(channel, "e", [1, 2, 3, 4, 5])
    await shelf.put(channel, "e", [3, 4], is_again=True)
    await shelf.put(channel, "e", [5, 6])

    again = ["e:3", "e:4", "e:5", "e:6"]
    assert await shelf.all(channel) == ["e:1", "e:2", "e:3", "e:4", "e:5", *again]
    assert shown(await shelf.archive.after(channel, Position("e", 5), 10)) == ["e:6"]
    assert await shelf.holes(channel) == [("e", 6, None)]
    assert (await shelf.archive.places([channel]))[channel].position == Position("e", 6)
