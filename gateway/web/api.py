"""The server API: `POST /api/<method>`, as libraries for servers call it."""

import logging
from collections.abc import Callable

import orjson
from fastapi import APIRouter, Request, Response

from gateway.core.server_api.callers import ApiKeys, Caller, caller_with_token
from gateway.core.server_api.methods import ServerApi
from gateway.core.server_api.refusals import Result
from gateway.domain.errors import Denied, GatewayError, InvalidToken, TooBig
from gateway.protocols.centrifuge import codes
from gateway.protocols.server_api.answers import ApiError, error_object
from gateway.web.api_docs import EXAMPLES, RESPONSES, Example, description_of, extra_of
from gateway.web.auth import Authenticate
from gateway.web.bodies import read_body
from gateway.web.plain_route import PlainRoute

Identify = Callable[[Request], Caller]

_ERROR_MODE = "x-centrifugo-error-mode"
_STATUSES = {100: 500, 102: 404, 103: 403, 104: 404, 106: 413, 107: 400, 108: 400, 111: 429}
_STATUSES |= {112: 416, 113: 409}

logger = logging.getLogger(__name__)


class ApiCallers:
    """Who calls: whoever has a key, or a user with a token."""

    def __init__(
        self, keys: ApiKeys, authenticate: Authenticate, *, key_in_url_allowed: bool
    ) -> None:
        self._keys = keys
        self._authenticate = authenticate
        self._key_in_url_allowed = key_in_url_allowed

    def identify(self, request: Request) -> Caller:
        """Raises what `Callers.authenticate` raises; where a key is given, only `InvalidToken`."""
        given = request.headers.getlist("x-api-key")
        for line in request.headers.getlist("authorization"):
            scheme, _, key = line.partition(" ")
            if scheme.lower() == "apikey":
                given.append(key.strip())
        if self._key_in_url_allowed:
            given += request.query_params.getlist("api_key")
        if not given:
            return caller_with_token(self._authenticate(request))
        if len(set(given)) > 1:
            raise InvalidToken("two API keys were given; which one counts?")
        return self._keys.caller(given[0])


def router(api: ServerApi, identify: Identify, *, request_bytes_max: int) -> APIRouter:
    routes = APIRouter(tags=["server API"], route_class=PlainRoute)

    async def call(request: Request, method: str) -> Response:
        try:
            caller = identify(request)
        except Denied as denial:
            return _error(request, denial.detail)
        except GatewayError as refusal:
            logger.info("the server API refused a caller: %s", ascii(refusal.detail)[1:-1])
            return Response(status_code=401, headers={"WWW-Authenticate": "apikey"})
        try:
            body = await read_body(request, request_bytes_max)
        except TooBig as refusal:
            return Response(refusal.detail, status_code=413, media_type="text/plain")
        try:
            params = orjson.loads(body or b"{}")
        except orjson.JSONDecodeError as error:
            return Response(f"not JSON: {error}", status_code=400, media_type="text/plain")
        try:
            result = await api.call(caller, method, params)
        except Denied as denial:
            return _error(request, denial.detail)
        except ApiError as error:
            return _answer_error(request, error)
        # A batch has its replies at the top.
        return _json(result if method == "batch" else {"result": result})

    def add(method: str, example: Example) -> None:
        @routes.post(
            f"/api/{method}",
            name=f"api {method}",
            description=description_of(method),
            response_class=Response,
            responses=RESPONSES,
            openapi_extra=extra_of(*example),
        )
        async def answer(request: Request) -> Response:
            return await call(request, method)

    for name, example in EXAMPLES.items():
        add(name, example)

    @routes.post("/api/{method:path}", include_in_schema=False)
    async def unknown(request: Request) -> Response:
        return await call(request, request.path_params["method"])

    return routes


def _error(request: Request, detail: str) -> Response:
    """Not allowed at all, whatever the mode."""
    return _json(_body(request, ApiError(codes.PERMISSION_DENIED, detail)), 403)


def _answer_error(request: Request, error: ApiError) -> Response:
    status = _STATUSES[error.code] if _is_transport_mode(request) else 200
    if error.code == codes.METHOD_NOT_FOUND.code:
        status = 404
    return _json(_body(request, error), status)


def _body(request: Request, error: ApiError) -> Result:
    if _is_transport_mode(request):
        return error_object(error)
    return {"error": error_object(error)}


def _is_transport_mode(request: Request) -> bool:
    return request.headers.get(_ERROR_MODE, "").lower() == "transport"


def _json(value: object, status: int = 200) -> Response:
    headers = {"Cache-Control": "no-store"}
    return Response(orjson.dumps(value), status, headers, media_type="application/json")
