"""Everybody's accounts and connections, for administrators."""

from fastapi import APIRouter, Request

from gateway.core.accounts import Accounts, as_dict
from gateway.core.roster import Roster
from gateway.domain.errors import InvalidRequest
from gateway.web.auth import Callers
from gateway.web.bodies import read_fields
from gateway.web.logins import body_of, swagger_login

_PAGE_MAX = 500
_ID_MAX = (1 << 63) - 1


def router(roster: Roster, accounts: Accounts, callers: Callers) -> APIRouter:
    """A name may have slashes in it, so it is all of the path between prefix and verb."""
    routes = APIRouter(prefix="/users", tags=["users"], dependencies=[swagger_login])

    @routes.get("/connected")
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

    @routes.get("")
    async def users(request: Request, after: int = 0, limit: int = 100) -> dict[str, object]:
        """The accounts, by id; go on with `after=` the last one's. Needs the role `admin`."""
        callers.require_admin(request)
        if not 1 <= limit <= _PAGE_MAX or not 0 <= after <= _ID_MAX:
            raise InvalidRequest(f"limit is 1 to {_PAGE_MAX}, and after is an id")
        page = await accounts.page(after, limit)
        return {"users": [as_dict(user) for user in page]}

    @routes.get("/{name:path}")
    async def user(request: Request, name: str) -> dict[str, object]:
        """One account. Needs the role `admin`."""
        callers.require_admin(request)
        return as_dict(await accounts.find(name))

    @routes.put("/{name:path}/roles", openapi_extra=body_of("roles", form=False))
    async def set_roles(request: Request, name: str) -> dict[str, object]:
        """Replace the roles: `{"roles": [...]}`.

        The user's sockets close, and a refresh brings a token with the new roles.
        """
        callers.require_admin(request)
        roles = (await read_fields(request)).get("roles")
        if not isinstance(roles, list):
            raise InvalidRequest("roles: a list of names")
        return as_dict(await accounts.set_roles(name, roles))

    @routes.post("/{name:path}/disable")
    async def disable(request: Request, name: str) -> dict[str, object]:
        """End every login and socket of the user, and allow no new ones. Needs the role `admin`."""
        callers.require_admin(request)
        return as_dict(await accounts.disable(name))

    @routes.post("/{name:path}/enable")
    async def enable(request: Request, name: str) -> dict[str, object]:
        """Let the user log in again. Needs the role `admin`."""
        callers.require_admin(request)
        return as_dict(await accounts.enable(name))

    @routes.post("/{name:path}/logout")
    async def logout(request: Request, name: str) -> dict[str, object]:
        """End every login, token and socket of the user, who may log in again."""
        callers.require_admin(request)
        is_everywhere = await accounts.end_all(name, "admin")
        return {"message": "Logged out successfully", "everywhere": is_everywhere}

    return routes
