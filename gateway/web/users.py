"""Who is connected, for administrators."""

from fastapi import APIRouter, Request

from gateway.core.roster import Roster
from gateway.web.auth import Authenticate


def router(roster: Roster, authenticate: Authenticate) -> APIRouter:
    routes = APIRouter(prefix="/users", tags=["users"])

    @routes.get("/connected")
    async def connected(request: Request) -> dict[str, object]:
        """Every user with an open socket on any replica. Needs the role `admin`."""
        authenticate(request).require_admin()
        table = await roster.connected()
        return {
            "count": len(table),
            "users": [
                {"user": user, "connections": sum(replicas.values()), "replicas": replicas}
                for user, replicas in table.items()
            ],
        }

    return routes
