"""What servers ask for. ``data`` and ``info`` are one JSON value each, encoded, or empty."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from gateway.domain.messages import Position
from gateway.domain.namespaces import AS_EVERYBODY, Override


class BadRequest(Exception):
    """The request cannot be understood; the text says why."""


class NotSupported(Exception):
    """The request is understood, and asks for something that this server does not do."""


class Content(NamedTuple):
    """What goes to one channel or to many."""

    data: bytes
    is_kept: bool = True
    tags: bytes = b""
    idempotency_key: str = ""


class Publish(NamedTuple):
    channel: str
    content: Content

    @property
    def all_channels(self) -> Sequence[str]:
        return (self.channel,)


class Broadcast(NamedTuple):
    channels: Sequence[str]
    content: Content

    @property
    def all_channels(self) -> Sequence[str]:
        return self.channels


Publishing: TypeAlias = Publish | Broadcast


class Target(NamedTuple):
    """Connections of a user: all of them, or the one with this client id or session."""

    user: str
    client: str = ""
    session: str = ""


class Subscribe(NamedTuple):
    """``expire_at`` in seconds since 1970; 0: never."""

    target: Target
    channel: str
    info: bytes = b""
    data: bytes = b""
    expire_at: int = 0
    since: Position | None = None
    override: Override = AS_EVERYBODY


class Unsubscribe(NamedTuple):
    target: Target
    channel: str


class Disconnect(NamedTuple):
    """``code`` 0 is the usual one. The clients in ``whitelist`` stay."""

    target: Target
    whitelist: Sequence[str] = ()
    code: int = 0
    reason: str = ""


class Refresh(NamedTuple):
    """``expire_at`` in seconds since 1970; 0: as late as any connection may."""

    target: Target
    is_expired: bool = False
    expire_at: int = 0
    info: bytes = b""


class Presence(NamedTuple):
    channel: str


class PresenceStats(NamedTuple):
    channel: str


class History(NamedTuple):
    channel: str
    limit: int = 0
    since: Position | None = None
    is_reverse: bool = False


class HistoryRemove(NamedTuple):
    channel: str


class Channels(NamedTuple):
    pattern: str = "*"


class Info(NamedTuple):
    pass


class Rpc(NamedTuple):
    pass


class Batch(NamedTuple):
    """Pairs of a method and what it is given, which nobody has read yet."""

    commands: Sequence[tuple[str, object]]
    is_parallel: bool = False


Request: TypeAlias = (
    Publishing
    | Subscribe
    | Unsubscribe
    | Disconnect
    | Refresh
    | Presence
    | PresenceStats
    | History
    | HistoryRemove
    | Channels
    | Info
    | Rpc
    | Batch
)
