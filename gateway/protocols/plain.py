"""The plain protocol: one channel per socket, one message per text frame.

Made for websocat, ``new WebSocket(…)`` and twenty lines of any language. Three formats say what
a message looks like:

- ``json``: one JSON object on one line;
- ``text``: ``[channel] data`` for a person to read;
- ``raw``: the data alone.

Notices (objects with a ``type`` and no ``data``) exist in ``json`` only, for in the other two a
reader could not tell them from messages. An answer to a refused frame is an object in ``json``
and ``text``; ``raw`` has no room for one.
"""

from enum import StrEnum

import orjson

from gateway.domain.errors import InvalidRequest
from gateway.domain.messages import Message


class Format(StrEnum):
    JSON = "json"
    TEXT = "text"
    RAW = "raw"

    @classmethod
    def parse(cls, text: str) -> "Format":
        try:
            return cls(text)
        except ValueError:
            raise InvalidRequest("format is json, text or raw") from None


def encode_message(format: Format, message: Message) -> bytes:
    """The payload of the text frame that carries the message; the same for every receiver."""
    if format is Format.JSON:
        return encode_json(message)
    payload = payload_of(message.data)
    if format is Format.RAW:
        return payload
    return b"[" + message.channel.encode() + b"] " + payload


def encode_json(message: Message) -> bytes:
    # The data is embedded as it was published: decoding and encoding it again would cost time
    # and could change a number's spelling.
    epoch, offset = message.position
    return b'{"channel":%b,"data":%b,"offset":%d,"epoch":%b,"id":%b,"user":%b,"time":%b%b}' % (
        orjson.dumps(message.channel),
        message.data,
        offset,
        orjson.dumps(epoch),
        orjson.dumps(message.id),
        orjson.dumps(message.user),
        orjson.dumps(round(message.time, 3)),
        b',"tags":%b' % message.tags if message.tags else b"",
    )


def payload_of(data: bytes) -> bytes:
    """A JSON string's text, or any other JSON value as it is written."""
    if data.startswith(b'"'):
        if b"\\" not in data and data.endswith(b'"'):  # nothing is escaped
            return data[1:-1]
        text: str = orjson.loads(data)
        return text.encode()
    return data


def encode_notice(type: str, **fields: object) -> bytes:
    """A notice: ``{"type": …}`` with its fields, never with a ``data`` field."""
    return orjson.dumps({"type": type, **fields})


def decode_frame(format: Format, text: str) -> bytes:
    """Return the data that a client's text frame publishes, as encoded JSON.

    In ``text`` and ``raw`` that is the text itself. In ``json``, a frame that starts with ``{``
    is a JSON object and must be one: ``{"data": …}`` publishes that value, as the REST body
    does, and any other object is published whole. Everything else is published as text.
    Raises `InvalidRequest` for a frame that starts like an object and is none.
    """
    if format is Format.JSON and text.lstrip().startswith("{"):
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise InvalidRequest(f"the frame starts like a JSON object: {error}") from None
        try:
            return orjson.dumps(value["data"] if value.keys() == {"data"} else value)
        except orjson.JSONEncodeError:  # it reads deeper nesting than it writes
            raise InvalidRequest("the frame is nested too deeply") from None
    try:
        return orjson.dumps(text)
    except orjson.JSONEncodeError:
        raise InvalidRequest("the text is not valid UTF-8") from None
