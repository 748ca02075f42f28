"""The promises of `gateway.ports.archive`, on every adapter."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from sqlalchemy import select

from gateway.adapters.memory.archive import MemoryArchive
from gateway.adapters.sql.archive import SqlArchive
from gateway.adapters.sql.engine import Database
from gateway.adapters.sql.schema import archive_epochs, archive_gaps, archive_messages
from gateway.domain.archive import Entry, Place, Stretch
from gateway.domain.errors import Unavailable
from gateway.domain.messages import BEGINNING, Message, Position
from gateway.ports.archive import Archive
from tests.support.databases import DATABASES, MariadbServer, emptied, opened

START = 1_700_000_000.0


class Shelf:
    """An archive, and a look at it from outside."""

    def __init__(self, archive: Archive, database: Database | None) -> None:
        self.archive = archive
        self._database = database

    async def holes(self, channel: str) -> list[tuple[str, int, int | None]]:
        if self._database is None:
            assert isinstance(self.archive, MemoryArchive)
            return [(each.epoch, each.first, each.last) for each in self.archive.holes(channel)]
        asked = (
            select(archive_epochs.c.epoch, archive_gaps.c.first_offset, archive_gaps.c.last_offset)
            .join(archive_gaps, archive_gaps.c.epoch_id == archive_epochs.c.id)
            .where(archive_epochs.c.channel == channel)
            .order_by(archive_epochs.c.number, archive_gaps.c.first_offset)
        )
        async with self._database.reading() as connection:
            return [(row[0], row[1], row[2]) for row in await connection.execute(asked)]

    async def put(
        self, channel: str, epoch: str, offsets: Sequence[int], until: int = 0, **options: Any
    ) -> Entry | None:
        """Append as somebody does who has just asked where the archive is."""
        place = (await self.archive.places([channel])).get(channel, Place(BEGINNING))
        stretch = stretch_of(channel, place.position, epoch, offsets, until, **options)
        (entry,) = await self.archive.append([stretch])
        return entry

    async def all(self, channel: str) -> list[str]:
        return shown(await self.archive.after(channel, BEGINNING, 1000))


def message(channel: str, epoch: str, offset: int, time: float | None = None) -> Message:
    at = START + offset if time is None else time
    position = Position(epoch, offset)
    return Message(channel, b'{"n":%d}' % offset, f"{epoch}-{offset}", "alice", at, position)


def stretch_of(
    channel: str,
    since: Position,
    epoch: str,
    offsets: Sequence[int],
    until: int = 0,
    *,
    is_again: bool = False,
) -> Stretch:
    top = Position(epoch, until or offsets[-1])
    messages = [message(channel, epoch, offset) for offset in offsets]
    return Stretch(channel, since, top, messages, is_again)


def shown(messages: Sequence[Message] | None) -> list[str]:
    assert messages is not None
    return [str(each.position) for each in messages]


@pytest.fixture(params=["memory", *DATABASES])
async def shelf(request: pytest.FixtureRequest) -> AsyncIterator[Shelf]:
    if request.param == "memory":
        yield Shelf(MemoryArchive(), None)
        return
    async with emptied(request.param, request) as database:
        yield Shelf(SqlArchive(database), database)


@pytest.fixture
def channel() -> str:
    return f"room:{secrets.token_hex(4)}"


async def test_what_was_appended_is_read_as_it_was(shelf: Shelf, channel: str) -> None:
    data = ['"Hola ñ 🔑"'.encode(), b"null", b'{"a":[1,2.5,"\\u0000"]}', b'" "', b'""']
    sent = [
        Message(channel, each, secrets.token_hex(12), "josé 🔑", 1e9 + n / 1000, Position("e", n))
        for n, each in enumerate(data, 1)
    ]
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


async def test_pruning_takes_the_oldest_and_nothing_behind_what_stays(
    shelf: Shelf, channel: str
) -> None:
    times = [10.0, 11.0, 30.0, 12.0, 31.0]  # the clocks of replicas differ
    messages = [message(channel, "e", n, time) for n, time in enumerate(times, 1)]
    await shelf.archive.append([Stretch(channel, BEGINNING, Position("e", 5), messages)])

    assert await prune_all(shelf.archive, 20.0, ["room"]) == 2
    assert await shelf.all(channel) == ["e:3", "e:4", "e:5"]
    assert await prune_all(shelf.archive, 31.0, ["room"]) == 2
    assert await shelf.all(channel) == ["e:5"]
    assert await prune_all(shelf.archive, 100.0, ["room"]) == 1
    assert await shelf.all(channel) == []
    # It is still known where the channel is.
    assert (await shelf.archive.places([channel]))[channel].position == Position("e", 5)
    assert await shelf.archive.after(channel, Position("e", 5), 9) == []
    await shelf.put(channel, "e", [6])
    assert await shelf.all(channel) == ["e:6"]
    assert await prune_all(shelf.archive, START + 100, ["room"]) == 1


async def test_pruning_is_by_namespace(shelf: Shelf, channel: str) -> None:
    names = ["plain", "room:a", "news:a", "other:a"]
    for name in names:
        await shelf.put(name, "e", [1, 2])

    assert await prune_all(shelf.archive, START + 9, ["news"]) == 2
    assert await prune_all(shelf.archive, START + 9, ["news", "room"], all_but=True) == 4
    assert [len(await shelf.all(name)) for name in names] == [0, 2, 0, 0]
    assert await prune_all(shelf.archive, START + 9, [], all_but=True) == 2
    assert await prune_all(shelf.archive, START + 9, [], all_but=False) == 0


async def test_pruning_goes_through_epochs_in_pieces(shelf: Shelf, channel: str) -> None:
    await shelf.put(channel, "old", range(1, 1500))
    await shelf.put(channel, "new", [1501])
    counts = []
    while count := await shelf.archive.prune(START + 1501, ["room"]):
        counts.append(count)

    assert sum(counts) == 1499
    assert max(counts) <= 1000
    assert await shelf.all(channel) == ["new:1501"]


async def test_a_channel_that_was_silent_for_too_long_is_forgotten(
    shelf: Shelf, channel: str
) -> None:
    await shelf.put(channel, "e", [1, 2], until=4)
    late = START + 1000
    assert await prune_all(shelf.archive, late, ["room"], lapsed_before=START + 2) == 2
    assert channel in await shelf.archive.places([channel])
    await prune_all(shelf.archive, late, ["room"], lapsed_before=START + 2.5)

    assert await shelf.archive.places([channel]) == {}
    assert await shelf.holes(channel) == []


async def prune_all(archive: Archive, before: float, namespaces: list[str], **options: Any) -> int:
    gone = 0
    while count := await archive.prune(before, namespaces, **options):
        gone += count
    return gone


@pytest.mark.parametrize("kind", DATABASES)
async def test_a_message_of_sixteen_megabytes_fits(
    kind: str, request: pytest.FixtureRequest, channel: str
) -> None:
    data = b'"' + b"x" * (15 * 1024 * 1024) + b'"'  # with its head a little below 16
    async with emptied(kind, request) as database:
        archive = SqlArchive(database)
        large = message(channel, "e", 1)._replace(data=data)
        await archive.append([Stretch(channel, BEGINNING, Position("e", 1), [large])])
        assert await archive.after(channel, BEGINNING, 1) == [large]
        async with database.writing() as connection:
            await connection.execute(archive_messages.delete())


async def test_what_the_database_does_not_take_is_unavailable(
    mariadb_server: MariadbServer, request: pytest.FixtureRequest, channel: str
) -> None:
    """Its max_allowed_packet is 16 MiB, if nobody has changed it."""
    data = b'"' + b"x" * (17 * 1024 * 1024) + b'"'
    async with emptied("mariadb", request), opened(mariadb_server.url) as database:
        archive = SqlArchive(database)
        large = message(channel, "e", 1)._replace(data=data)
        with pytest.raises(Unavailable):
            await archive.append([Stretch(channel, BEGINNING, Position("e", 1), [large])])
        long = message(channel, "e" * 65, 1)
        with pytest.raises(Unavailable, match="refuses"):
            await archive.append([Stretch(channel, BEGINNING, long.position, [long])])
        assert await archive.places([channel]) == {}
