"""The revocations, in a table."""

import contextlib
import hashlib
from typing import Any

from sqlalchemy import Row, Update, case, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from gateway.adapters.sql.engine import Database
from gateway.adapters.sql.schema import revocations
from gateway.domain.revocations import Revocation, RevocationKind
from gateway.ports.revocation_log import RevocationLog

_KINDS = frozenset(kind.value for kind in RevocationKind)


class SqlRevocationLog(RevocationLog):
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, revocation: Revocation) -> None:
        inserting = insert(revocations).values(
            id=_id(revocation),
            kind=revocation.kind.value,
            subject=revocation.subject,
            user_name=revocation.user,
            revoked_before=revocation.before,
            expires_at=revocation.expires_at,
            reason=revocation.reason,
        )
        # The one that is there can expire and be forgotten just now; then there is room again.
        while not await self._tightened(revocation):
            with contextlib.suppress(IntegrityError):
                async with self._database.writing() as connection:
                    await connection.execute(inserting)
                return

    async def live(self, now: float) -> list[Revocation]:
        statement = select(revocations).where(revocations.c.expires_at > now)
        async with self._database.reading() as connection:
            rows = await connection.execute(statement)
            # A kind of a newer version, while it is rolled out, is none that we could heed.
            return [_revocation(row) for row in rows if row.kind in _KINDS]

    async def prune(self, now: float) -> int:
        statement = delete(revocations).where(revocations.c.expires_at <= now)
        async with self._database.writing() as connection:
            done = await connection.execute(statement)
        return done.rowcount

    async def _tightened(self, revocation: Revocation) -> bool:
        """Whether there is an entry; it is as strict as this revocation then."""
        async with self._database.writing() as connection:
            done = await connection.execute(_tightening(revocation))
        return done.rowcount == 1


def _tightening(revocation: Revocation) -> Update:
    columns = revocations.c
    is_earlier = columns.revoked_before < revocation.before
    expires_sooner = columns.expires_at < revocation.expires_at

    def later(new: object, old: Any, replaces: Any = is_earlier) -> Any:
        return case((replaces, new), else_=old)

    # In this order: to MariaDB a column has its new value in the assignments that follow.
    return (
        update(revocations)
        .where(columns.id == _id(revocation))
        .ordered_values(
            (columns.user_name, later(revocation.user, columns.user_name)),
            (columns.reason, later(revocation.reason, columns.reason)),
            (columns.revoked_before, later(revocation.before, columns.revoked_before)),
            (columns.expires_at, later(revocation.expires_at, columns.expires_at, expires_sooner)),
        )
    )


def _id(revocation: Revocation) -> str:
    return hashlib.sha256(f"{revocation.kind}\n{revocation.subject}".encode()).hexdigest()


def _revocation(row: Row[Any]) -> Revocation:
    return Revocation(
        kind=RevocationKind(row.kind),
        subject=row.subject,
        user=row.user_name,
        before=row.revoked_before,
        expires_at=row.expires_at,
        reason=row.reason,
    )
