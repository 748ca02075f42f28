"""Reading what a request brings, within limits and with one clear error."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import orjson
from fastapi import Request

from gateway.domain.errors import InvalidRequest, TooBig
from gateway.web.problems import UnsupportedMedia

FORM = "application/x-www-form-urlencoded"
_FIELDS_BYTES_MAX = 16_384
_FORM_FIELDS_MAX = 20


def media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_body(request: Request, bytes_max: int) -> bytes:
    # Counted while it arrives: a length that the header promises need not be true.
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > bytes_max:
            raise TooBig(f"a request has at most {bytes_max} bytes")
    return bytes(body)


def json_object(
    request: Request, body: bytes, *, otherwise: str = "text/plain with text for one message"
) -> dict[str, Any]:
    """``otherwise`` is what else the endpoint reads, for whoever sends neither."""
    if media_type(request) != "application/json":
        raise UnsupportedMedia(f"send Content-Type: application/json with JSON, or {otherwise}")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidRequest("the body is not a JSON object")
    return value


async def read_fields(request: Request) -> dict[str, Any]:
    """The fields of a small JSON object or of a form; an empty body has none."""
    body = await read_body(request, _FIELDS_BYTES_MAX)
    if not body:
        return {}
    if media_type(request) != FORM:
        return json_object(request, body, otherwise=f"{FORM} with a form")
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, max_num_fields=_FORM_FIELDS_MAX, errors="strict"
        )
    except ValueError:
        raise InvalidRequest("the form cannot be read") from None
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise InvalidRequest("a field was given twice")
    return fields


def text_field(fields: Mapping[str, Any], name: str, *, length_max: int = 4096) -> str:
    """A field that has to be there and to be a text."""
    if fields.get(name) is None:
        raise InvalidRequest(f"{name}: this field is needed")
    return optional_text_field(fields, name, length_max=length_max)


def optional_text_field(fields: Mapping[str, Any], name: str, *, length_max: int = 4096) -> str:
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidRequest(f"{name}: this is a text")
    if len(value) > length_max:
        raise InvalidRequest(f"{name}: at most {length_max} characters")
    return value


def flag(request: Request, name: str) -> bool:
    """A parameter of the URL that is true or false, and false when it is not there."""
    value = request.query_params.get(name, "false").lower()
    if value not in ("1", "true", "0", "false"):
        raise InvalidRequest(f"{name}: true or false")
    return value in ("1", "true")
