"""What a balancer, an orchestrator and an operator ask."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from fastapi import APIRouter
from fastapi.responses import JSONResponse

Readiness = Callable[[], str]
Statistics = Callable[[], dict[str, int]]


def router(
    *, replica: str, version: str, redis_used: bool, readiness: Readiness, statistics: Statistics
) -> APIRouter:
    """``readiness`` says why this replica should get no clients right now, "" if it should."""
    routes = APIRouter(tags=["operate"])
    started = time.monotonic()

    @routes.get("/livez")
    async def livez() -> dict[str, str]:
        """Whether the process works at all; restarting helps when this does not answer."""
        return {"status": "live"}

    @routes.get("/readyz")
    async def readyz() -> JSONResponse:
        """Whether this replica should get clients; the balancer asks here."""
        trouble = readiness()
        if trouble:
            return JSONResponse({"status": "not ready", "reason": trouble}, 503)
        return JSONResponse({"status": "ready"})

    @routes.get("/health")
    async def health() -> JSONResponse:
        """How this replica is, for people. 503 while it is not ready."""
        trouble = readiness()
        redis = ("unreachable" if trouble else "connected") if redis_used else "not used"
        return JSONResponse(
            {
                "status": "unhealthy" if trouble else "healthy",
                "redis": redis,
                "replica": replica,
                "version": version,
                "uptime_seconds": int(time.monotonic() - started),
                "timestamp": datetime.now(UTC).isoformat(),
                **statistics(),
            },
            503 if trouble else 200,
        )

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
