"""What a client says. ``data`` is one JSON value, encoded; empty where none was given."""

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from gateway.domain.messages import Position
from gateway.protocols.centrifuge.codes import Error


class BadCommand(Exception):
    """What arrived is not the protocol; the connection cannot go on."""


class Said(NamedTuple):
    """What a request to ``/emulation`` brings, for a client whose socket goes one way only.

    ``payload`` is what a message of a WebSocket would be: text, or bytes of Protobuf.
    """

    session: str
    node: str
    payload: str | bytes


class Connect(NamedTuple):
    """``subs``: where the client is in channels that the server subscribed it to before.

    Where the client says nothing else, these are the channels that it asks for, too; None: from
    now on.
    """

    id: int
    token: str = ""
    data: bytes = b""
    name: str = ""
    version: str = ""
    subs: Mapping[str, Position | None] = {}


class Subscribe(NamedTuple):
    """``since`` is given to recover from there. ``type`` 0 is a stream, the only one we have.

    ``delta`` names the form of differences that the client can read.
    ``rejects_gap``: rather be refused than subscribe with messages missing. The last three ask
    for what the channel's namespace does not force on everybody.
    """

    id: int
    channel: str
    token: str = ""
    data: bytes = b""
    since: Position | None = None
    rejects_gap: bool = False
    type: int = 0
    delta: str = ""
    positioned: bool = False
    recoverable: bool = False
    join_leave: bool = False


class Unsubscribe(NamedTuple):
    id: int
    channel: str


class Publish(NamedTuple):
    id: int
    channel: str
    data: bytes


class Presence(NamedTuple):
    id: int
    channel: str


class PresenceStats(NamedTuple):
    id: int
    channel: str


class History(NamedTuple):
    """``limit`` 0 asks for the position alone, a negative one for all that may be had."""

    id: int
    channel: str
    limit: int = 0
    since: Position | None = None
    is_reverse: bool = False


class Rpc(NamedTuple):
    id: int
    method: str = ""
    data: bytes = b""


class Refresh(NamedTuple):
    id: int
    token: str


class SubRefresh(NamedTuple):
    id: int
    channel: str
    token: str


class Send(NamedTuple):
    """A message that wants no reply."""

    data: bytes = b""


class Pong(NamedTuple):
    """The answer to our ping."""


class Unknown(NamedTuple):
    """A command of a later version of the protocol."""

    id: int


class Unusable(NamedTuple):
    """A command that cannot be carried out, whatever its method; the connection goes on."""

    id: int
    error: Error


Command: TypeAlias = (
    Connect
    | Subscribe
    | Unsubscribe
    | Publish
    | Presence
    | PresenceStats
    | History
    | Rpc
    | Refresh
    | SubRefresh
    | Send
    | Pong
    | Unknown
    | Unusable
)
