"""The tables, as the code sees them; ``migrations/versions`` is how a database gets there.

Every text is compared byte by byte, on each database: MariaDB by default takes "alice" and "ALICE"
for one, PostgreSQL for two. What counts as the same name is decided by `fold_name` alone, and its
result stands in a column of its own.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.mysql import LONGBLOB

# The newest migration. It stands here so that looking whether a database is up to date does not
# load Alembic; the numbers sort, so that an older gateway knows a newer database.
VERSION = "0003"

_KEYS_PER_CHARACTER = 3  # what case folding can make of one
NAME_KEY_LENGTH = 150 * _KEYS_PER_CHARACTER
EMAIL_KEY_LENGTH = 254 * _KEYS_PER_CHARACTER

# SQLite gives ids by itself to this type only, and it is as wide there.
Id = BigInteger().with_variant(Integer, "sqlite")

# A message has up to 16 MiB, and as JSON up to six times as much.
Data = LargeBinary().with_variant(LONGBLOB(), "mysql", "mariadb")

OPTIONS: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}

metadata = MetaData(
    naming_convention={
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)

users = Table(
    "users",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(150), nullable=False),
    Column("name_key", String(NAME_KEY_LENGTH), nullable=False, unique=True),
    Column("email", String(254), nullable=False),
    Column("email_key", String(EMAIL_KEY_LENGTH), unique=True),  # null where there is no address
    Column("password_hash", String(255), nullable=False),
    Column("roles", Text, nullable=False),  # a JSON list: they are only ever read as a whole
    Column("is_disabled", Boolean, nullable=False),
    Column("tokens_valid_from", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    **OPTIONS,
)

logins = Table(
    "logins",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("user_id", Id, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("generation", Integer, nullable=False),
    Column("rotated_at", Double, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False, index=True),
    Column("ended_at", Double),
    **OPTIONS,
)

revocations = Table(
    "revocations",
    metadata,
    # A digest of kind and subject. As texts, MariaDB would ignore blanks at their end, and the
    # revocation of one token could hide behind that of another.
    Column("id", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("subject", Text, nullable=False),
    Column("user_name", Text, nullable=False),
    Column("revoked_before", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("reason", String(64), nullable=False),
    **OPTIONS,
)

# An epoch of a channel, and up to where it is archived. The one with the highest number is where
# the channel is. A row outlives its messages: a channel goes on where it was.
archive_epochs = Table(
    "archive_epochs",
    metadata,
    Column("id", Id, primary_key=True),
    Column("channel", String(200), nullable=False),
    Column("number", Integer, nullable=False),  # epochs are random: this is their order
    Column("namespace", String(200), nullable=False),
    Column("epoch", String(64), nullable=False),
    Column("top_offset", BigInteger, nullable=False),
    Column("top_id", Text, nullable=False),
    Column("is_ended", Boolean, nullable=False),
    Column("oldest_at", Double, index=True),  # null where there are no messages
    Column("last_at", Double, nullable=False),
    UniqueConstraint("channel", "number"),
    **OPTIONS,
)

archive_messages = Table(
    "archive_messages",
    metadata,
    Column("epoch_id", Id, ForeignKey("archive_epochs.id"), primary_key=True),
    Column("message_offset", BigInteger, primary_key=True, autoincrement=False),
    Column("message_id", Text, nullable=False),
    Column("user_name", Text, nullable=False),
    Column("published_at", Double, nullable=False),
    Column("data", Data, nullable=False),
    Column("tags", Text),  # encoded JSON, as is the next one; null where there is none
    Column("info", Text),
    **OPTIONS,
)

archive_gaps = Table(
    "archive_gaps",
    metadata,
    Column("epoch_id", Id, ForeignKey("archive_epochs.id", ondelete="CASCADE"), primary_key=True),
    Column("first_offset", BigInteger, primary_key=True, autoincrement=False),
    Column("last_offset", BigInteger),  # null where nobody knows how far the epoch came
    Column("noted_at", Double, nullable=False),
    **OPTIONS,
)
