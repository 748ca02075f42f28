"""All replicas at once, for administrators: what the page at /admin asks for."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from gateway.core.accounts import Accounts, as_dict
from gateway.core.overview import CHANNELS_MAX, Overview
from gateway.core.tokens.claims import is_name
from gateway.domain.errors import NotFound
from gateway.web.auth import Callers
from gateway.web.document import answering
from gateway.web.logins import swagger_login

_CHANNELS = 50
_NO_STORE = {"Cache-Control": "no-store"}

# What is answered, for /openapi.json. Nothing is checked against it on the way out: while a
# version is rolled out, what a replica of another one says is shown as it is.

Missing = Annotated[str, Field(description='What is lacking, "" where every replica answered.')]


class Latency(BaseModel):
    """How many deliveries took at most each bound; the last count is of those above all bounds."""

    bounds_seconds: list[float]
    counts: list[int]


class RedisPath(BaseModel):
    used: bool
    troubles: list[str]
    proof_age_seconds: float = Field(
        description="How long ago it was last proved that a message comes back from Redis."
    )
    reconnects: int


class Replica(BaseModel):
    """Counters begin with the process: a rate is their difference by that of `uptime_seconds`."""

    replica: str
    version: str
    uptime_seconds: float
    trouble: str = Field(description='Why it should get no clients, "" while it should.')
    draining: bool
    sockets: int
    users: int
    channels: int
    subscriptions: int
    published: int
    received: int
    deliveries: int
    gaps_announced: int
    latency: Latency
    loop_lag_max_seconds: float
    redis: RedisPath


class Replicas(BaseModel):
    answered_by: str
    missing: Missing
    replicas: list[Replica]


class Channel(BaseModel):
    channel: str
    listeners: int
    epoch: str
    offset: int = Field(description="Of the last message that was delivered; they rise by one.")


class Channels(BaseModel):
    missing: Missing
    channels: list[Channel]


class Account(BaseModel):
    user_id: int
    username: str
    email: str
    roles: list[str]
    disabled: bool
    created_at: float


class Login(BaseModel):
    session_id: str
    started_at: float
    refreshed_at: float
    expires_at: float


class Connection(BaseModel):
    replica: str
    client: str = Field(description='Its id in the Centrifuge protocol; "" for other listeners.')
    session_id: str
    roles: list[str]
    expires_at: int
    channels: list[str]
    channel_count: int


class User(BaseModel):
    user: str
    account: Account | None = Field(description="None where another issuer signs the tokens.")
    logins: list[Login]
    connections: list[Connection]
    missing: Missing


def router(overview: Overview, accounts: Accounts, callers: Callers) -> APIRouter:
    routes = APIRouter(prefix="/admin", tags=["operate"], dependencies=[swagger_login])

    @routes.get("/overview", **answering(Replicas, 401, 403, 503))
    async def replicas(request: Request) -> JSONResponse:
        """How every replica is, and what each has counted. Needs the role `admin`.

        While Redis is away it is the replica that answers alone, and `missing` says so.
        """
        callers.require_admin(request)
        seen = await overview.replicas()
        return _json(answered_by=overview.replica, missing=seen.missing, replicas=seen.answers)

    @routes.get("/channels", **answering(Channels, 401, 403, 422, 503))
    async def channels(
        request: Request,
        pattern: Annotated[
            str, Query(max_length=200, description="`*` stands for anything.")
        ] = "*",
        limit: Annotated[int, Query(ge=1, le=CHANNELS_MAX)] = _CHANNELS,
    ) -> JSONResponse:
        """The channels with the most listeners, on all replicas. Needs the role `admin`.

        Offsets rise by one with each message: who asks twice has the rate. Each replica names its
        200 largest; of more channels the smaller ones may lack listeners.
        """
        callers.require_admin(request)
        seen = await overview.channels(pattern, limit)
        return _json(missing=seen.missing, channels=seen.answers)

    @routes.get("/users/{name:path}", **answering(User, 401, 403, 404, 422, 503))
    async def user(request: Request, name: str) -> JSONResponse:
        """A user's account, logins and connections, on all replicas. Needs the role `admin`.

        Who has no account here may still be connected, with a token of another issuer.
        """
        callers.require_admin(request)
        account, logins = None, []
        try:
            found = await accounts.find(name)
        except NotFound:
            if not is_name(name):
                raise  # no token can name such a user either
        else:
            name, account = found.name, as_dict(found)
            logins = await accounts.logins_of(found)
        seen = await overview.connections_of(name)
        return _json(
            user=name,
            account=account,
            logins=[
                {
                    "session_id": login.id,
                    "started_at": login.started_at,
                    "refreshed_at": login.rotated_at,
                    "expires_at": login.expires_at,
                }
                for login in logins
            ],
            connections=seen.answers,
            missing=seen.missing,
        )

    return routes


def _json(**content: object) -> JSONResponse:
    return JSONResponse(content, headers=_NO_STORE)
