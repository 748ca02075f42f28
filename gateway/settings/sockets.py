"""What a socket may cost, and when it is given up."""

from pydantic import Field

from gateway.settings.base import Topic


class SocketSettings(Topic):
    sockets_max: int = Field(
        100_000, ge=1, description="Open sockets on a replica; further ones are closed with 1013."
    )
    sockets_per_user_max: int = Field(
        0, ge=0, description="Open sockets of one user, on all replicas; 0 sets no limit."
    )
    sockets_per_address_max: int = Field(
        0, ge=0, description="Open sockets of one address on a replica; 0 sets no limit."
    )
    outbox_bytes_max: int = Field(
        1_048_576,
        ge=65_536,
        description="What may wait for one slow reader, in the transport and behind it.",
    )
    compression: bool = Field(
        False,
        description="Agree to permessage-deflate; a message is compressed once for all sockets.",
    )
    ping_interval_seconds: int = Field(
        25, ge=1, description="Silence before a ping; below the idle time-out of every proxy."
    )
    ping_timeout_seconds: int = Field(
        20, ge=1, description="Until an unanswered ping ends the socket, also of a stuck reader."
    )
    close_timeout_seconds: int = Field(
        2, ge=1, description="How long a peer may take to answer our close frame."
    )
    request_timeout_seconds: float = Field(
        10.0, gt=0, description="How long a request or a handshake may take to arrive."
    )
    handshakes_per_second_max: int = Field(
        1000,
        ge=0,
        description="New listeners per second; others are told when to come back. 0: no limit.",
    )
    handshakes_burst_max: int = Field(
        20_000,
        ge=1,
        description="New listeners at once, after a quiet time: as many as a neighbour may lose.",
    )
    drain_pause_seconds: float | None = Field(
        None,
        ge=0,
        description="A stopping replica is not ready for so long before it closes its first "
        "socket: until every balancer has looked. Default: 3 in production, 0 elsewhere.",
    )
    drain_seconds: float | None = Field(
        None,
        ge=0,
        description="Over how long a stopping replica closes its sockets. Default: 10 in "
        "production, 1 elsewhere.",
    )
    shutdown_seconds: int = Field(
        10, ge=1, description="How long a stopping replica then waits for requests and sockets."
    )
