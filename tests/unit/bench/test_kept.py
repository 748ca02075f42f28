"""What is stored is what a replica stores, and what is expected of it is what a gateway writes."""

import hashlib
from typing import Any, cast

import orjson

from gateway.adapters.redis.channels.envelope import decode_body
from gateway.adapters.redis.channels.publisher import Publisher
from gateway.adapters.redis.keys import Keys
from gateway.adapters.redis.places.pipe import Pipe
from gateway.bench.kept import (
    BEHIND,
    EPOCH,
    KEPT,
    SCRIPT,
    history_answer,
    missed,
    since,
    store_command,
    store_commands,
)
from gateway.bench.stream import RING, Stream, command
from gateway.domain.messages import Message, Position, Publication
from gateway.domain.namespaces import Namespace, Namespaces
from gateway.protocols.plain import Format, encode_json
from gateway.settings import Settings
from gateway.sockets.wires import FRAME_WIRES


class RecordingPipe:
    def __init__(self) -> None:
        self.commands: list[tuple[Any, ...]] = []

    async def open(self) -> str:
        return ""

    async def execute(self, commands: list[tuple[Any, ...]], made_for: str) -> list[Any]:
        self.commands += commands
        return [[0, b"e", b"1"]] * len(commands)

    def close(self) -> None:
        pass


def stored(number: int) -> Message:
    *_, body = _words(store_command("gw", "kept", number))
    return decode_body("kept", body, Position(EPOCH, number + 1), 65_536)


async def test_a_message_is_stored_as_a_replica_with_default_settings_stores_it() -> None:
    defaults = Settings.model_fields
    pipe = RecordingPipe()
    publisher = Publisher(
        cast(Pipe, pipe),
        Keys("gw"),
        Namespaces(
            Namespace(
                history_length=defaults["history_messages"].default,
                history_seconds=defaults["history_seconds"].default,
            ),
            {},
        ),
        position_seconds=defaults["position_seconds"].default,
        idempotency_seconds=defaults["idempotency_seconds"].default,
    )
    message = stored(7)
    publication = Publication("kept", message.data, message.id, message.user, message.time)

    await publisher._send([publication])

    (sent,) = pipe.commands
    words = [word if isinstance(word, bytes) else str(word).encode() for word in sent]
    words[6] = EPOCH.encode()  # a replica makes one up
    assert command(*words) == store_command("gw", "kept", 7)


def test_all_commands_have_one_size_and_name_the_script() -> None:
    commands = store_commands("gw", "kept")

    assert Stream(commands).frame_bytes == len(commands[0])
    assert len(commands) == RING
    assert hashlib.sha1(SCRIPT.encode()).hexdigest().encode() in commands[0]


def test_an_answer_has_every_kept_message_at_its_position() -> None:
    answer = history_answer("kept")

    messages = b",".join(encode_json(stored(number)) for number in range(KEPT))
    head = {"channel": "kept", "epoch": EPOCH, "offset": KEPT, "complete": True}
    assert answer.encode() == orjson.dumps(head)[:-1] + b',"messages":[' + messages + b"]}"


def test_what_was_missed_is_what_a_gateway_writes_to_a_socket() -> None:
    wire = FRAME_WIRES[Format.JSON]
    position = Position.parse(since(BEHIND))

    frames = wire.encode([stored(number) for number in range(position.offset, KEPT)])

    assert position == (EPOCH, KEPT - BEHIND)
    assert missed("kept", BEHIND) == frames + wire.caught_up("kept", Position(EPOCH, KEPT))


def _words(command: bytes) -> list[bytes]:
    words: list[bytes] = []
    _, _, rest = command.partition(b"\r\n")
    while rest:
        size, _, rest = rest.removeprefix(b"$").partition(b"\r\n")
        words.append(rest[: int(size)])
        rest = rest[int(size) + 2 :]
    return words
