"""The archive, in tables: a row for each message, in the order of its channel's epochs.

The newest epoch of each channel is locked while something is added to it, so that of several who
append one comes after the other, and sees where the archive is then.
"""

import time
from collections.abc import Callable, Collection, Sequence
from itertools import takewhile
from typing import Any

from sqlalchemy import Row, Select, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.adapters.sql.engine import Database
from gateway.adapters.sql.schema import archive_epochs as epochs
from gateway.adapters.sql.schema import archive_gaps as gaps
from gateway.adapters.sql.schema import archive_messages as messages
from gateway.domain.archive import NOWHERE, Entry, Hole, Place, Stretch, entry_of
from gateway.domain.channels import namespace_of
from gateway.domain.errors import Unavailable
from gateway.domain.messages import BEGINNING, Message, Position
from gateway.ports.archive import Archive

_APPEND_SECONDS = 10.0  # a batch may have many megabytes
_APPEND_ATTEMPTS = 3
_PRUNED_MAX = 1000

Head = Row[Any] | None
"""The newest epoch of a channel."""


class SqlArchive(Archive):
    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def places(self, channels: Collection[str]) -> dict[str, Place]:
        async with self._database.reading() as connection:
            rows = await connection.execute(_heads(channels))
            return {row.channel: _place(row) for row in rows}

    async def append(self, stretches: Sequence[Stretch]) -> list[Entry | None]:
        for _ in range(_APPEND_ATTEMPTS):
            try:
                async with self._database.writing(_APPEND_SECONDS) as connection:
                    return await self._append(connection, stretches)
            except IntegrityError:
                continue  # somebody else has just begun the same epoch
            except DataError as error:
                raise Unavailable(f"the database refuses a message: {error.orig}") from None
        raise Unavailable("others write to the same archive all the time")

    async def _append(
        self, connection: AsyncConnection, stretches: Sequence[Stretch]
    ) -> list[Entry | None]:
        channels = {stretch.channel for stretch in stretches}
        locked = await connection.execute(_heads(channels).with_for_update(of=epochs))
        heads = {row.channel: row for row in locked}
        entries: list[Entry | None] = []
        rows: list[dict[str, Any]] = []
        moved: list[dict[str, Any]] = []
        holes: list[tuple[int, Hole]] = []
        for stretch in stretches:
            head = heads.get(stretch.channel)
            at = _place(head) if head else NOWHERE
            entry = entry_of(stretch, at)
            entries.append(entry)
            if entry is None or entry.place == at:
                continue
            if entry.end and head:
                holes.append((head.id, entry.end))
            if entry.is_new:
                new = insert(epochs).values(
                    channel=stretch.channel,
                    namespace=namespace_of(stretch.channel),
                    number=head.number + 1 if head else 1,
                    **_columns(entry, None),
                )
                (epoch_id,) = (await connection.execute(new)).inserted_primary_key or (0,)
            else:
                epoch_id = head.id if head else 0
                moved.append({"head": epoch_id, **_columns(entry, head)})
            rows += [_row(epoch_id, message) for message in entry.messages]
            holes += [(epoch_id, hole) for hole in entry.holes]
        if rows:
            await connection.execute(insert(messages), rows)
        if moved:
            await connection.execute(_MOVE, moved)
        for epoch_id, hole in holes:
            await self._note(connection, epoch_id, hole)
        return entries

    async def _note(self, connection: AsyncConnection, epoch_id: int, hole: Hole) -> None:
        # The end of an epoch that went on after all has been noted with the same beginning.
        known = (gaps.c.epoch_id == epoch_id, gaps.c.first_offset == hole.first)
        await connection.execute(delete(gaps).where(*known))
        await connection.execute(
            insert(gaps).values(
                epoch_id=epoch_id,
                first_offset=hole.first,
                last_offset=hole.last,
                noted_at=self._clock(),
            )
        )

    async def after(self, channel: str, position: Position, limit: int) -> list[Message] | None:
        async with self._database.reading() as connection:
            known = await _epochs_of(connection, channel)
            offset = position.offset
            if position != BEGINNING:
                first = _last_of(known, position.epoch)
                if first is None:
                    return None
                known = known[first:]
            found: list[Message] = []
            for epoch in known:
                way = _of(epoch, limit - len(found)).order_by(messages.c.message_offset)
                rows = await connection.execute(way.where(messages.c.message_offset > offset))
                found += [_message(epoch, row) for row in rows]
                offset = 0
                if len(found) >= limit:
                    break
            return found

    async def before(
        self, channel: str, position: Position | None, limit: int
    ) -> list[Message] | None:
        async with self._database.reading() as connection:
            known = await _epochs_of(connection, channel)
            if position is not None:
                last = _last_of(known, position.epoch)
                if last is None:
                    return None
                known = known[: last + 1]
            found: list[Message] = []
            for epoch in reversed(known):
                way = _of(epoch, limit - len(found)).order_by(messages.c.message_offset.desc())
                if position is not None and epoch is known[-1]:
                    way = way.where(messages.c.message_offset < position.offset)
                found += [_message(epoch, row) for row in await connection.execute(way)]
                if len(found) >= limit:
                    break
            return found

    async def prune(
        self,
        before: float,
        namespaces: Collection[str],
        *,
        all_but: bool = False,
        lapsed_before: float = 0.0,
    ) -> int:
        namespace = epochs.c.namespace
        meant = namespace.not_in(namespaces) if all_but else namespace.in_(namespaces)
        oldest = epochs.c.oldest_at
        due = select(epochs.c.id).where(meant, oldest < before).order_by(oldest).limit(1)
        async with self._database.writing() as connection:
            epoch_id = await connection.scalar(due.with_for_update())
            if epoch_id is not None:
                return await _prune(connection, epoch_id, before)
            lapsed = select(epochs.c.id).where(
                meant, oldest.is_(None), epochs.c.last_at < lapsed_before
            )
            ids = list(await connection.scalars(lapsed.limit(_PRUNED_MAX)))
            if ids:
                await connection.execute(delete(epochs).where(epochs.c.id.in_(ids)))
            return 0


