"""Logging in and out over HTTP, and the tickets for browsers."""

import secrets
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from fastapi.security import OAuth2PasswordBearer

from gateway.core.logins import LoginDesk, Tokens
from gateway.core.tickets import TicketOffice
from gateway.core.tokens import TokenIssuer
from gateway.domain.errors import InvalidRequest, InvalidToken
from gateway.protocols.credentials import COOKIE, CSRF_COOKIE
from gateway.web import answers
from gateway.web.auth import Callers
from gateway.web.bodies import flag, optional_text_field, read_fields, text_field
from gateway.web.document import answering, body_of

_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}  # RFC 6749 section 5.1

# For /docs alone: it makes Swagger's "Authorize" ask /token and send what it got.
swagger_login = Depends(OAuth2PasswordBearer(tokenUrl="token", auto_error=False))


EXAMPLE_PASSWORD = "correct horse battery staple"
_LOGIN_REFUSALS = (401, 403, 413, 415, 422, 429, 503)
_TOKEN_REFUSALS = (401, 403, 422, 503)
_EXAMPLE = {"username": "alice", "password": EXAMPLE_PASSWORD}


def router(
    desk: LoginDesk,
    tickets: TicketOffice,
    issuer: TokenIssuer,
    callers: Callers,
    *,
    is_demo: bool,
    demo_token_seconds: int,
) -> APIRouter:
    routes = APIRouter(tags=["log in and out"])

    @routes.post(
        "/login",
        openapi_extra=body_of(_EXAMPLE),
        **answering(answers.LoggedIn, *_LOGIN_REFUSALS),
    )
    async def login(request: Request) -> Response:
        """Log in with JSON or a form; `?cookie=1` sets the access token as a cookie, too."""
        fields = await read_fields(request)
        wants_cookie = _wants_cookie(request)
        name = request.query_params.get("username")
        if is_demo and name is not None and not fields:
            tokens = await desk.login_without_password(name)
            return _answer(tokens, "Login successful", "bearer", wants_cookie)
        tokens = await _log_in(request, fields)
        return _answer(tokens, "Login successful", "Bearer", wants_cookie)

    @routes.post(
        "/token",
        openapi_extra=body_of(_EXAMPLE, {"grant_type": "password"}),
        **answering(answers.LoggedIn, *_LOGIN_REFUSALS),
    )
    async def token(request: Request) -> Response:
        """Log in as OAuth2 clients do (RFC 6749 section 4.3): Swagger's *Authorize* comes here."""
        fields = await read_fields(request)
        kind = optional_text_field(fields, "grant_type")
        if kind == "refresh_token":
            tokens = await desk.refresh(text_field(fields, "refresh_token"))
            return _answer(tokens, "Token refreshed successfully", "bearer")
        if kind not in ("", "password"):
            raise InvalidRequest("grant_type: password or refresh_token")
        return _answer(await _log_in(request, fields), "Login successful", "bearer")

    async def refresh(request: Request) -> Response:
        """Trade a refresh token for its successor and a new access token.

        It comes in a JSON body, in a form, or as the bearer. A repeated request gets the same
        answer for a few seconds; a used token that comes later ends the login.
        """
        given = optional_text_field(await read_fields(request), "refresh_token") or _bearer(request)
        if not given:
            raise InvalidToken("a refresh token is needed")
        wants_cookie = _wants_cookie(request)
        tokens = await desk.refresh(given)
        return _answer(tokens, "Token refreshed successfully", "Bearer", wants_cookie)

    for path in ("/refresh", "/token/refresh"):
        routes.add_api_route(
            path,
            refresh,
            methods=["POST"],
            openapi_extra=body_of({}, {"refresh_token": "eyJhbGciOi…"}),
            operation_id=path.strip("/").replace("/", "_") + "_post",
            **answering(answers.LoggedIn, *_LOGIN_REFUSALS),
        )

    @routes.post(
        "/logout",
        dependencies=[swagger_login],
        **answering(answers.LoggedOut, *_TOKEN_REFUSALS),
    )
    async def logout(request: Request) -> Response:
        """End this login with its sockets, on every replica; `?all=true` every one of the user."""
        principal = callers.authenticate(request)
        if flag(request, "all"):
            is_everywhere = await desk.logout_everywhere(principal)
        else:
            is_everywhere = await desk.logout(principal)
        body: dict[str, object] = {"message": "Logged out successfully"}
        if not is_everywhere:
            body["note"] = "replicas that cannot be reached now learn of it when they are back"
        response = JSONResponse(body, headers=_NO_STORE)
        for cookie in (COOKIE, CSRF_COOKIE):
            if cookie in request.cookies:
                response.delete_cookie(cookie, secure=True, samesite="strict")
        return response

    @routes.post(
        "/ticket", dependencies=[swagger_login], **answering(answers.Ticket, *_TOKEN_REFUSALS)
    )
    async def ticket(request: Request) -> Response:
        """A ticket that opens one socket, once, within seconds: `?ticket=` instead of a token."""
        principal = callers.authenticate(request)
        body = {
            "ticket": await tickets.issue(principal),
            "expires_in": tickets.lifetime_seconds,
        }
        return JSONResponse(body, headers=_NO_STORE)

    if is_demo:

        @routes.get("/test-token", **answering(answers.TestToken))
        async def test_token() -> Response:
            """A token for `user`, in the demo only."""
            body = {
                "test_token": issuer.issue("user", lifetime_seconds=demo_token_seconds),
                "note": "This token is for testing only. It is valid for the 'user' account and "
                f"expires after {demo_token_seconds} seconds.",
            }
            return JSONResponse(body, headers=_NO_STORE)

    def _wants_cookie(request: Request) -> bool:
        wants_cookie = flag(request, "cookie")
        if wants_cookie:
            callers.check_page(request)
        return wants_cookie

    async def _log_in(request: Request, fields: dict[str, Any]) -> Tokens:
        name, password = text_field(fields, "username"), text_field(fields, "password")
        return await desk.login(name, password, callers.address(request))

    return routes


def _answer(
    tokens: Tokens, message: str, token_type: str, wants_cookie: bool = False
) -> JSONResponse:
    body: dict[str, object] = {
        "access_token": tokens.access_token,
        "refresh_token": tokens.refresh_token,
        "token_type": token_type,
        "expires_in": tokens.expires_in,
        "message": message,
    }
    csrf = secrets.token_urlsafe(24)
    if wants_cookie:
        body["csrf_token"] = csrf
    response = JSONResponse(body, headers=_NO_STORE)
    if wants_cookie:
        # "Secure" also on http://localhost, which browsers count as secure.
        for name, value, is_hidden in (
            (COOKIE, tokens.access_token, True),
            (CSRF_COOKIE, csrf, False),
        ):
            response.set_cookie(
                name,
                value,
                max_age=tokens.expires_in,
                httponly=is_hidden,
                secure=True,
                samesite="strict",
            )
    return response


def _bearer(request: Request) -> str:
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""
