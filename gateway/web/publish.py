"""Publishing over HTTP: one message in three forms, or many in one request."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias

import orjson
from fastapi import APIRouter, Request, Response

from gateway.core.hub import Hub
from gateway.core.receipts import Receipts
from gateway.domain.errors import GatewayError, InvalidRequest, TooBig, Unavailable
from gateway.domain.messages import Draft, Receipt
from gateway.web import answers
from gateway.web.auth import Authenticate
from gateway.web.bodies import flag, json_object, media_type, read_body
from gateway.web.document import CHANNEL, TOKEN, answering
from gateway.web.plain_route import PlainRoute
from gateway.web.problems import note_refusal, problem_of, respond

_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")

Traced: TypeAlias = Callable[[str, str], AbstractContextManager[str]]
"""Takes the caller's ``traceparent``, and what is published to."""

_NO_TRACE = nullcontext("")

_ANY: dict[str, Any] = {"description": "Any JSON value."}
_NAME: dict[str, Any] = {"type": "string"}


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    """All of these fields and no others."""
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {**schema, "additionalProperties": False}


def _list(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item, "minItems": 1}


_SINGLE_BODY = {
    "requestBody": {
        "content": {
            "application/json": {"schema": _object(data=_ANY), "example": {"data": "Hola canal"}},
            "text/plain": {"schema": {"type": "string"}, "example": "Hola canal"},
        }
    }
}
_BATCH_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "oneOf": [
                        _object(messages=_list(_object(channel=_NAME, data=_ANY))),
                        _object(channels=_list(_NAME), data=_ANY),
                    ]
                },
                "examples": {
                    "many messages": {
                        "value": {"messages": [{"channel": "noticias", "data": "Hola"}]}
                    },
                    "many channels": {
                        "value": {"channels": ["noticias", "avisos"], "data": "Hola"}
                    },
                },
            }
        },
    }
}


def _parameter(name: str, description: str, place: str = "query") -> dict[str, Any]:
    return {"name": name, "in": place, "description": description, "schema": {"type": "string"}}


_KEY = _parameter(
    "Idempotency-Key", "Repeat a request with the same one: it is published once.", "header"
)
_KEY["schema"] |= {"pattern": "^[!-~]+$", "minLength": 1, "maxLength": 255}
_RECEIPT = _parameter("receipt", "Count to whom it was handed.")
_RECEIPT["schema"] |= {"enum": ["true", "false", "1", "0"]}
_MESSAGE = _parameter("message", "The text, instead of a body.")


def router(
    hub: Hub,
    receipts: Receipts,
    authenticate: Authenticate,
    *,
    request_bytes_max: int,
    batch_messages_max: int,
    publishing: Traced | None = None,
) -> APIRouter:
    """``publishing`` goes around each publish, and gives the trace that its messages carry."""
    publishing = publishing or _untraced
    routes = APIRouter(tags=["publish"], route_class=PlainRoute)

    @routes.post(
        "/publish/{channel:path}",
        openapi_extra=_SINGLE_BODY | TOKEN | {"parameters": [CHANNEL, _MESSAGE, _RECEIPT, _KEY]},
        **answering(answers.PublishedOne, 401, 403, 404, 413, 415, 422, 429, 503),
    )
    async def publish_one(request: Request) -> Response:
        """Publish one message: JSON `{"data": …}`, a `text/plain` body, or `?message=…`.

        With `?receipt=1` the answer says to how many sockets on how many replicas it was handed.
        """
        principal = authenticate(request)
        channel: str = request.path_params["channel"]
        wants_receipt = flag(request, "receipt")
        key = _idempotency_key(request)
        data = await _single_data(request, request_bytes_max)
        with publishing(request.headers.get("traceparent", ""), channel) as trace:
            receipt = await hub.publish(principal, Draft(channel, data, key, trace=trace))
        headers = {"Idempotent-Replayed": "true"} if receipt.replayed else None
        answer = _published(receipt)
        if wants_receipt:
            handed = await receipts.count(channel, receipt.position)
            answer["receipt"] = {
                "replicas": handed.replicas,
                "sockets": handed.sockets,
                "complete": handed.is_complete,
            }
        return _json(answer, headers=headers)

    @routes.post(
        "/publish",
        openapi_extra=_BATCH_BODY | TOKEN | {"parameters": [_KEY]},
        **answering(answers.Results, 401, 403, 413, 415, 422, 503),
    )
    async def publish_many(request: Request) -> Response:
        """Publish a batch in order, or one message to many channels.

        Every entry is answered on its own, in the same order. Where none could be published for
        one and the same reason that trying again later may cure, the whole answer is that.
        """
        principal = authenticate(request)
        key = _idempotency_key(request)
        body = json_object(request, await read_body(request, request_bytes_max))
        drafts = _drafts(body, key, batch_messages_max)
        with publishing(request.headers.get("traceparent", ""), "a batch") as trace:
            drafts = [draft._replace(trace=trace) for draft in drafts] if trace else drafts
            outcomes = await hub.publish_many(principal, drafts)
        if isinstance(outcomes[0], Unavailable) and all(
            isinstance(outcome, Unavailable) for outcome in outcomes
        ):
            return respond(outcomes[0])
        return _json({"results": [_entry(outcome) for outcome in outcomes]})

    return routes


