"""What all clients of a replica share, and the limits that hold for each of them."""

from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.core.attendance import Attendance
from gateway.core.centrifuge.census import Census
from gateway.core.centrifuge.deltas import Deltas
from gateway.core.hub import Hub
from gateway.core.tokens import TokenVerifier
from gateway.core.wheel import Wheel
from gateway.domain.namespaces import Namespaces
from gateway.domain.principal import Permissions, Principal

CHANNELS_MAX = 128
CONNECT_SECONDS = 10
EXPIRY_GRACE_SECONDS = 25
"""How long a client may take to bring the new token that it was told to bring."""
RECOVERED_MAX = 300
RECOVERED_BYTES_MAX = 524_288  # half of what may wait for a socket by default


@dataclass(slots=True, eq=False)
class Clients:
    """``check`` raises `InvalidToken` for a principal that was revoked; ``trouble`` says why
    nobody can be let in, "" while they can."""

    hub: Hub
    permissions: Permissions
    namespaces: Namespaces
    verifier: TokenVerifier
    attendance: Attendance
    census: Census
    wheel: Wheel
    check: Callable[[Principal], None]
    trouble: Callable[[], str]
    version: str
    ping_interval_seconds: int
    ping_timeout_seconds: int
    history_page_max: int
    deltas: Deltas = field(default_factory=Deltas)
