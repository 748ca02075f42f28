"""What is said in the Centrifuge client protocol in JSON, as its models have it."""

import re
from collections.abc import Mapping
from typing import get_args

from gateway.protocols.centrifuge import codes, results
from gateway.protocols.centrifuge.codes import Disconnect, Error
from gateway.protocols.centrifuge.json import ALWAYS
from gateway.protocols.centrifuge.reading import ID_MAX, READERS, command_of
from gateway.protocols.centrifuge.results import NAMES
from gateway.sockets.asyncapi.schemas import TAGS, TEXT, Asked, Messages, Models, Schema, object_of

_RESULTS: Mapping[str, type] = {NAMES[model]: model for model in get_args(results.Result)}
_PUSHES: Mapping[str, type] = {NAMES[model]: model for model in get_args(results.Push)}
_ABOUT_NO_CHANNEL = {results.ConnectResult, results.Refreshed, Disconnect}
_IDS: Schema = {"type": "integer", "minimum": 1, "maximum": ID_MAX}
_ERRORS = {each.code: each.message for each in vars(codes).values() if isinstance(each, Error)}

_MODELS = Models(
    ALWAYS,
    {
        results.Publication: {
            "tags": TAGS,
            "is_text": None,
            "patch": None,
            "delta": {"const": True},
        },
        Error: {
            "code": {
                "enum": sorted(_ERRORS),
                "description": "; ".join(f"{code}: {text}" for code, text in _ERRORS.items()),
            }
        },
    },
)


def _message(summary: str, payload: Schema) -> Schema:
    return {"summary": summary, "contentType": "application/json", "payload": payload}


def _fields_of(method: str) -> Schema:
    asked = Asked()
    command_of(1, method, asked)
    return asked.schema


def _command(method: str) -> Schema:
    payload = object_of({"id": _IDS, method: _fields_of(method)})
    return _message(f"The command `{method}`; more than these fields are not looked at.", payload)


def _push(name: str, model: type) -> Schema:
    return _message(f"The push `{name}`.", object_of({"push": _bare(name, model)}))


def _bare(name: str, model: type) -> Schema:
    channel = {} if model in _ABOUT_NO_CHANNEL else {"channel": TEXT}
    return object_of({**channel, name: _MODELS.of(model)})


def _id(*words: str) -> str:
    """Names as the generators of code like them: presence_stats, Reply → presenceStatsReply."""
    return re.sub("_(.)", lambda found: found[1].upper(), "".join(words))


def command_id(method: str) -> str:
    return _id(method, "Command")


def reply_id(method: str) -> str:
    return _id(method, "Reply")


METHODS = tuple(method for method in READERS if method in _RESULTS)

COMMANDS: Messages = {command_id(method): _command(method) for method in METHODS}

PONG: Messages = {
    "pong": _message("The answer to a ping, where `pong` was promised.", object_of({})),
}

PING: Messages = {
    "ping": _message("Sent every `ping` seconds of the answer to `connect`.", object_of({})),
}

ERROR: Messages = {
    "errorReply": _message(
        "A command was refused.", object_of({"id": _IDS, "error": _MODELS.of(Error)})
    ),
}

REPLIES: Messages = {
    reply_id(method): _message(
        f"The answer to `{method}`.", object_of({"id": _IDS, method: _MODELS.of(model)})
    )
    for method, model in _RESULTS.items()
}

END: Messages = {_id("disconnect", "Push"): _push("disconnect", Disconnect)}
"""In place of a close frame, where there is no socket."""

PUSHES: Messages = {
    _id(name, "Push"): _push(name, model)
    for name, model in _PUSHES.items()
    if model is not Disconnect
}

BARE: Messages = {
    _id("bare_", name): _message(f"`{name}`, for a one-way client.", _bare(name, model))
    for name, model in {"connect": results.ConnectResult, **_PUSHES}.items()
}

WORDS: Messages = {
    "oneWayConnect": _message("All that a one-way client says, once.", _fields_of("connect")),
}

SCHEMAS: Mapping[str, Schema] = _MODELS.schemas

CLOSE_CODES: Mapping[int, str] = {
    each.code: each.reason for each in vars(codes).values() if isinstance(each, Disconnect)
}
