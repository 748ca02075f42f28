"""Stopping a replica by a call, for administrators."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from gateway.core.drain_calls import DrainCalls
from gateway.domain.errors import InvalidRequest
from gateway.web import answers
from gateway.web.auth import Callers
from gateway.web.document import answering
from gateway.web.logins import swagger_login

_NAME_MAX = 200

ReplicaName = Annotated[
    str,
    Query(
        description="As `/health` tells it; the one that answers where there is none.",
        json_schema_extra={"maxLength": _NAME_MAX},
    ),
]


def router(calls: DrainCalls, callers: Callers, *, stop_seconds_max: int) -> APIRouter:
    """``stop_seconds_max`` is how long a replica of these settings takes at most."""
    routes = APIRouter(tags=["operate"], dependencies=[swagger_login])

    @routes.post(
        "/drain", **answering(answers.Draining, 401, 403, 404, 409, 422, 429, 503, status=202)
    )
    async def drain(request: Request, replica: ReplicaName = "") -> JSONResponse:
        """Stop a replica in good order: the one that answers, or any other by its name.

        It does what SIGTERM does: no new clients, then sockets closed over a while, then the end
        of the process, which is started anew by whatever watches over it. Needs the role `admin`.
        """
        principal = callers.require_admin(request)
        if len(replica) > _NAME_MAX:
            raise InvalidRequest(f"replica is a name of at most {_NAME_MAX} characters")
        draining = await calls.call(replica, principal.subject)
        answer = {
            "status": "draining",
            **draining._asdict(),
            "ends_within_seconds": stop_seconds_max,
        }
        return JSONResponse(answer, 202)

    return routes
