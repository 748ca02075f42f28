"""The JSON spelling for clients that speak once: to them everything is a push, and stands bare.

What they say is the fields of `Connect`, without an id. The answer is the first push.
"""

from typing import Final

import orjson

from gateway.protocols.centrifuge.codes import Error
from gateway.protocols.centrifuge.commands import BadCommand, Command
from gateway.protocols.centrifuge.json import JsonCodec
from gateway.protocols.centrifuge.results import Result


class OneWayCodec(JsonCodec):
    _before, _behind = b"", b""

    def decode(self, payload: str | bytes) -> list[Command]:
        """An empty payload asks for what an empty object asks for."""
        if isinstance(payload, bytes):
            raise BadCommand("JSON goes in text frames")
        try:
            said = orjson.loads(payload) if payload.strip() else {}
            command = orjson.dumps({"id": 1, "connect": said})
        except (orjson.JSONDecodeError, orjson.JSONEncodeError) as error:
            raise BadCommand(f"no JSON: {error}") from None
        return super().decode(command.decode())

    def reply(self, id: int, answer: Result | Error) -> bytes:
        return orjson.dumps(self._named(answer))


ONE_WAY_JSON: Final = OneWayCodec()
