"""The JSON spelling: one object per line, and one or more lines in a text frame."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import orjson

from gateway.domain.messages import Message, Position
from gateway.protocols.centrifuge import commands, results
from gateway.protocols.centrifuge.codec import Codec
from gateway.protocols.centrifuge.codes import Disconnect, Error, Unsubscribe
from gateway.protocols.centrifuge.commands import BadCommand, Command
from gateway.protocols.centrifuge.results import Push, Result

_ID_MAX = (1 << 32) - 1
_UINT64_MAX = (1 << 64) - 1
_OFFSET_MAX = 10**15 - 1  # no channel counts that far; see `Position`
_EPOCH = re.compile(r"[A-Za-z0-9_\-]{0,32}")
_NO_EPOCH = "_"
_REJECTS_GAP = 2  # a bit of the field flag

# The names by which results and pushes go.
_NAMES: Mapping[type, str] = {
    results.ConnectResult: "connect",
    results.SubscribeResult: "subscribe",
    results.UnsubscribeResult: "unsubscribe",
    results.PublishResult: "publish",
    results.PresenceResult: "presence",
    results.PresenceStatsResult: "presence_stats",
    results.HistoryResult: "history",
    results.RefreshResult: "refresh",
    results.SubRefreshResult: "sub_refresh",
    results.Publication: "pub",
    results.Join: "join",
    results.Leave: "leave",
    results.Subscribed: "subscribe",
    results.Refreshed: "refresh",
    Unsubscribe: "unsubscribe",
    Disconnect: "disconnect",
}

# Where a reader expects a field even if it is empty; everything else that is empty is left out.
_ALWAYS: Final[Mapping[type, frozenset[str]]] = {
    results.ClientInfo: frozenset(("user", "client")),
    results.PresenceResult: frozenset(("presence",)),
    results.PresenceStatsResult: frozenset(("num_clients", "num_users")),
    results.HistoryResult: frozenset(("publications", "epoch", "offset")),
    Error: frozenset(("code", "message")),
    Unsubscribe: frozenset(("code", "reason")),
    Disconnect: frozenset(("code", "reason")),
}
_NEVER: frozenset[str] = frozenset()


class JsonCodec(Codec):
    def decode(self, payload: str) -> list[Command]:
        commands = [_command(line) for line in payload.split("\n") if line and not line.isspace()]
        if not commands:
            raise BadCommand("an empty frame")
        return commands

    def reply(self, id: int, answer: Result | Error) -> bytes:
        name = "error" if isinstance(answer, Error) else _NAMES[type(answer)]
        return orjson.dumps({"id": id, name: _object(answer)})

    def push(self, channel: str, push: Push) -> bytes:
        about = {"channel": channel} if channel else {}
        return orjson.dumps({"push": {**about, _NAMES[type(push)]: _object(push)}})

    def publications(self, channel: str, messages: Sequence[Message]) -> bytes:
        # The data is embedded as it was published; it is made of one line.
        return _pubs(channel, messages, (message.data for message in messages))

    def deltas(
        self, channel: str, messages: Sequence[Message], patches: Sequence[bytes | None]
    ) -> bytes:
        pairs = zip(messages, patches, strict=True)
        return _pubs(channel, messages, (_text(message.data, patch) for message, patch in pairs))

    def joined(self, payloads: Sequence[bytes]) -> bytes:
        return b"\n".join(payloads)

    @property
    def ping(self) -> bytes:
        return b"{}"


JSON: Final = JsonCodec()


def _pubs(channel: str, messages: Sequence[Message], data: Iterable[bytes]) -> bytes:
    head = b'{"push":{"channel":%b,"pub":{"data":' % orjson.dumps(channel)
    return b"\n".join(
        head + each + b',"offset":%d%b%b%b}}}' % (message.position.offset, *_rest(message))
        for message, each in zip(messages, data, strict=True)
    )


def _text(data: bytes, patch: bytes | None) -> bytes:
    """The shorter one of the two as a text, and the mark of a patch."""
    whole = orjson.dumps(data.decode())
    if patch is None:
        return whole
    difference = orjson.dumps(patch.decode()) + b',"delta":true'
    return difference if len(difference) < len(whole) else whole


def _rest(message: Message) -> tuple[bytes, bytes, bytes]:
    # Who joined before a channel had any message could not be told its epoch.
    epoch, offset = message.position
    first = b',"epoch":%b' % orjson.dumps(epoch) if offset == 1 else b""
    info = results.publisher_of(message)
    about = b',"info":%b' % orjson.dumps(_object(info)) if info else b""
    return first, about, b',"tags":%b' % message.tags if message.tags else b""


# Reading.


def _command(line: str) -> Command:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise BadCommand(f"no JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadCommand("a command is an object")
    if not value:
        return commands.Pong()
    id = _Fields(value).number("id", _ID_MAX)
    methods = [name for name, given in value.items() if name != "id" and given is not None]
    if len(methods) != 1:
        raise BadCommand("a command has one method")
    (method,) = methods
    if method == "send":
        return commands.Send(_Fields(_params(value, method)).data("data"))
    if not id:
        raise BadCommand("this command needs an id")
    read = _READERS.get(method)
    if read is None:
        if method == "ping":
            raise BadCommand("the server sends the pings")
        return commands.Unknown(id)
    return read(id, _Fields(_params(value, method)))


def _params(value: dict[str, Any], method: str) -> dict[str, Any]:
    params = value[method]
    if not isinstance(params, dict):
        raise BadCommand(f"{method} is an object")
    return params


class _Fields:
    """Reads fields of the right type, or none; what is not asked for is not looked at."""

    __slots__ = ("_fields",)

    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields

    def text(self, name: str) -> str:
        value = self._fields.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise BadCommand(f"{name} is a string")
        return value

    def flag(self, name: str) -> bool:
        value = self._fields.get(name)
        if value is not None and not isinstance(value, bool):
            raise BadCommand(f"{name} is true or false")
        return bool(value)

    def number(self, name: str, most: int, least: int = 0) -> int:
        value = self._fields.get(name)
        if value is None:
            return 0
        if type(value) is not int or not least <= value <= most:
            raise BadCommand(f"{name} is a whole number")
        return value

    def data(self, name: str) -> bytes:
        if name not in self._fields:
            return b""
        try:
            return orjson.dumps(self._fields[name])
        except orjson.JSONEncodeError:  # it reads deeper nesting than it writes
            raise BadCommand(f"{name} is nested too deeply") from None

    def object(self, name: str) -> "dict[str, Any] | None":
        value = self._fields.get(name)
        if value is not None and not isinstance(value, dict):
            raise BadCommand(f"{name} is an object")
        return value

    def position(self) -> Position:
        """What cannot be an epoch of ours becomes one that is not: it matches nothing."""
        epoch, offset = self.text("epoch"), self.number("offset", _UINT64_MAX)
        known = epoch if _EPOCH.fullmatch(epoch) else _NO_EPOCH
        return Position(known, min(offset, _OFFSET_MAX))


def _connect(id: int, fields: _Fields) -> commands.Connect:
    given = fields.object("subs") or {}
    if not all(isinstance(sub, dict) for sub in given.values()):
        raise BadCommand("subs are objects")
    subs = {channel: _Fields(sub) for channel, sub in given.items()}
    since = {channel: sub.position() for channel, sub in subs.items() if sub.flag("recover")}
    name, version = fields.text("name"), fields.text("version")
    return commands.Connect(id, fields.text("token"), fields.data("data"), name, version, since)


def _subscribe(id: int, fields: _Fields) -> commands.Subscribe:
    position = fields.position()
    return commands.Subscribe(
        id,
        fields.text("channel"),
        fields.text("token"),
        fields.data("data"),
        position if fields.flag("recover") else None,
        bool(fields.number("flag", _UINT64_MAX) & _REJECTS_GAP),
        fields.number("type", _ID_MAX),
        fields.text("delta"),
    )


def _history(id: int, fields: _Fields) -> commands.History:
    since = fields.object("since")
    return commands.History(
        id,
        fields.text("channel"),
        fields.number("limit", (1 << 31) - 1, -(1 << 31)),
        None if since is None else _Fields(since).position(),
        fields.flag("reverse"),
    )


_READERS: Mapping[str, Callable[[int, _Fields], Command]] = {
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


# Writing.


def _object(fields: Any) -> dict[str, object]:
    if isinstance(fields, results.Publication) and fields.is_text:
        text = orjson.dumps(fields.data.decode())
        fields = fields._replace(data=text, is_text=False)
    always = _ALWAYS.get(type(fields), _NEVER)
    pairs = zip(fields._fields, fields, strict=True)
    return {name: _value(value) for name, value in pairs if value or name in always}


def _value(value: Any) -> object:
    if isinstance(value, bytes):
        return orjson.Fragment(value)
    if isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {key: _value(each) for key, each in value.items()}
    if hasattr(value, "_fields"):
        return _object(value)
    return [_value(each) for each in value]
