"""What one replica tells the others of a message, when it is not what it should be."""

import orjson
import pytest

from gateway.adapters.redis.channels.envelope import decode_payload, encode_body
from gateway.domain.messages import Message, Publication

PLAIN = Publication("room", b"1", "c.id", "alice", 1.0)


def carried(publication: Publication) -> Message:
    return decode_payload("room", b"g1:1:e:" + encode_body(publication), 100)


def test_an_info_as_deep_as_can_be_written_costs_no_message() -> None:
    depth = next(depth for depth in range(1, 1000) if not _can_be_written(depth + 1))
    message = carried(PLAIN._replace(info=b'{"conn_info":%b}' % _nested(depth)))
    assert (message.data, message.info) == (b"1", b"")


def _nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def _can_be_written(depth: int) -> bool:
    try:
        orjson.dumps(orjson.loads(_nested(depth)))
    except orjson.JSONEncodeError:
        return False
    return True


def test_an_info_that_is_no_object_is_none_of_ours() -> None:
    with pytest.raises(ValueError, match="wrong info"):
        carried(PLAIN._replace(info=b"[1]"))
