"""What a balancer, an orchestrator and an operator ask."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from gateway.domain.errors import Unavailable
from gateway.web import answers
from gateway.web.document import answering

Readiness = Callable[[], str]
Troubles = Callable[[], Sequence[str]]
Statistics = Callable[[], dict[str, int]]
CountLogins = Callable[[], Awaitable[int]]
Jwks = Callable[[], Mapping[str, Any]]

_COUNT_SECONDS = 1.0


class _LoginCount:
    """Asks the database at most once a second, whoever asks us how often."""

    def __init__(self, count: CountLogins) -> None:
        self._count = count
        self._lock = asyncio.Lock()
        self._value: int | None = None
        self._until = 0.0

    async def value(self) -> int | None:
        """None while the database does not answer."""
        async with self._lock:
            if time.monotonic() >= self._until:
                try:
                    self._value = await self._count()
                except Unavailable:
                    self._value = None
                self._until = time.monotonic() + _COUNT_SECONDS
            return self._value


def router(
    *,
    replica: str,
    version: str,
    redis_used: bool,
    readiness: Readiness,
    redis_trouble: Readiness,
    redis_troubles: Troubles,
    statistics: Statistics,
    count_logins: CountLogins,
    jwks: Jwks,
) -> APIRouter:
    """``readiness`` says why this replica should get no clients right now, "" if it should."""
    routes = APIRouter(tags=["operate"])
    started = time.monotonic()
    login_count = _LoginCount(count_logins)

    @routes.get("/livez", **answering(answers.Live))
    async def livez() -> dict[str, str]:
        """Whether the process works at all; restarting helps when this does not answer."""
        return {"status": "live"}

    @routes.get("/readyz", **_answering_always(answers.Ready))
    async def readyz() -> JSONResponse:
        """Whether this replica should get clients; the balancer asks here."""
        trouble = readiness()
        if trouble:
            return JSONResponse({"status": "not ready", "reason": trouble}, 503)
        return JSONResponse({"status": "ready"})

    @routes.get("/health", **_answering_always(answers.Health))
    async def health() -> JSONResponse:
        """How this replica is, for people. 503 while it is not ready."""
        trouble = readiness()
        troubles = list(redis_troubles())
        redis = "not used"
        if redis_used:
            lost = "unreachable" if redis_trouble() else "partly unreachable"
            redis = lost if troubles else "connected"
        logins = await login_count.value()
        return JSONResponse(
            {
                "status": "unhealthy" if trouble else "healthy",
                "reason": trouble or None,
                "database": "unreachable" if logins is None else "connected",
                "redis": redis,
                "redis_troubles": troubles,
                "live_tokens": logins,
                "redis_tokens": logins,  # the name that clients of older services look for
                "replica": replica,
                "version": version,
                "uptime_seconds": int(time.monotonic() - started),
                "timestamp": datetime.now(UTC).isoformat(),
                **statistics(),
            },
            503 if trouble else 200,
        )

    @routes.get("/.well-known/jwks.json", **answering(answers.Keys))
    async def keys() -> JSONResponse:
        """The public keys that verify our tokens (RFC 7517); none where a secret signs them."""
        return JSONResponse(dict(jwks()), headers={"Cache-Control": "public, max-age=300"})

    @routes.get("/ws/{channel:path}", include_in_schema=False)
    async def not_a_socket(channel: str) -> JSONResponse:
        # A plain GET of the socket's address: somebody pasted it into a browser or into curl.
        return JSONResponse(
            {
                "type": "urn:gateway:problem:upgrade_required",
                "title": "Upgrade Required",
                "status": 426,
                "code": "upgrade_required",
                "detail": "this address speaks WebSocket; use a WebSocket client",
            },
            426,
            {"Upgrade": "websocket", "Connection": "Upgrade"},
            media_type="application/problem+json",
        )

    return routes


def _answering_always(model: type[BaseModel]) -> dict[str, Any]:
    """Also a replica that is not ready says how it is, in the same form."""
    documented = answering(model)
    documented["responses"][503] = {"model": model, "description": "This replica is not ready."}
    return documented
