"""The archive of channels' histories.

What stood in ``schema.py`` when this was written, and not taken from there: a migration does the
same for ever.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import LONGBLOB

revision = "0002"
down_revision = "0001"

_OPTIONS: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}
_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_DATA = sa.LargeBinary().with_variant(LONGBLOB(), "mysql", "mariadb")


def upgrade() -> None:
    op.create_table(
        "archive_epochs",
        sa.Column("id", _ID, nullable=False),
        sa.Column("channel", sa.String(200), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("namespace", sa.String(200), nullable=False),
        sa.Column("epoch", sa.String(64), nullable=False),
        sa.Column("top_offset", sa.BigInteger, nullable=False),
        sa.Column("top_id", sa.Text, nullable=False),
        sa.Column("is_ended", sa.Boolean, nullable=False),
        sa.Column("oldest_at", sa.Double),
        sa.Column("last_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("channel", "number", name="uq_archive_epochs_channel"),
        sa.Index("ix_archive_epochs_oldest_at", "oldest_at"),
        **_OPTIONS,
    )
    op.create_table(
        "archive_messages",
        sa.Column("epoch_id", _ID, nullable=False),
        sa.Column("message_offset", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("message_id", sa.Text, nullable=False),
        sa.Column("user_name", sa.Text, nullable=False),
        sa.Column("published_at", sa.Double, nullable=False),
        sa.Column("data", _DATA, nullable=False),
        sa.PrimaryKeyConstraint("epoch_id", "message_offset"),
        sa.ForeignKeyConstraint(
            ["epoch_id"], ["archive_epochs.id"], name="fk_archive_messages_epoch_id"
        ),
        **_OPTIONS,
    )
    op.create_table(
        "archive_gaps",
        sa.Column("epoch_id", _ID, nullable=False),
        sa.Column("first_offset", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("last_offset", sa.BigInteger),
        sa.Column("noted_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("epoch_id", "first_offset"),
        sa.ForeignKeyConstraint(
            ["epoch_id"],
            ["archive_epochs.id"],
            name="fk_archive_gaps_epoch_id",
            ondelete="CASCADE",
        ),
        **_OPTIONS,
    )
