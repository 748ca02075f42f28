"""What is said on the plain endpoint and in event streams; docs/channels.md tells it in words.

``x-formats`` are the formats of a socket or stream in which a message comes.
"""

from collections.abc import Mapping

from gateway.sockets.asyncapi.schemas import (
    ANYTHING,
    COUNT,
    TAGS,
    TEXT,
    Messages,
    Schema,
    object_of,
)
from gateway.sockets.closing import INTERNAL, OVERLOADED, POLICY, RESTART, TOO_BIG
from gateway.sockets.reader import INVALID_DATA

_EPOCH: Schema = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,32}$"}
_POSITION: Schema = {
    "type": "string",
    "pattern": "^(([A-Za-z0-9_-]{1,32}):(0|[1-9][0-9]{0,14})|:0)$",
    "description": "EPOCH:OFFSET; `:0` is the beginning.",
}
_MESSAGE = {
    "channel": TEXT,
    "data": ANYTHING,
    "offset": {"type": "integer", "minimum": 1},
    "epoch": _EPOCH,
    "id": TEXT,
    "user": TEXT,
    "time": {"type": "number", "description": "Seconds since 1970."},
    "tags": TAGS,
}
_EXAMPLE = {
    "channel": "noticias",
    "data": "Hola canal",
    "offset": 7,
    "epoch": "5f3c9a2e",
    "id": "9b6c1f0e4d2a7b8800000000",
    "user": "alice",
    "time": 1790000000.123,
}


def _json(summary: str, formats: str, payload: Schema, **example: object) -> Schema:
    return {
        "summary": summary,
        "contentType": "application/json",
        "payload": payload,
        "examples": [{"payload": example}],
        "x-formats": formats.split(),
    }


def _text(summary: str, formats: str, payload: Schema, example: str) -> Schema:
    return {
        "summary": summary,
        "contentType": "text/plain",
        "payload": payload,
        "examples": [{"payload": example}],
        "x-formats": formats.split(),
    }


def _notice(
    type: str, summary: str, formats: str, about: Mapping[str, Schema], **example: object
) -> Schema:
    payload = object_of({"type": {"const": type}, **about})
    return _json(summary, formats, payload, type=type, **example)


def _about_channel(
    type: str, summary: str, about: Mapping[str, Schema], **example: object
) -> Schema:
    about = {"channel": TEXT, **about}
    return _notice(type, summary, "json", about, channel="noticias", **example)


MESSAGE: Messages = {
    "message": _json(
        "A message, with its position.",
        "json",
        object_of(_MESSAGE, _MESSAGE.keys() - {"tags"}),
        **_EXAMPLE,
    ),
}

NOTICES: Messages = {
    "caughtUp": _about_channel(
        "caught_up",
        "What was missed is told; what follows is live.",
        {"epoch": {"type": "string"}, "offset": COUNT},
        epoch="5f3c9a2e",
        offset=7,
    ),
    "degraded": _about_channel(
        "degraded",
        "This replica hears nothing of the channel from Redis; messages are late.",
        {"reason": TEXT},
        reason="messages are late until Redis is back",
    ),
    "restored": _about_channel(
        "restored", "It hears it again; what was missed came before this, or as a gap.", {}
    ),
    "gap": _about_channel(
        "gap",
        "What lies between the two positions is lost.",
        {
            "reason": {"enum": ["history_lost", "epoch_changed"]},
            "since": _POSITION,
            "next": _POSITION,
        },
        reason="history_lost",
        since="5f3c9a2e:3",
        next="5f3c9a2e:7",
    ),
    "dropped": _about_channel(
        "gap",
        "So many messages were left out here, for the client read too slowly.",
        {"reason": {"const": "slow_consumer"}, "dropped": {"type": "integer", "minimum": 1}},
        reason="slow_consumer",
        dropped=12,
    ),
    "userJoined": _about_channel(
        "user_joined", "A user has come (`join_leave`).", {"user": TEXT}, user="bob"
    ),
    "userLeft": _about_channel(
        "user_left", "A user has gone (`join_leave`).", {"user": TEXT}, user="bob"
    ),
    "expires": _about_channel(
        "expires",
        "The token ends then, and the connection with it.",
        {"expires_at": COUNT},
        expires_at=1790000000,
    ),
}
REFUSAL: Messages = {
    "refused": _notice(
        "error",
        "A frame was not published; in `raw` the socket is closed instead.",
        "json text",
        {"error": TEXT, "detail": TEXT},
        error="denied",
        detail="role: publishing needs one of the roles admin, publisher",
    ),
}

TEXTS: Messages = {
    "textMessage": _text(
        "A message for a person to read.",
        "text",
        {"type": "string", "pattern": r"^\[[A-Za-z0-9_\-.:@~#$]+\] "},
        "[noticias] Hola canal",
    ),
    "rawMessage": _text(
        "The data alone: the text of a JSON string, or any other JSON as it is.",
        "raw",
        TEXT,
        "Hola canal",
    ),
}

END: Messages = {
    "end": _notice(
        "end",
        "The stream ends, for this reason; before it, `retry` may say when to come back.",
        "json",
        {"error": TEXT, "detail": TEXT},
        error="invalid_token",
        detail="the token has expired",
    ),
}

PUBLISHED: Messages = {
    "publishData": _json(
        "Publish the value in `data`.",
        "json",
        object_of({"data": ANYTHING}),
        data={"text": "Hola canal"},
    ),
    "publishText": _text(
        "Publish this text. In `json` a frame that begins with `{` has to be a JSON object, and "
        "one without a lone `data` is published whole.",
        "json text raw",
        TEXT,
        "Hola canal",
    ),
}

PARAMETERS: Mapping[str, Schema] = {
    "format": {"enum": ["json", "text", "raw"], "default": "json"},
    "since": _POSITION | {"description": "EPOCH:OFFSET: first what came after this position."},
    "history": {
        "type": "integer",
        "minimum": 1,
        "description": "First so many of the newest messages.",
    },
    "token": TEXT | {"description": "The access token, where no header can be set."},
    "ticket": TEXT | {"description": "What `POST /ticket` gave; it opens one connection."},
}

CLOSE_CODES: Mapping[int, str] = {
    1002: "A frame breaks the rules of WebSocket.",
    INVALID_DATA: "Text that is not UTF-8.",
    POLICY: "No token or a bad one, not allowed, or a limit (with `retry_ms=…`).",
    TOO_BIG: "A frame over the limit.",
    INTERNAL: "An error of the gateway.",
    RESTART: "This replica stops: come back after `retry_ms=…`, to another one.",
    OVERLOADED: "No room, no Redis (with `retry_ms=…`), or too much waits to be read.",
}
"""Each comes with a reason."""
