"""How a command is made of its fields, however those are spelled."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Final, Self

from gateway.domain.messages import Position
from gateway.protocols.centrifuge import commands
from gateway.protocols.centrifuge.commands import BadCommand, Command

ID_MAX = (1 << 32) - 1
_INT32_MAX = (1 << 31) - 1
_UINT64_MAX = (1 << 64) - 1
_OFFSET_MAX = 10**15 - 1  # no channel counts that far; see `Position`
_EPOCH = re.compile(r"[A-Za-z0-9_\-]{0,32}")
_NO_EPOCH = "_"
_REJECTS_GAP = 2  # a bit of the field flag


class Fields(ABC):
    """Reads fields of the right type, or none; what is not asked for is not looked at.

    Raises `BadCommand`. A field that was not given is empty.
    """

    @abstractmethod
    def text(self, name: str) -> str: ...

    @abstractmethod
    def flag(self, name: str) -> bool: ...

    @abstractmethod
    def number(self, name: str, most: int, least: int = 0) -> int: ...

    @abstractmethod
    def data(self, name: str) -> bytes:
        """One JSON value in one line."""

    @abstractmethod
    def object(self, name: str) -> Self | None: ...

    @abstractmethod
    def objects(self, name: str) -> Mapping[str, Self]: ...

    def position(self) -> Position:
        """What cannot be an epoch of ours becomes one that is not: it matches nothing."""
        epoch, offset = self.text("epoch"), self.number("offset", _UINT64_MAX)
        known = epoch if _EPOCH.fullmatch(epoch) else _NO_EPOCH
        return Position(known, min(offset, _OFFSET_MAX))


def command_of(id: int, method: str, fields: Fields) -> Command:
    if method == "send":
        return commands.Send(fields.data("data"))
    if not id:
        raise BadCommand("this command needs an id")
    if method == "ping":
        raise BadCommand("the server sends the pings")
    read = READERS.get(method)
    return commands.Unknown(id) if read is None else read(id, fields)


def _connect(id: int, fields: Fields) -> commands.Connect:
    subs = fields.objects("subs")
    since = {
        channel: sub.position() if sub.flag("recover") else None for channel, sub in subs.items()
    }
    name, version = fields.text("name"), fields.text("version")
    return commands.Connect(id, fields.text("token"), fields.data("data"), name, version, since)


def _subscribe(id: int, fields: Fields) -> commands.Subscribe:
    position = fields.position()
    return commands.Subscribe(
        id,
        fields.text("channel"),
        fields.text("token"),
        fields.data("data"),
        position if fields.flag("recover") else None,
        bool(fields.number("flag", _UINT64_MAX) & _REJECTS_GAP),
        fields.number("type", ID_MAX),
        fields.text("delta"),
        fields.flag("positioned"),
        fields.flag("recoverable"),
        fields.flag("join_leave"),
    )


def _history(id: int, fields: Fields) -> commands.History:
    since = fields.object("since")
    return commands.History(
        id,
        fields.text("channel"),
        fields.number("limit", _INT32_MAX, -_INT32_MAX - 1),
        None if since is None else since.position(),
        fields.flag("reverse"),
    )


READERS: Final[Mapping[str, Callable[[int, Fields], Command]]] = {
    "connect": _connect,
    "subscribe": _subscribe,
    "unsubscribe": lambda id, fields: commands.Unsubscribe(id, fields.text("channel")),
    "publish": lambda id, fields: commands.Publish(id, fields.text("channel"), fields.data("data")),
    "presence": lambda id, fields: commands.Presence(id, fields.text("channel")),
    "presence_stats": lambda id, fields: commands.PresenceStats(id, fields.text("channel")),
    "history": _history,
    "rpc": lambda id, fields: commands.Rpc(id, fields.text("method"), fields.data("data")),
    "refresh": lambda id, fields: commands.Refresh(id, fields.text("token")),
    "sub_refresh": lambda id, fields: commands.SubRefresh(
        id, fields.text("channel"), fields.text("token")
    ),
}
