"""What Redis keeps of a channel, and every byte that a gateway must make of it.

The publish script is told with which epoch to begin, and Redis is empty: so positions are known
beforehand, too, and message ``n`` of a channel has the offset ``n + 1``.
"""

import hashlib
from importlib.resources import files

import orjson

from gateway.adapters.redis.channels.envelope import encode_body
from gateway.adapters.redis.keys import Keys
from gateway.bench.stream import RING, command, data_of
from gateway.domain.messages import Publication
from gateway.domain.namespaces import Namespace
from gateway.protocols.frames import text_frame

SCRIPT = files("gateway.adapters.redis.channels").joinpath("publish.lua").read_text()
EPOCH = "bench"
KEPT = Namespace().history_length
BEHIND = KEPT // 2

_SHA = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()
_POSITION_SECONDS = 2_592_000
_IDEMPOTENCY_SECONDS = 300
_USER, _TIME = "bench", 1_790_000_000.125


def store_command(prefix: str, channel: str, number: int) -> bytes:
    """Publish a message as a replica with default settings does: stored and sent in one step."""
    keys = Keys(prefix)
    data = orjson.dumps(data_of(number).decode())
    body = encode_body(Publication(channel, data, _id(number), _USER, _TIME))
    retention = Namespace()
    seconds = (retention.history_seconds, _POSITION_SECONDS, _IDEMPOTENCY_SECONDS)
    words = ["EVALSHA", _SHA, "2", keys.state(channel), keys.stream(channel), keys.topic(channel)]
    words += [EPOCH, str(retention.history_length), *map(str, seconds), "", _id(number), "", ""]
    return command(*words, body)


def store_commands(prefix: str, channel: str) -> list[bytes]:
    return [store_command(prefix, channel, number) for number in range(RING)]


def history_answer(channel: str) -> str:
    """The answer to a question for a filled channel's history."""
    answer = {
        "channel": channel,
        "epoch": EPOCH,
        "offset": KEPT,
        "complete": True,
        "messages": [_message(channel, number) for number in range(KEPT)],
    }
    return orjson.dumps(answer).decode()


def since(behind: int) -> str:
    """The position of a reader who has missed so many of a filled channel's messages."""
    return f"{EPOCH}:{KEPT - behind}"


def missed(channel: str, behind: int) -> bytes:
    """What that reader must get: the frames of what it has missed, and that it has caught up."""
    caught_up = {"type": "caught_up", "channel": channel, "epoch": EPOCH, "offset": KEPT}
    values = [*(_message(channel, number) for number in range(KEPT - behind, KEPT)), caught_up]
    return b"".join(text_frame(orjson.dumps(value)) for value in values)


def _message(channel: str, number: int) -> dict[str, object]:
    return {
        "channel": channel,
        "data": data_of(number).decode(),
        "offset": number + 1,
        "epoch": EPOCH,
        "id": _id(number),
        "user": _USER,
        "time": _TIME,
    }


def _id(number: int) -> str:
    return f"{number % RING:024x}"
