"""Errors in the domain's words become HTTP responses, in one table: problem details (RFC 9457)."""

import http
import logging
import math
from collections import Counter
from collections.abc import Mapping

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from gateway.domain.errors import (
    Conflict,
    Crowded,
    Denied,
    Dismissed,
    ExpiredToken,
    GatewayError,
    InvalidChannel,
    InvalidCredentials,
    InvalidRequest,
    InvalidToken,
    KeyReused,
    LimitReached,
    NotFound,
    Restarting,
    TooBig,
    Unavailable,
)
from gateway.web.access import REQUEST_ID, safe_headers

_STATUSES: dict[type[GatewayError], int] = {
    InvalidToken: 401,
    ExpiredToken: 401,
    InvalidCredentials: 401,
    Denied: 403,
    Dismissed: 403,
    NotFound: 404,
    Conflict: 409,
    TooBig: 413,
    InvalidChannel: 422,
    InvalidRequest: 422,
    KeyReused: 422,
    LimitReached: 429,
    Unavailable: 503,
    Crowded: 503,
    Restarting: 503,
}

logger = logging.getLogger(__name__)


class UnsupportedMedia(GatewayError):
    """A body in a form that this endpoint does not read; known to HTTP alone."""

    code = "unsupported_media_type"


class WrongHost(GatewayError):
    """A request under a name that is not ours."""

    code = "wrong_host"


_STATUSES[UnsupportedMedia] = 415
_STATUSES[WrongHost] = 400


def problem_of(error: GatewayError) -> dict[str, object]:
    """The problem object for an error, as it stands in a response or in a batch's entry."""
    status = _STATUSES[type(error)]
    problem = _problem(status, error.detail, error.code)
    if isinstance(error, Unavailable):
        problem["outcome_unknown"] = error.outcome_unknown
    return problem


def respond(error: GatewayError, request_id: str = "") -> Response:
    headers = {}
    if isinstance(error, InvalidToken | InvalidCredentials):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, LimitReached | Unavailable):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_seconds)))
    return _response(problem_of(error), headers, request_id)


def note_refusal(what: str, error: GatewayError) -> None:
    """Log a denial in the words that the caller gets."""
    if isinstance(error, InvalidToken | InvalidCredentials | Denied | LimitReached | WrongHost):
        logger.info("%s was refused: %s", what, ascii(error.detail)[1:-1])


def install(app: FastAPI, refusals: Counter[str]) -> None:
    """Make every error response of the application a problem object.

    ``refusals`` counts errors in the domain's words, by their code.
    """

    @app.exception_handler(GatewayError)
    async def refused(request: Request, error: GatewayError) -> Response:
        # The path without its query, where tokens stand.
        note_refusal(f"{request.method} {request.url.path[:200]!a}", error)
        refusals[error.code] += 1
        return respond(error, _id_of(request))

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=499)  # nobody reads it; without it, the log gets a traceback

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        problem = _problem(422, f"{where}: {first['msg']}", "invalid_request")
        return _response(problem, {}, _id_of(request))

    @app.exception_handler(HTTPException)
    async def refused_by_framework(request: Request, error: HTTPException) -> Response:
        code = http.HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
        detail, headers = str(error.detail), error.headers or {}
        if error.status_code == 404:
            detail = "there is nothing at this address"
        elif "Allow" in headers:
            detail = f"{request.method} is not for this address; it takes {headers['Allow']}"
        return _response(_problem(error.status_code, detail, code), headers, _id_of(request))

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        # The server logs the traceback; the caller learns nothing about our inside.
        # The middleware that names requests and adds headers has been left by now.
        request_id = _id_of(request)
        problem = _problem(500, "something went wrong here", "internal")
        headers = {"X-Request-ID": request_id} if request_id else {}
        response = _response(problem, headers, request_id)
        response.raw_headers = safe_headers(request.scope, response.raw_headers)
        return response


def _problem(status: int, detail: str, code: str) -> dict[str, object]:
    return {
        "type": f"urn:gateway:problem:{code}",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
    }


def _id_of(request: Request) -> str:
    return str(request.scope.get(REQUEST_ID, ""))


def _response(
    problem: dict[str, object], headers: Mapping[str, str], request_id: str = ""
) -> Response:
    if request_id:
        problem["request_id"] = request_id
    return Response(
        orjson.dumps(problem),
        status_code=int(str(problem["status"])),
        headers=dict(headers),
        media_type="application/problem+json",
    )
