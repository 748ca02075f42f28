"""Everybody's accounts and connections, for administrators."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from gateway.core.accounts import Accounts, as_dict
from gateway.core.roster import Roster
from gateway.domain.errors import InvalidRequest
from gateway.web import answers
from gateway.web.auth import Callers
from gateway.web.bodies import read_fields
from gateway.web.document import UserName, answering, body_of
from gateway.web.logins import swagger_login

_PAGE_MAX = 500
_ID_MAX = (1 << 63) - 1

After = Annotated[int, Query(ge=0, le=_ID_MAX, description="The id of the last one before.")]
Limit = Annotated[int, Query(ge=1, le=_PAGE_MAX, description="At most so many.")]


def router(roster: Roster, accounts: Accounts, callers: Callers) -> APIRouter:
    """A name may have slashes in it, so it is all of the path between prefix and verb."""
    routes = APIRouter(prefix="/users", tags=["users"], dependencies=[swagger_login])

    @routes.get("/connected", **answering(answers.Connected, 401, 403, 422, 503))
    async def connected(request: Request) -> dict[str, object]:
        """Every user with an open socket on any replica. Needs the role `admin`."""
        callers.require_admin(request)
        table = await roster.connected()
        return {
            "count": len(table),
            "users": [
                {"user": user, "connections": sum(replicas.values()), "replicas": replicas}
                for user, replicas in table.items()
            ],
        }

    @routes.get("", **answering(answers.Accounts, 401, 403, 422, 503))
    async def users(request: Request, after: After = 0, limit: Limit = 100) -> dict[str, object]:
        """The accounts, by id; go on with `after=` the last one's. Needs the role `admin`."""
        callers.require_admin(request)
        page = await accounts.page(after, limit)
        return {"users": [as_dict(user) for user in page]}

    @routes.put(
        "/{name:path}/roles",
        openapi_extra=body_of({"roles": ["publisher", "editor"]}, form=False),
        **answering(answers.Account, 401, 403, 404, 413, 415, 422, 503),
    )
    async def set_roles(request: Request, name: UserName) -> dict[str, object]:
        """Replace the roles: `{"roles": [...]}`.

        The user's sockets close, and a refresh brings a token with the new roles.
        """
        callers.require_admin(request)
        roles = (await read_fields(request)).get("roles")
        if not isinstance(roles, list):
            raise InvalidRequest("roles: a list of names")
        return as_dict(await accounts.set_roles(name, roles))

    @routes.post("/{name:path}/disable", **answering(answers.Account, 401, 403, 404, 422, 503))
    async def disable(request: Request, name: UserName) -> dict[str, object]:
        """End every login and socket of the user, and allow no new ones. Needs the role `admin`."""
        callers.require_admin(request)
        return as_dict(await accounts.disable(name))

    @routes.post("/{name:path}/enable", **answering(answers.Account, 401, 403, 404, 422, 503))
    async def enable(request: Request, name: UserName) -> dict[str, object]:
        """Let the user log in again. Needs the role `admin`."""
        callers.require_admin(request)
        return as_dict(await accounts.enable(name))

    @routes.post("/{name:path}/logout", **answering(answers.EndedLogins, 401, 403, 404, 422, 503))
    async def logout(request: Request, name: UserName) -> dict[str, object]:
        """End every login, token and socket of the user, who may log in again."""
        callers.require_admin(request)
        is_everywhere = await accounts.end_all(name, "admin")
        return {"message": "Logged out successfully", "everywhere": is_everywhere}

    # The last one, for its pattern takes the paths above in: asked with another method, they name
    # the methods of the first route that they fit.
    @routes.get("/{name:path}", **answering(answers.Account, 401, 403, 404, 422, 503))
    async def user(request: Request, name: UserName) -> dict[str, object]:
        """One account. Needs the role `admin`."""
        callers.require_admin(request)
        return as_dict(await accounts.find(name))

    return routes
