"""The JSON spelling: one object per line, and one or more lines in a text frame."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Self

import orjson

from gateway.domain.messages import Message
from gateway.protocols.centrifuge import results
from gateway.protocols.centrifuge.codec import Codec
from gateway.protocols.centrifuge.codes import Disconnect, Error, Unsubscribe
from gateway.protocols.centrifuge.commands import BadCommand, Command, Pong, Said
from gateway.protocols.centrifuge.reading import ID_MAX, Fields, command_of
from gateway.protocols.centrifuge.results import NAMES, Push, Result

# Where a reader expects a field even if it is empty; everything else that is empty is left out.
ALWAYS: Final[Mapping[type, frozenset[str]]] = {
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
    """``_before`` and ``_behind`` stand around every push."""

    _before, _behind = b'{"push":', b"}"

    def decode(self, payload: str | bytes) -> list[Command]:
        if isinstance(payload, bytes):
            raise BadCommand("JSON goes in text frames")
        commands = [_command(line) for line in payload.split("\n") if line and not line.isspace()]
        if not commands:
            raise BadCommand("an empty frame")
        return commands

    def said(self, body: bytes) -> Said:
        refusal = BadCommand('the body is {"session": …, "node": …, "data": …}')
        try:
            given = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise refusal from None
        if not isinstance(given, dict):
            raise refusal
        session, node, data = (given.get(name) for name in ("session", "node", "data"))
        if not (isinstance(session, str) and isinstance(node, str) and isinstance(data, str)):
            raise refusal
        return Said(session, node, data)

    def reply(self, id: int, answer: Result | Error) -> bytes:
        return orjson.dumps({"id": id, **self._named(answer)})

    def push(self, channel: str, push: Push) -> bytes:
        about = {"channel": channel} if channel else {}
        return self._before + orjson.dumps({**about, **self._named(push)}) + self._behind

    def publications(self, channel: str, messages: Sequence[Message]) -> bytes:
        # The data is embedded as it was published; it is made of one line.
        return self._pubs(channel, messages, (message.data for message in messages))

    def deltas(
        self, channel: str, messages: Sequence[Message], patches: Sequence[bytes | None]
    ) -> bytes:
        pairs = zip(messages, patches, strict=True)
        texts = (_text(message.data, patch) for message, patch in pairs)
        return self._pubs(channel, messages, texts)

    def joined(self, payloads: Sequence[bytes]) -> bytes:
        return b"\n".join(payloads)

    @property
    def ping(self) -> bytes:
        return b"{}"

    def _named(self, said: Result | Error | Push) -> dict[str, object]:
        return {NAMES[type(said)]: _object(said)}

    def _pubs(self, channel: str, messages: Sequence[Message], data: Iterable[bytes]) -> bytes:
        head = b'%b{"channel":%b,"pub":{"data":' % (self._before, orjson.dumps(channel))
        tail = b',"offset":%d%b%b%b}}' + self._behind
        return b"\n".join(
            head + each + tail % (message.position.offset, *_rest(message))
            for message, each in zip(messages, data, strict=True)
        )


JSON: Final = JsonCodec()


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
        return Pong()
    fields = JsonFields(value)
    methods = [name for name, given in value.items() if name != "id" and given is not None]
    if len(methods) != 1:
        raise BadCommand("a command has one method")
    (method,) = methods
    params = fields.object(method)
    assert params is not None
    return command_of(fields.number("id", ID_MAX), method, params)


class JsonFields(Fields):
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

    def object(self, name: str) -> Self | None:
        value = self._fields.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise BadCommand(f"{name} is an object")
        return type(self)(value)

    def objects(self, name: str) -> Mapping[str, Self]:
        outer = self.object(name)
        if outer is None:
            return {}
        inner = {key: outer.object(key) for key in outer._fields}
        found = {key: each for key, each in inner.items() if each is not None}
        if len(found) != len(inner):
            raise BadCommand(f"{name} are objects")
        return found


# Writing.


def _object(fields: Any) -> dict[str, object]:
    if isinstance(fields, results.Publication) and fields.is_text:
        # A difference brings its mark along.
        text = _text(fields.data, fields.patch or None)
        fields = fields._replace(data=text, is_text=False, patch=b"")
    always = ALWAYS.get(type(fields), _NEVER)
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
