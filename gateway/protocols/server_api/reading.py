"""From a JSON object to a request."""

import base64
import binascii
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import orjson

from gateway.domain.channels import is_pattern
from gateway.domain.messages import Position
from gateway.domain.namespaces import Override
from gateway.protocols.server_api import requests
from gateway.protocols.server_api.requests import BadRequest, NotSupported, Request

_TEXT_MAX = 255
_REASON_BYTES_MAX = 123  # of a close frame
_TAGS_MAX = 8
_TAGS_BYTES_MAX = 2048
_LIST_MAX = 10_000
_NUMBER_MAX = 10**15 - 1  # the same in every JSON reader
_EPOCH = re.compile(r"[A-Za-z0-9_\-]{0,32}")
_NO_EPOCH = "_"

T = TypeVar("T")


def read(method: str, params: object) -> Request:
    """Raises `BadRequest`, `NotSupported`, or `KeyError` for a method that there is not."""
    reader = _READERS[method]
    if not isinstance(params, dict):
        raise BadRequest("a request is a JSON object")
    fields = _Fields(params)
    request = reader(fields)
    fields.check_all_read()
    return request


class _Fields:
    """Gives fields of the right type; null is the same as nothing."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = {name: value for name, value in fields.items() if value is not None}
        self._unread = set(self._fields)

    def check_all_read(self) -> None:
        if self._unread:
            raise BadRequest(f"there is no field {ascii(min(self._unread))[:60]}")

    def _take(self, name: str, kind: type[T], what: str) -> T | None:
        self._unread.discard(name)
        value = self._fields.get(name)
        if value is None or type(value) is kind:
            return value
        raise BadRequest(f"{name} is {what}")

    def text(self, name: str, *, is_needed: bool = False, length_max: int = _TEXT_MAX) -> str:
        value = self._take(name, str, "a text")
        if value is None:
            if is_needed:
                raise BadRequest(f"{name} is needed")
            return ""
        if len(value) > length_max:
            raise BadRequest(f"{name} has at most {length_max} characters")
        return value

    def entries(self, name: str) -> list[Any]:
        values = self._take(name, list, "a list") or []
        if len(values) > _LIST_MAX:
            raise BadRequest(f"{name} has at most {_LIST_MAX} entries")
        return values

    def texts(self, name: str) -> list[str]:
        values = self.entries(name)
        if not all(isinstance(value, str) for value in values):
            raise BadRequest(f"{name} is a list of texts")
        return values

    def flag(self, name: str) -> bool:
        return bool(self._take(name, bool, "true or false"))

    def number(self, name: str, least: int = 0, most: int = _NUMBER_MAX) -> int:
        value = self._take(name, int, "a whole number") or 0
        if not least <= value <= most:
            raise BadRequest(f"{name} is between {least} and {most}")
        return value

    def time(self, name: str) -> int:
        """In seconds since 1970, and yet to come; 0 where it is not given."""
        value = self.number(name)
        if value and value <= time.time():
            raise BadRequest(f"{name} is a time to come, in seconds since 1970")
        return value

    def object(self, name: str) -> "_Fields | None":
        value = self._take(name, dict, "an object")
        return None if value is None else _Fields(value)

    def json(self, name: str) -> bytes:
        """Any JSON value, or one in Base64 under the same name with b64 in front."""
        self._unread.discard(name)
        encoded = self.text("b64" + name, length_max=1 << 30)
        if encoded and name in self._fields:
            # The libraries send null or "" for the one that they do not mean.
            if self._fields[name] not in ("", {}):
                raise BadRequest(f"{name} and b64{name} exclude each other")
        elif name in self._fields:
            return _dumps(name, self._fields[name])
        if not encoded:
            return b""
        try:
            return _dumps(f"b64{name}", orjson.loads(base64.b64decode(encoded, validate=True)))
        except (binascii.Error, ValueError):
            raise BadRequest(f"b64{name} is JSON in Base64") from None

    def tags(self) -> bytes:
        tags = self._take("tags", dict, "an object of texts") or {}
        if not all(isinstance(value, str) for value in tags.values()):
            raise BadRequest("tags is an object of texts")
        encoded = _dumps("tags", tags)
        if len(tags) > _TAGS_MAX or len(encoded) > _TAGS_BYTES_MAX:
            raise BadRequest(f"there are at most {_TAGS_MAX} tags, {_TAGS_BYTES_MAX} bytes in all")
        return encoded if tags else b""

    def position(self, name: str) -> Position | None:
        """What cannot be an epoch of ours becomes one that is not: it matches nothing."""
        fields = self.object(name)
        if fields is None:
            return None
        epoch, offset = fields.text("epoch"), fields.number("offset")
        fields.check_all_read()
        return Position(epoch if _EPOCH.fullmatch(epoch) else _NO_EPOCH, offset)

    def refuse(self, *names: str) -> None:
        """What this server does not do; empty values ask for nothing."""
        for name in names:
            self._unread.discard(name)
            if self._fields.get(name):
                raise NotSupported(f"{name} is not supported")


def _dumps(name: str, value: object) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:  # it reads deeper nesting than it writes
        raise BadRequest(f"{name} is nested too deeply") from None


def _channel(fields: _Fields) -> str:
    return fields.text("channel", is_needed=True)


def _content(fields: _Fields) -> requests.Content:
    fields.flag("delta")  # who gets deltas is the subscribers' choice, and none is forced on them
    fields.refuse("version", "version_epoch")
    data = fields.json("data")
    if not data:
        raise BadRequest("data is needed")
    is_kept = not fields.flag("skip_history")
    return requests.Content(data, is_kept, fields.tags(), fields.text("idempotency_key"))


def _broadcast(fields: _Fields) -> requests.Broadcast:
    channels = fields.texts("channels")
    if not channels:
        raise BadRequest("channels is needed")
    return requests.Broadcast(channels, _content(fields))


def _target(fields: _Fields) -> requests.Target:
    user = fields.text("user", is_needed=True)
    return requests.Target(user, fields.text("client"), fields.text("session"))


def _subscribe(fields: _Fields) -> requests.Subscribe:
    return requests.Subscribe(
        _target(fields),
        _channel(fields),
        fields.json("info"),
        fields.json("data"),
        fields.time("expire_at"),
        fields.position("recover_since"),
        _override(fields),
    )


def _override(fields: _Fields) -> Override:
    given = fields.object("override") or _Fields({})
    values: dict[str, bool] = {}
    for name in Override._fields:
        if (option := given.object(name)) is not None:
            values[name] = option.flag("value")
            option.check_all_read()
    given.check_all_read()
    return Override(**values)


def _disconnect(fields: _Fields) -> requests.Disconnect:
    why = fields.object("disconnect") or _Fields({})
    code, reason = why.number("code", 0, 4999), why.text("reason")
    why.check_all_read()
    if code and code < 3000:
        raise BadRequest("a disconnect code is between 3000 and 4999")
    if len(reason.encode(errors="replace")) > _REASON_BYTES_MAX:
        raise BadRequest(f"a reason has at most {_REASON_BYTES_MAX} bytes")
    return requests.Disconnect(_target(fields), fields.texts("whitelist"), code, reason)


def _refresh(fields: _Fields) -> requests.Refresh:
    is_expired, expire_at = fields.flag("expired"), fields.number("expire_at")
    if expire_at and expire_at <= time.time():
        # An end that is over already: to the libraries that call this it is no mistake.
        is_expired, expire_at = True, 0
    return requests.Refresh(_target(fields), is_expired, expire_at, fields.json("info"))


def _history(fields: _Fields) -> requests.History:
    limit = fields.number("limit", -1, 1 << 31)
    since, is_reverse = fields.position("since"), fields.flag("reverse")
    return requests.History(_channel(fields), limit, since, is_reverse)


def _channels(fields: _Fields) -> requests.Channels:
    pattern = fields.text("pattern") or "*"
    if not is_pattern(pattern):
        raise BadRequest("a pattern is a channel name in which * stands for anything")
    return requests.Channels(pattern)


def _rpc(fields: _Fields) -> requests.Rpc:
    fields.text("method")
    fields.json("params")
    return requests.Rpc()


def _batch(fields: _Fields) -> requests.Batch:
    commands = fields.entries("commands")
    if not commands:
        raise BadRequest("the batch is empty")
    pairs: list[tuple[str, object]] = []
    for command in commands:
        if not isinstance(command, dict) or len(command) != 1:
            raise BadRequest('a command of a batch is {"METHOD": {…}}')
        pairs += command.items()
    return requests.Batch(pairs, fields.flag("parallel"))


_READERS: Mapping[str, Callable[[_Fields], Request]] = {
    "publish": lambda fields: requests.Publish(_channel(fields), _content(fields)),
    "broadcast": _broadcast,
    "subscribe": _subscribe,
    "unsubscribe": lambda fields: requests.Unsubscribe(_target(fields), _channel(fields)),
    "disconnect": _disconnect,
    "refresh": _refresh,
    "presence": lambda fields: requests.Presence(_channel(fields)),
    "presence_stats": lambda fields: requests.PresenceStats(_channel(fields)),
    "history": _history,
    "history_remove": lambda fields: requests.HistoryRemove(_channel(fields)),
    "channels": _channels,
    "info": lambda fields: requests.Info(),
    "rpc": _rpc,
    "batch": _batch,
}

METHODS = frozenset(_READERS)
