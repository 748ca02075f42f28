"""How messages get from Redis, or from memory, into the database."""

from pydantic import Field

from gateway.settings.base import Topic


class ArchiveSettings(Topic):
    archive_interval_seconds: float = Field(
        1.0, gt=0, description="How often one replica archives what is new, for all of them."
    )
    archive_batch_messages: int = Field(
        500, ge=1, le=10_000, description="Most messages that it writes in one transaction."
    )
