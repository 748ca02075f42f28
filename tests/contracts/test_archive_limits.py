"""What `gateway.ports.archive` promises about what is too old, and what is too large."""

import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.adapters.sql.archive import SqlArchive
from gateway.adapters.sql.schema import archive_messages
from gateway.domain.archive import Stretch
from gateway.domain.errors import Unavailable
from gateway.domain.messages import BEGINNING, Position
from gateway.ports.archive import Archive
from tests.support.archives import ARCHIVES, START, Shelf, message, opened_shelf
from tests.support.databases import DATABASES, MariadbServer, emptied, opened


@pytest.fixture(params=ARCHIVES)
async def shelf(request: pytest.FixtureRequest) -> AsyncIterator[Shelf]:
    async with opened_shelf(request.param, request) as shelf:
        yield shelf


@pytest.fixture
def channel() -> str:
    return f"room:{secrets.token_hex(4)}"


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
