"""What the methods of the server API are for, with an example of each, for /openapi.json."""

from typing import Any, TypeAlias

from gateway.web.answers import ApiRefusal
from gateway.web.document import API_KEY

_POSITION: dict[str, Any] = {"offset": 7, "epoch": "5f3c9a2e"}
_DATA = {"text": "Hola canal"}
_CLIENT = "6c2f4b1e-9a0d-4a3b-8f57-2f0f6c1c9f11"

Example: TypeAlias = tuple[dict[str, Any], dict[str, Any]]
"""What is asked, and what is answered."""

EXAMPLES: dict[str, Example] = {
    "publish": ({"channel": "noticias", "data": _DATA}, {"result": _POSITION}),
    "broadcast": (
        {"channels": ["noticias", "avisos"], "data": _DATA},
        {"result": {"responses": [{"result": _POSITION}, {"result": _POSITION}]}},
    ),
    "subscribe": ({"user": "alice", "channel": "noticias"}, {"result": {}}),
    "unsubscribe": ({"user": "alice", "channel": "noticias"}, {"result": {}}),
    "disconnect": ({"user": "alice"}, {"result": {}}),
    "refresh": ({"user": "alice", "expire_at": 1_900_000_000}, {"result": {}}),
    "presence": (
        {"channel": "noticias"},
        {"result": {"presence": {_CLIENT: {"user": "alice", "client": _CLIENT}}}},
    ),
    "presence_stats": (
        {"channel": "noticias"},
        {"result": {"num_clients": 2, "num_users": 1}},
    ),
    "history": (
        {"channel": "noticias", "limit": 10},
        {"result": {"publications": [{"data": _DATA, "offset": 7}], **_POSITION}},
    ),
    "history_remove": ({"channel": "noticias"}, {"result": {}}),
    "channels": ({"pattern": "not*"}, {"result": {"channels": {"noticias": {"num_clients": 2}}}}),
    "info": (
        {},
        {
            "result": {
                "nodes": [
                    {
                        "uid": "gateway-1",
                        "name": "gateway-1",
                        "version": "0.1.0",
                        "num_clients": 2,
                        "num_users": 1,
                        "num_subs": 2,
                        "num_channels": 1,
                        "uptime": 60,
                    }
                ]
            }
        },
    ),
    "rpc": (
        {"method": "anything", "params": {}},
        {"error": {"code": 108, "message": "not available"}},
    ),
    "batch": (
        {"commands": [{"publish": {"channel": "noticias", "data": _DATA}}, {"info": {}}]},
        {"replies": [{"publish": _POSITION}, {"info": {"nodes": []}}]},
    ),
}

_DESCRIPTIONS = {
    "publish": "Publish one message. Optional: `idempotency_key`, `tags`, `skip_history`.",
    "broadcast": "Publish one message to many channels; each is answered on its own, in order.",
    "subscribe": "Subscribe the connected clients of a user to a channel.",
    "unsubscribe": "End a user's subscriptions to a channel.",
    "disconnect": "Close a user's connections; `client` or `whitelist` choose among them.",
    "refresh": "Give a user's connections another end, or end them as expired.",
    "presence": "The clients of the Centrifuge protocol that are in a channel, by id.",
    "presence_stats": "How many connections and users are in a channel.",
    "history": "What a channel keeps, and its position; without `limit` only that.",
    "history_remove": "Forget what a channel keeps; its position goes on.",
    "channels": "The channels that somebody listens to; `*` in `pattern` stands for anything.",
    "info": "A line for each replica.",
    "rpc": "There are no remote procedures here: always error 108.",
    "batch": "Several commands at once; what is published goes out in one round trip.",
}


def description_of(method: str) -> str:
    return _DESCRIPTIONS[method]


_ERROR_MODE = {
    "name": "X-Centrifugo-Error-Mode",
    "in": "header",
    "description": "With `transport` the status says that it is an error, too.",
    "schema": {"type": "string"},
}


def _refusal(description: str, *, has_text: bool = False) -> dict[str, Any]:
    content: dict[str, Any] = {"text/plain": {"schema": {"type": "string"}}} if has_text else {}
    return {"description": description, "model": ApiRefusal, "content": content}


RESPONSES: dict[int | str, dict[str, Any]] = {
    400: _refusal("Not JSON; or error 107 or 108.", has_text=True),
    401: {"description": "No key and no token, or an unknown one."},
    403: {
        "description": "The key or the token is not for this method or channel.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    },
    404: _refusal("Error 102 or 104."),
    413: _refusal("A body over the limit; or error 106.", has_text=True),
    416: _refusal("Error 112: `since` is of another epoch."),
    429: _refusal("Error 111: too many."),
    500: _refusal("Error 100: it may have been done."),
}


def extra_of(asked: dict[str, Any], answered: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object"}
    return {
        "parameters": [_ERROR_MODE],
        "requestBody": {
            "required": bool(asked),
            "content": {"application/json": {"schema": schema, "example": asked}},
        },
        "responses": {
            "200": {
                "description": "The result, or an error.",
                "content": {"application/json": {"schema": schema, "example": answered}},
            }
        },
        **API_KEY,
    }
