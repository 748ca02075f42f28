"""What may be published, and how fast."""

from pydantic import Field

from gateway.settings.base import Topic


class MessageSettings(Topic):
    message_bytes_max: int = Field(
        65_536, ge=1, le=16_777_216, description="Largest message. A bigger frame closes with 1009."
    )
    request_bytes_max: int = Field(
        1_048_576, ge=1024, description="Largest body of a publish request, so also of a batch."
    )
    batch_messages_max: int = Field(1000, ge=1, description="Most messages in one batch.")
    publish_rate_max: int = Field(
        0, ge=0, description="Messages per second and user on a replica; 0 sets no limit."
    )
    idempotency_seconds: int = Field(
        300, ge=1, description="How long a repeated Idempotency-Key publishes nothing new."
    )
