"""What a message looks like inside Redis.

The body is what one replica says to the others, and what the stream keeps: a header as a JSON
object, a line feed, and the published JSON value as it was given. On the pub/sub channel the
publish script puts ``g1:<offset>:<epoch>:`` in front of it. ``g1`` is the version of this form.
"""

import hashlib
from typing import Any

import orjson

from gateway.domain.messages import Message, Position, Publication, parse_trace

_VERSION = b"g1"
_HEAD_BYTES_MAX = 4096


def encode_body(publication: Publication) -> bytes:
    head: dict[str, Any] = {
        "id": publication.id,
        "user": publication.user,
        "time": publication.time,
    }
    if publication.tags:
        head["tags"] = orjson.Fragment(publication.tags)
    if publication.info:
        head["info"] = orjson.Fragment(publication.info)
    if publication.trace:
        head["trace"] = publication.trace
    return orjson.dumps(head) + b"\n" + publication.data


def decode_payload(channel: str, payload: bytes, data_bytes_max: int) -> Message:
    """Read what came from pub/sub; raises `ValueError` for anything that we did not write.

    Redis does not say who published, so everything is checked: a foreign or a broken message
    must not reach a socket, and must not stop the reader.
    """
    version, offset, epoch, body = payload.split(b":", 3)
    if version != _VERSION or not offset.isdigit():
        raise ValueError("not one of ours")
    # As `Position` has it: it goes into the lines of event streams, and clients come back to it.
    if len(offset) > 15 or len(epoch) > 32 or not epoch.isalnum():
        raise ValueError("not a position")
    return decode_body(channel, body, Position(epoch.decode(), int(offset)), data_bytes_max)


def decode_body(channel: str, body: bytes, position: Position, data_bytes_max: int) -> Message:
    """Read what a stream keeps, with the same care."""
    if len(body) > data_bytes_max + _HEAD_BYTES_MAX:
        raise ValueError("too big")
    head, separator, data = body.partition(b"\n")
    fields = orjson.loads(head)
    if not separator or b"\n" in data or not isinstance(fields, dict):
        raise ValueError("no header")
    id, user, time = fields.get("id"), fields.get("user"), fields.get("time")
    if not isinstance(id, str) or not isinstance(user, str) or type(time) is not float:
        raise ValueError("wrong header")
    orjson.loads(data)  # what is not JSON would break the frame that it is embedded in
    tags = _tags(fields["tags"]) if "tags" in fields else b""
    trace = parse_trace(fields["trace"]) if "trace" in fields else ""
    info = _info(fields["info"]) if "info" in fields else b""
    return Message(channel, data, id, user, time, position, tags, trace, info)


def _tags(tags: Any) -> bytes:
    if not isinstance(tags, dict) or not all(isinstance(value, str) for value in tags.values()):
        raise ValueError("wrong tags")
    return orjson.dumps(tags)


def _info(info: Any) -> bytes:
    if not isinstance(info, dict):
        raise ValueError("wrong info")
    try:
        return orjson.dumps(info)
    except orjson.JSONEncodeError:  # one level deeper than it could be written; the message counts
        return b""


def fingerprint(publication: Publication) -> str:
    """Tells whether a message that comes with a used idempotency key is the same message."""
    said = publication.user.encode() + b"\n" + publication.data + publication.tags
    return hashlib.sha256(said).hexdigest()[:32]
