"""A user's own account over HTTP."""

from collections.abc import Sequence

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from gateway.core.accounts import Accounts, as_dict
from gateway.core.logins import LoginDesk
from gateway.domain.accounts import User
from gateway.domain.errors import Denied, InvalidRequest, NotFound
from gateway.domain.principal import Principal
from gateway.web import answers
from gateway.web.auth import Callers
from gateway.web.bodies import optional_text_field, read_fields, text_field
from gateway.web.document import answering, body_of
from gateway.web.logins import EXAMPLE_PASSWORD, swagger_login

_REGISTRATION = {"username", "email", "password"}
_FIELDS = ", ".join(sorted(_REGISTRATION))


def router(
    accounts: Accounts,
    desk: LoginDesk,
    callers: Callers,
    *,
    registration_roles: Sequence[str] | None,
) -> APIRouter:
    """``registration_roles`` is None where nobody may register."""
    routes = APIRouter(tags=["your account"])

    @routes.post(
        "/register",
        openapi_extra=body_of(
            {"username": "alice", "password": EXAMPLE_PASSWORD}, {"email": "alice@example.com"}
        ),
        **answering(answers.Registered, 403, 409, 413, 415, 422, 429, 503, status=201),
    )
    async def register(request: Request) -> Response:
        """Make an account. Its roles are the operator's choice, never the request's."""
        if registration_roles is None:
            raise Denied("registration: accounts are made by an administrator here")
        fields = await read_fields(request)
        if unknown := sorted(fields.keys() - _REGISTRATION):
            raise InvalidRequest(f"{unknown[0][:40]}: no such field, but {_FIELDS}")
        name = text_field(fields, "username")
        await desk.admit_registration(callers.address(request))
        user = await accounts.add(
            name,
            text_field(fields, "password"),
            email=optional_text_field(fields, "email"),
            roles=registration_roles,
        )
        body = {"message": "User registered successfully", "user_id": user.id}
        return JSONResponse(body, 201)

    @routes.get("/me", dependencies=[swagger_login], **answering(answers.Me, 401, 403, 422, 503))
    async def me(request: Request) -> dict[str, object]:
        """Who the token speaks for, and the account behind it if there is one here."""
        principal = callers.authenticate(request)
        claims: dict[str, object] = {
            "username": principal.subject,
            "roles": sorted(principal.roles),
            "grants": {str(action): list(given) for action, given in principal.grants.items()},
            "expires_at": principal.expires_at,
        }
        user = await _account_of(principal)
        return claims if user is None else {**as_dict(user), **claims}

    @routes.get(
        "/protected",
        dependencies=[swagger_login],
        **answering(answers.Protected, 401, 403, 422, 503),
    )
    async def protected(request: Request) -> dict[str, object]:
        """Answers to any valid token: to see whether yours is one."""
        principal = callers.authenticate(request)
        user = await _account_of(principal)
        return {
            "message": "This is a protected endpoint",
            "user_id": user.id if user else None,
            "data": "Secret data only for authenticated users",
        }

    @routes.post(
        "/me/password",
        dependencies=[swagger_login],
        openapi_extra=body_of(
            {"old_password": EXAMPLE_PASSWORD, "new_password": "a much longer one"}
        ),
        **answering(answers.Done, 401, 403, 404, 413, 415, 422, 429, 503),
    )
    async def change_password(request: Request) -> dict[str, str]:
        """Change your password; every other login of yours ends."""
        principal = callers.authenticate(request)
        fields = await read_fields(request)
        await desk.change_password(
            principal,
            text_field(fields, "old_password"),
            text_field(fields, "new_password"),
            callers.address(request),
        )
        return {"message": "Password changed successfully"}

    async def _account_of(principal: Principal) -> User | None:
        # A token may speak for somebody whom another issuer knows and this database does not.
        try:
            return await accounts.find(principal.subject)
        except NotFound:
            return None

    return routes
