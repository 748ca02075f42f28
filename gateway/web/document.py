"""What the OpenAPI document says beside what FastAPI finds out by itself."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import FastAPI, Path
from pydantic import BaseModel

from gateway.domain.channels import CHANNEL_LENGTH_MAX

_PROBLEM: dict[str, Any] = {
    "title": "Problem",
    "description": "A refusal (RFC 9457). `code` is for programs, `detail` for people.",
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
        "outcome_unknown": {
            "type": "boolean",
            "description": "Of 503: it may have been carried out.",
        },
    },
    "required": ["type", "title", "status", "code", "detail"],
    "additionalProperties": False,
}

_REFUSALS: Mapping[int, str] = {
    401: "The token, or the name and the password, are missing, wrong or over.",
    403: "Known, and not allowed to; the detail begins with the rule that decided.",
    404: "There is no such thing; or the name in the path has a line break in it.",
    409: "It exists already, or cannot be done to what is there.",
    413: "Larger than the limit.",
    415: "A body in a form that is not read here.",
    422: "It cannot be understood: a name, a parameter or a body that is none.",
    429: "A limit is used up; `Retry-After` says when to try again.",
    503: "Something outside cannot be reached, or this replica stops; see `outcome_unknown`.",
}
_RETRY = {
    "Retry-After": {"description": "In seconds.", "schema": {"type": "integer", "minimum": 1}}
}

TOKEN: dict[str, Any] = {"security": [{"OAuth2PasswordBearer": []}]}
"""For a route that wants a token: what makes Swagger send it."""

API_KEY: dict[str, Any] = {"security": [{"ApiKey": []}, {"OAuth2PasswordBearer": []}]}

# Said, not checked: the hub checks names, on every door with the same words.
_CHANNEL_NAME: dict[str, Any] = {
    "pattern": r"^[A-Za-z0-9_\-.:@~#$]+$",
    "minLength": 1,
    "maxLength": CHANNEL_LENGTH_MAX,
    "example": "noticias",
}
_A_CHANNEL = "A channel."
ChannelName = Annotated[str, Path(description=_A_CHANNEL, json_schema_extra=_CHANNEL_NAME)]
CHANNEL: dict[str, Any] = {
    "name": "channel",
    "in": "path",
    "required": True,
    "description": _A_CHANNEL,
    "schema": {"type": "string"} | _CHANNEL_NAME,
}
"""The same for a `PlainRoute`, of whose parameters FastAPI knows nothing."""
UserName = Annotated[str, Path(description="A user.", json_schema_extra={"example": "bob"})]


def answering(model: type[BaseModel], *refusals: int, status: int = 200) -> dict[str, Any]:
    """For the decorator of a route: what it gives, and the problems that it may give instead."""
    return {
        "status_code": status,
        "response_model": None,  # for the reader of the document; nothing is checked or left out
        "responses": {status: {"model": model}} | problems(*refusals),
    }


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: _problem(status) for status in statuses}


def _problem(status: int) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    problem: dict[str, Any] = {
        "description": _REFUSALS[status],
        "content": {"application/problem+json": {"schema": schema}},
    }
    return problem | ({"headers": _RETRY} if status in (429, 503) else {})


def body_of(
    required: Mapping[str, Any], optional: Mapping[str, Any] | None = None, *, form: bool = True
) -> dict[str, Any]:
    """How a request's fields are described: each by an example of it."""
    examples = {**required, **(optional or {})}
    properties: dict[str, Any] = {}
    for name, example in examples.items():
        if isinstance(example, list):
            properties[name] = {"type": "array", "items": {"type": "string", "minLength": 1}}
        else:
            # null is the same as nothing.
            properties[name] = {"type": "string" if name in required else ["string", "null"]}
        if "password" in name:
            properties[name]["format"] = "password"
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = list(required)
    content = {"schema": schema, "example": examples}
    contents = {"application/json": content}
    if form:
        contents["application/x-www-form-urlencoded"] = content
    return {"requestBody": {"content": contents, "required": bool(required)}}


def install(app: FastAPI) -> None:
    """Put what the routes above refer to into the application's document."""
    made_by_framework = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            components = made_by_framework().setdefault("components", {})
            components.setdefault("schemas", {})["Problem"] = _PROBLEM
            components.setdefault("securitySchemes", {})["ApiKey"] = {
                "type": "apiKey",
                "in": "header",
                "name": "X-API-Key",
            }
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
