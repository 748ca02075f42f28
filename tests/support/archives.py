"""Archives for tests, and a look at them from outside."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from sqlalchemy import select

from gateway.adapters.memory.archive import MemoryArchive
from gateway.adapters.sql.archive import SqlArchive
from gateway.adapters.sql.engine import Database
from gateway.adapters.sql.schema import archive_epochs, archive_gaps
from gateway.domain.archive import Entry, Place, Stretch
from gateway.domain.messages import BEGINNING, Message, Position
from gateway.ports.archive import Archive
from tests.support.databases import DATABASES, emptied

ARCHIVES = ["memory", *DATABASES]

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


@contextlib.asynccontextmanager
async def opened_shelf(kind: str, request: pytest.FixtureRequest) -> AsyncIterator[Shelf]:
    """One of `ARCHIVES`, with nothing in it."""
    if kind == "memory":
        yield Shelf(MemoryArchive(), None)
        return
    async with emptied(kind, request) as database:
        yield Shelf(SqlArchive(database), database)