def _untraced(traceparent: str, what: str) -> AbstractContextManager[str]:
    return _NO_TRACE


def _published(receipt: Receipt) -> dict[str, object]:
    return {
        "status": "published",
        "channel": receipt.channel,
        "id": receipt.id,
        "offset": receipt.position.offset,
        "epoch": receipt.position.epoch,
    }


def _entry(outcome: Receipt | GatewayError) -> dict[str, object]:
    if isinstance(outcome, GatewayError):
        note_refusal("a message of a batch", outcome)
        return {"error": problem_of(outcome)}
    return _published(outcome)


def _json(value: object, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(value), headers=headers, media_type="application/json")


def _idempotency_key(request: Request) -> str:
    """The key of the request, or ""; the caller's own, so two users never share one."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return ""
    if not _IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidRequest("an Idempotency-Key is 1 to 255 visible ASCII characters")
    return key


async def _single_data(request: Request, bytes_max: int) -> bytes:
    body = await read_body(request, bytes_max)
    messages = request.query_params.getlist("message")
    if messages:
        if body or len(messages) > 1:
            raise InvalidRequest("give the message once: as ?message= or as the body")
        return orjson.dumps(messages[0])
    if not body:
        raise InvalidRequest('nothing to publish: send {"data": …}, a text body, or ?message=')
    if media_type(request) == "text/plain":
        try:
            return orjson.dumps(body.decode())
        except UnicodeDecodeError:
            raise InvalidRequest("a text body is UTF-8") from None
    value = json_object(request, body)
    if value.keys() != {"data"}:
        raise InvalidRequest('a JSON body is {"data": …} and nothing else')
    return _encoded(value["data"])


def _encoded(data: Any) -> bytes:
    try:
        return orjson.dumps(data)
    except orjson.JSONEncodeError:  # it reads deeper nesting than it writes
        raise InvalidRequest("the data is nested too deeply") from None


def _drafts(body: dict[str, Any], key: str, messages_max: int) -> list[Draft]:
    """Read both forms of a batch; each entry gets an idempotency key made of the request's."""
    if body.keys() == {"messages"}:
        entries = body["messages"]
        if not isinstance(entries, list) or not all(
            isinstance(entry, dict) and entry.keys() == {"channel", "data"} for entry in entries
        ):
            raise InvalidRequest('messages is a list of {"channel": …, "data": …}')
        pairs = [(entry["channel"], entry["data"]) for entry in entries]
    elif body.keys() == {"channels", "data"}:
        if not isinstance(body["channels"], list):
            raise InvalidRequest("channels is a list of channel names")
        pairs = [(channel, body["data"]) for channel in body["channels"]]
    else:
        raise InvalidRequest('a batch is {"messages": […]} or {"channels": […], "data": …}')
    if not pairs:
        raise InvalidRequest("the batch is empty")
    if len(pairs) > messages_max:
        raise TooBig(f"a batch has at most {messages_max} messages")
    if not all(isinstance(channel, str) for channel, _ in pairs):
        raise InvalidRequest("a channel is a string")
    return [
        Draft(channel, _encoded(data), f"{key}#{index}" if key else "")
        for index, (channel, data) in enumerate(pairs)
    ]
