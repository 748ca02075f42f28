"""The AsyncAPI document: what is said on sockets and streams, as /openapi.json has the rest.

It is made of the protocols' own models where there are any. A test holds what a running gateway
says against it, and it against that.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.domain.channels import CHANNEL_LENGTH_MAX
from gateway.protocols.credentials import COOKIE
from gateway.sockets.asyncapi import clients, plain
from gateway.sockets.asyncapi.schemas import TEXT, Messages, Schema, object_of
from gateway.sockets.door import PATH_PREFIX
from gateway.sockets.emulation import (
    EVENTS_PATH,
    LINES_PATH,
    ONE_WAY_EVENTS_PATH,
    ONE_WAY_LINES_PATH,
)
from gateway.sockets.flavours import CLIENT_PATH, ONE_WAY_PATH

PATH = "/asyncapi.json"

_HEARD: Messages = {**plain.MESSAGE, **plain.NOTICES}
_ANSWERED: Messages = {**clients.REPLIES, **clients.ERROR}
_TOLD: Messages = {**clients.PUSHES, **clients.PING}
_TOLD_BARE: Messages = {**clients.BARE, **clients.PING}


def asyncapi_route(version: str) -> Route:
    made = document(version)

    async def answer(request: Request) -> Response:
        return JSONResponse(made)

    return Route(PATH, answer, include_in_schema=False)


def document(version: str) -> dict[str, Any]:
    """AsyncAPI 3.0. Close codes stand in ``x-close-codes``, for it has no place for them."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Gateway",
            "version": version,
            "description": "What is said on sockets and streams; /openapi.json has the rest.",
        },
        "defaultContentType": "application/json",
        "channels": {
            "plain": _plain(),
            "events": _events(),
            "clients": _clients(),
            "clientLines": _stream(LINES_PATH, "a line each"),
            "clientEvents": _stream(EVENTS_PATH, "an event each"),
            "oneWay": _one_way(ONE_WAY_PATH, "a frame each")
            | {
                "bindings": _upgraded({"cf_connect": TEXT}),
                "x-close-codes": _codes(clients.CLOSE_CODES),
            },
            "oneWayLines": _one_way(ONE_WAY_LINES_PATH, "a line each"),
            "oneWayEvents": _one_way(ONE_WAY_EVENTS_PATH, "an event each"),
        },
        "operations": dict(_operations()),
        "components": {
            "messages": {
                **_HEARD,
                **plain.REFUSAL,
                **plain.TEXTS,
                **plain.END,
                **plain.PUBLISHED,
                **clients.COMMANDS,
                **clients.PONG,
                **_ANSWERED,
                **_TOLD,
                **clients.END,
                **clients.WORDS,
                **clients.BARE,
            },
            "schemas": dict(clients.SCHEMAS),
            "securitySchemes": _SECURITY,
        },
    }


def _plain() -> dict[str, Any]:
    return {
        "address": PATH_PREFIX + "{channel}",
        "title": "One channel on a socket",
        "description": "Each text frame is a message or a notice, and each one sent publishes.",
        "parameters": {"channel": _CHANNEL},
        "messages": _named(_HEARD, plain.REFUSAL, plain.TEXTS, plain.PUBLISHED),
        "bindings": _upgraded(plain.PARAMETERS),
        "x-close-codes": _codes(plain.CLOSE_CODES),
    }


def _events() -> dict[str, Any]:
    return {
        "address": "/sse/{channel}",
        "title": "One channel as Server-Sent Events",
        "description": "What is in the data of events. The id of an event is its position. A "
        "message has the type `message`, a notice its own; comments are pings.",
        "parameters": {"channel": _CHANNEL},
        "messages": _named(_HEARD, plain.TEXTS, plain.END),
    }


def _clients() -> dict[str, Any]:
    return {
        "address": CLIENT_PATH,
        "title": "Many channels on a socket: the Centrifuge client protocol in JSON",
        "description": "A text frame has one command, reply or push on each line. The same in "
        "Protobuf: docs/centrifuge.md.",
        "messages": _named(clients.COMMANDS, clients.PONG, _ANSWERED, _TOLD),
        "bindings": _upgraded({"cf_ws_frame_ping_pong": {"enum": ["true"]}}),
        "x-close-codes": _codes(clients.CLOSE_CODES),
    }


