"""The Protobuf spelling: messages with their length in front, one or more in a binary frame.

Data is JSON here, too, and travels as the bytes of it. Needs the extra ``gateway[protobuf]``.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Self

import orjson
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from gateway.domain.messages import Message
from gateway.protocols.centrifuge import codes
from gateway.protocols.centrifuge.codec import Codec
from gateway.protocols.centrifuge.codes import Error
from gateway.protocols.centrifuge.commands import (
    BadCommand,
    Command,
    Pong,
    Said,
    Unknown,
    Unusable,
)
from gateway.protocols.centrifuge.reading import Fields, command_of
from gateway.protocols.centrifuge.results import NAMES, Push, Result, publication_of
from gateway.protocols.centrifuge.schema import Command as CommandMessage
from gateway.protocols.centrifuge.schema import EmulationRequest, Reply

_LENGTH_BITS_MAX = 32
_BREAK = re.compile(rb"[\r\n]")
_NOT_JSON = codes.BAD_REQUEST._replace(message="bad request: data has to be JSON")


class ProtobufCodec(Codec):
    def decode(self, payload: str | bytes) -> list[Command]:
        if isinstance(payload, str):
            raise BadCommand("Protobuf goes in binary frames")
        commands = [_command(each) for each in _split(payload)]
        if not commands:
            raise BadCommand("an empty frame")
        return commands

    def said(self, body: bytes) -> Said:
        try:
            said = EmulationRequest.FromString(body)
        except DecodeError:
            raise BadCommand("the body is no EmulationRequest") from None
        return Said(said.session, said.node, said.data)

    def reply(self, id: int, answer: Result | Error) -> bytes:
        reply = Reply(id=id)
        _fill(getattr(reply, NAMES[type(answer)]), answer)
        return _delimited(reply)

    def push(self, channel: str, push: Push) -> bytes:
        reply = Reply()
        reply.push.channel = channel
        _fill(getattr(reply.push, NAMES[type(push)]), push)
        return _delimited(reply)

    def publications(self, channel: str, messages: Sequence[Message]) -> bytes:
        return _pubs(channel, messages, [None] * len(messages))

    def deltas(
        self, channel: str, messages: Sequence[Message], patches: Sequence[bytes | None]
    ) -> bytes:
        return _pubs(channel, messages, patches)

    def joined(self, payloads: Sequence[bytes]) -> bytes:
        return b"".join(payloads)

    @property
    def ping(self) -> bytes:
        return b"\0"  # nothing, in no bytes


PROTOBUF: Final = ProtobufCodec()


# Reading.


def _split(payload: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(payload):
        size, at = _length(payload, at)
        if size > len(payload) - at:
            raise BadCommand("a command is longer than what there is of it")
        yield payload[at : at + size]
        at += size


def _length(payload: bytes, at: int) -> tuple[int, int]:
    """The number that begins there, and where it ends: seven bits a byte, the lowest ones first."""
    value = 0
    for shift in range(0, _LENGTH_BITS_MAX, 7):
        if at == len(payload):
            break
        byte = payload[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise BadCommand("a length does not come to its end")


def _command(encoded: bytes) -> Command:
    if not encoded:
        return Pong()
    try:
        message = CommandMessage.FromString(encoded)
    except DecodeError:
        raise BadCommand("no Protobuf, or no command") from None
    methods = [(field.name, value) for field, value in message.ListFields() if field.name != "id"]
    if not methods and message.id and len(UnknownFieldSet(message)) == 1:
        return Unknown(message.id)
    if len(methods) != 1:
        raise BadCommand("a command has one method")
    ((method, params),) = methods
    try:
        return command_of(message.id, method, MessageFields(params))
    except _NotJson:
        if not message.id:
            raise BadCommand("data has to be JSON") from None
        return Unusable(message.id, _NOT_JSON)


class _NotJson(Exception):
    """Whoever published it has to learn of it, and may go on."""


class MessageFields(Fields):
    """The library has seen to the types; a field of a later version is not among them."""

    __slots__ = ("_message",)

    def __init__(self, message: Any) -> None:
        self._message = message

    def text(self, name: str) -> str:
        return str(getattr(self._message, name))

    def flag(self, name: str) -> bool:
        return bool(getattr(self._message, name, False))

    def number(self, name: str, most: int, least: int = 0) -> int:
        value = int(getattr(self._message, name))
        if not least <= value <= most:
            raise BadCommand(f"{name} is out of range")
        return value

    def data(self, name: str) -> bytes:
        encoded: bytes = getattr(self._message, name)
        if not encoded:
            return b""
        try:
            line = orjson.dumps(orjson.loads(encoded))
        except (orjson.JSONDecodeError, orjson.JSONEncodeError):
            raise _NotJson from None
        # It arrives in the bytes in which it was published, which some compare or sign. Others
        # get it in a line of JSON, so what has line breaks is written anew.
        return line if _BREAK.search(encoded) else encoded.strip()

    def object(self, name: str) -> Self | None:
        message = self._message
        return type(self)(getattr(message, name)) if message.HasField(name) else None

    def objects(self, name: str) -> Mapping[str, Self]:
        return {key: type(self)(each) for key, each in getattr(self._message, name).items()}


# Writing.


def _pubs(channel: str, messages: Sequence[Message], patches: Iterable[bytes | None]) -> bytes:
    encoded = []
    for message, patch in zip(messages, patches, strict=True):
        reply = Reply()
        reply.push.channel = channel
        pub = reply.push.pub
        _fill(pub, publication_of(message))
        if message.position.offset == 1:
            # Who joined before a channel had any message could not be told its epoch.
            pub.epoch = message.position.epoch
        if patch is not None:
            pub.data, pub.delta = patch, True
        encoded.append(_delimited(reply))
    return b"".join(encoded)


def _delimited(message: Any) -> bytes:
    encoded: bytes = message.SerializeToString()
    length, rest = bytearray(), len(encoded)
    while rest > 0x7F:
        length.append(rest & 0x7F | 0x80)
        rest >>= 7
    length.append(rest)
    return bytes(length) + encoded


def _fill(message: Any, fields: Any) -> None:
    """Set what is not empty; the fields go by the names of those of results and pushes."""
    message.SetInParent()
    for name, value in zip(fields._fields, fields, strict=True):
        if value and name == "patch":
            message.data, message.delta = value, True
            continue
        if not value or name == "is_text":  # bytes are bytes, be they a difference or not
            continue
        if name == "tags":
            message.tags.update(orjson.loads(value))
        elif isinstance(value, bytes | str | int):
            setattr(message, name, value)
        elif isinstance(value, Mapping):
            entries = getattr(message, name)
            for key, each in value.items():
                _fill(entries[key], each)
        elif hasattr(value, "_fields"):
            _fill(getattr(message, name), value)
        else:
            for each in value:
                _fill(getattr(message, name).add(), each)