_MOVE = update(epochs).where(epochs.c.id == bindparam("head"))


def _heads(channels: Collection[str]) -> Select[Any]:
    newest = (
        select(epochs.c.channel, func.max(epochs.c.number).label("number"))
        .where(epochs.c.channel.in_(channels))
        .group_by(epochs.c.channel)
        .subquery()
    )
    is_newest = (epochs.c.channel == newest.c.channel) & (epochs.c.number == newest.c.number)
    # Two who lock the same rows do so in the same order.
    return select(epochs).join(newest, is_newest).order_by(epochs.c.id)


def _place(head: Row[Any]) -> Place:
    return Place(Position(head.epoch, head.top_offset), head.top_id, head.is_ended)


def _columns(entry: Entry, head: Head) -> dict[str, Any]:
    """What an epoch's row says when the entry has been written."""
    position, id, is_ended = entry.place
    times = [message.time for message in entry.messages]
    oldest_at = head.oldest_at if head else None
    return {
        "epoch": position.epoch,
        "top_offset": position.offset,
        "top_id": _text(id),
        "is_ended": is_ended,
        "oldest_at": times[0] if oldest_at is None and times else oldest_at,
        "last_at": max([head.last_at if head else 0.0, *times]),
    }


def _row(epoch_id: int, message: Message) -> dict[str, Any]:
    return {
        "epoch_id": epoch_id,
        "message_offset": message.position.offset,
        "message_id": _text(message.id),
        "user_name": _text(message.user),
        "published_at": message.time,
        "data": message.data,
        "tags": message.tags.decode() or None,
        "info": message.info.decode() or None,
    }


def _text(text: str) -> str:
    return text.replace("\0", "")  # which PostgreSQL refuses; no replica of ours writes one


def _message(epoch: Row[Any], row: Row[Any]) -> Message:
    return Message(
        epoch.channel,
        bytes(row.data),
        row.message_id,
        row.user_name,
        row.published_at,
        Position(epoch.epoch, row.message_offset),
        tags=(row.tags or "").encode(),
        info=(row.info or "").encode(),
    )


async def _epochs_of(connection: AsyncConnection, channel: str) -> Sequence[Row[Any]]:
    """Those that have messages, and the last one, in their order."""
    rows = await connection.execute(
        select(epochs).where(epochs.c.channel == channel).order_by(epochs.c.number)
    )
    return rows.all()


def _last_of(known: Sequence[Row[Any]], epoch: str) -> int | None:
    """The index of the last one with this name: one that came again has two rows."""
    found = [index for index, row in enumerate(known) if row.epoch == epoch]
    return found[-1] if found else None


def _of(epoch: Row[Any], limit: int) -> Select[Any]:
    return select(messages).where(messages.c.epoch_id == epoch.id).limit(limit)


async def _prune(connection: AsyncConnection, epoch_id: int, before: float) -> int:
    """Some of the oldest messages of one epoch, up to the first one that is to stay."""
    way = select(messages.c.message_offset, messages.c.published_at)
    way = way.where(messages.c.epoch_id == epoch_id).order_by(messages.c.message_offset)
    rows = (await connection.execute(way.limit(_PRUNED_MAX + 1))).all()
    old = list(takewhile(lambda row: row.published_at < before, rows[:_PRUNED_MAX]))
    left = rows[len(old) :]
    if old:
        last = old[-1].message_offset
        of_epoch = messages.c.epoch_id == epoch_id
        await connection.execute(
            delete(messages).where(of_epoch, messages.c.message_offset <= last)
        )
        await connection.execute(
            delete(gaps).where(gaps.c.epoch_id == epoch_id, gaps.c.last_offset <= last)
        )
    oldest_at = left[0].published_at if left else None
    await connection.execute(
        update(epochs).where(epochs.c.id == epoch_id).values(oldest_at=oldest_at)
    )
    return len(old)
