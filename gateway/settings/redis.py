"""The Redis that replicas share."""

from pydantic import Field, SecretStr

from gateway.settings.base import Topic


class RedisSettings(Topic):
    redis_url: SecretStr | None = Field(
        None,
        description="One Redis, one of Sentinel, a cluster or shards: the forms are in "
        "docs/redis.md. Unset: one replica, in memory.",
    )
    redis_prefix: str = Field(
        "gw",
        pattern=r"^[A-Za-z0-9_\-.]{1,50}$",
        description="Start of every key and topic; two gateways on one Redis need two of them.",
    )
    redis_connections_max: int = Field(
        20, ge=2, description="Connections for commands; the publisher needs one at a time."
    )
    redis_timeout_seconds: float = Field(
        2.0, gt=0, description="Until a command counts as unanswered. Publish then answers 503."
    )
    redis_ping_interval_seconds: float = Field(
        1.0, gt=0, description="How often the Redis path is proven with a ping and a probe."
    )
    redis_ping_timeout_seconds: float = Field(
        1.5, gt=0, description="Until a silent path counts as lost."
    )
    lease_seconds: float = Field(
        10.0, ge=1, description="After this a replica that died is forgotten with its users."
    )
