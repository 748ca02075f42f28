"""What the server says: the results of commands, and pushes. All data is encoded JSON."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

import orjson

from gateway.domain.messages import Message, client_of
from gateway.protocols.centrifuge.codes import Disconnect, Error, Unsubscribe

_SHOWN = ("conn_info", "chan_info")
_SHOWN_BYTES_MAX = 2048


class ClientInfo(NamedTuple):
    user: str
    client: str
    conn_info: bytes = b""
    chan_info: bytes = b""

    def shown(self) -> bytes:
        """What travels with each message that it publishes; nothing where that would be long."""
        infos = {"conn_info": self.conn_info, "chan_info": self.chan_info}
        if not any(infos.values()) or len(self.conn_info) + len(self.chan_info) > _SHOWN_BYTES_MAX:
            return b""
        return orjson.dumps({name: orjson.Fragment(info) for name, info in infos.items() if info})


class Publication(NamedTuple):
    """``epoch`` stands only where a client that joined before the first message learns it.

    ``tags`` is a JSON object, or empty. ``is_text``: the data goes as a text of JSON, for a
    subscription with differences, where any of them might be one. ``patch`` is one from the
    publication before it, or empty, and goes in place of the data where it is shorter.
    """

    data: bytes
    offset: int = 0
    epoch: str = ""
    info: ClientInfo | None = None
    tags: bytes = b""
    is_text: bool = False
    patch: bytes = b""


def publication_of(message: Message) -> Publication:
    """A message in a list, where the list's own epoch holds."""
    offset, info = message.position.offset, publisher_of(message)
    return Publication(message.data, offset, info=info, tags=message.tags)


def publisher_of(message: Message) -> ClientInfo | None:
    """The client that published it; None for what came from elsewhere."""
    client = client_of(message.id)
    if not client:
        return None
    shown = orjson.loads(message.info) if message.info else {}
    infos = (orjson.dumps(shown[name]) if name in shown else b"" for name in _SHOWN)
    return ClientInfo(message.user, client, *infos)


class SubscribeResult(NamedTuple):
    """``ttl`` is in seconds, and counts where ``expires`` is true."""

    expires: bool = False
    ttl: int = 0
    recoverable: bool = False
    positioned: bool = False
    epoch: str = ""
    offset: int = 0
    recovered: bool = False
    was_recovering: bool = False
    publications: Sequence[Publication] = ()
    data: bytes = b""
    delta: bool = False


class ConnectResult(NamedTuple):
    """``ping`` is in seconds; 0: none is sent. ``pong``: the client has to answer them.

    ``session`` and ``node`` are what a client says with each request whose socket is none.
    """

    client: str
    version: str
    expires: bool = False
    ttl: int = 0
    subs: Mapping[str, SubscribeResult] = {}
    ping: int = 0
    pong: bool = False
    session: str = ""
    node: str = ""


class UnsubscribeResult(NamedTuple):
    pass


class PublishResult(NamedTuple):
    pass


class PresenceResult(NamedTuple):
    presence: Mapping[str, ClientInfo]


class PresenceStatsResult(NamedTuple):
    num_clients: int
    num_users: int


class HistoryResult(NamedTuple):
    publications: Sequence[Publication]
    epoch: str
    offset: int


class RefreshResult(NamedTuple):
    client: str
    version: str
    expires: bool
    ttl: int


class SubRefreshResult(NamedTuple):
    expires: bool
    ttl: int


Result: TypeAlias = (
    ConnectResult
    | SubscribeResult
    | UnsubscribeResult
    | PublishResult
    | PresenceResult
    | PresenceStatsResult
    | HistoryResult
    | RefreshResult
    | SubRefreshResult
)


class Join(NamedTuple):
    info: ClientInfo


class Leave(NamedTuple):
    info: ClientInfo


class Subscribed(NamedTuple):
    """The server has subscribed the client; as in `SubscribeResult`."""

    recoverable: bool = False
    positioned: bool = False
    epoch: str = ""
    offset: int = 0
    data: bytes = b""


class Refreshed(NamedTuple):
    """The server has given the connection a new end; about no channel."""

    expires: bool
    ttl: int


Push: TypeAlias = Publication | Join | Leave | Unsubscribe | Subscribed | Refreshed | Disconnect
"""What one client is told about a channel or its connection; see also `Codec.publications`."""

NAMES: Final[Mapping[type, str]] = {
    Error: "error",
    ConnectResult: "connect",
    SubscribeResult: "subscribe",
    UnsubscribeResult: "unsubscribe",
    PublishResult: "publish",
    PresenceResult: "presence",
    PresenceStatsResult: "presence_stats",
    HistoryResult: "history",
    RefreshResult: "refresh",
    SubRefreshResult: "sub_refresh",
    Publication: "pub",
    Join: "join",
    Leave: "leave",
    Subscribed: "subscribe",
    Refreshed: "refresh",
    Unsubscribe: "unsubscribe",
    Disconnect: "disconnect",
}
"""The fields by which results and pushes go."""
