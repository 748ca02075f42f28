"""Tags of archived messages, and what their publishers showed of themselves."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    # Null for what is there: no row is rewritten, on any of the databases, and a gateway of the
    # version before goes on writing its own.
    op.add_column("archive_messages", sa.Column("tags", sa.Text))
    op.add_column("archive_messages", sa.Column("info", sa.Text))