def _stream(path: str, form: str) -> dict[str, Any]:
    return {
        "address": path,
        "title": "The same without a WebSocket",
        "description": f"Replies and pushes, {form}. The first commands are in the body of the "
        "request, and all others go to `POST /emulation`.",
        "messages": _named(_ANSWERED, _TOLD, clients.END),
    }


def _one_way(path: str, form: str) -> dict[str, Any]:
    return {
        "address": path,
        "title": "The same for clients that say nothing but who they are",
        "description": f"Bare pushes, {form}. What a client says is its first message or the body "
        "of its request, or in the URL as `cf_connect`.",
        "messages": _named(clients.WORDS, _TOLD_BARE),
    }


def _operations() -> Iterable[tuple[str, dict[str, Any]]]:
    secured = {"security": [_reference("securitySchemes", name) for name in _SECURITY]}
    asked = {"http": {"method": "GET", "query": object_of(plain.PARAMETERS, ())}}
    posted = {"http": {"method": "POST"}}
    yield "listen", _says("plain", _HEARD, plain.REFUSAL, plain.TEXTS) | secured
    yield "publishFrame", _hears("plain", plain.PUBLISHED)
    yield (
        "listenToEvents",
        _says("events", _HEARD, plain.TEXTS, plain.END) | secured | {"bindings": asked},
    )
    for method in clients.METHODS:
        reply = _on("clients", {clients.reply_id(method): {}}, clients.ERROR)
        yield method, _hears("clients", {clients.command_id(method): {}}) | {"reply": reply}
    yield "push", _says("clients", _TOLD)
    yield "pong", _hears("clients", clients.PONG)
    for channel in ("clientLines", "clientEvents"):
        told = _says(channel, _ANSWERED, _TOLD, clients.END)
        yield channel, told | {"bindings": posted}
    for channel in ("oneWay", "oneWayLines", "oneWayEvents"):
        yield f"{channel}Connect", _hears(channel, clients.WORDS)
        yield channel, _says(channel, _TOLD_BARE)


def _says(channel: str, *messages: Messages) -> dict[str, Any]:
    return {"action": "send", **_on(channel, *messages)}


def _hears(channel: str, *messages: Messages) -> dict[str, Any]:
    return {"action": "receive", **_on(channel, *messages)}


def _on(channel: str, *messages: Messages) -> dict[str, Any]:
    place = f"#/channels/{channel}"
    names = (name for group in messages for name in group)
    return {
        "channel": {"$ref": place},
        "messages": [{"$ref": f"{place}/messages/{name}"} for name in names],
    }


def _named(*messages: Messages) -> dict[str, Any]:
    return {name: _reference("messages", name) for group in messages for name in group}


def _reference(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}


def _upgraded(parameters: Mapping[str, Schema]) -> dict[str, Any]:
    return {"ws": {"method": "GET", "query": object_of(parameters, ())}}


def _codes(codes: Mapping[int, str]) -> dict[str, str]:
    ours = {str(code): words for code, words in sorted(codes.items())}
    return ours | {"3000-4999": "Any other of these: what the server API was asked to close with."}


_CHANNEL = {
    "description": f"1 to {CHANNEL_LENGTH_MAX} of A-Z a-z 0-9 _ - . : @ ~ # $",
    "examples": ["noticias"],
}
_SECURITY: Mapping[str, Mapping[str, str]] = {
    "header": {"type": "http", "scheme": "bearer"},
    "query": {"type": "httpApiKey", "in": "query", "name": "token"},
    "ticket": {"type": "httpApiKey", "in": "query", "name": "ticket"},
    "cookie": {"type": "httpApiKey", "in": "cookie", "name": COOKIE},
    "subprotocol": {
        "type": "httpApiKey",
        "in": "header",
        "name": "Sec-WebSocket-Protocol",
        "description": "`bearer, TOKEN`",
    },
}
