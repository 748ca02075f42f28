"""The HTTP doors of one gateway, and the portable socket doors: an ASGI application."""

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI

from gateway import __version__
from gateway.composition import build
from gateway.core.accepting import ACCEPTING
from gateway.core.drain import DRAIN
from gateway.measures import measures
from gateway.reload import on_hangup
from gateway.replica import Gateway
from gateway.settings import SocketDoor
from gateway.sockets.asgi import socket_route
from gateway.sockets.asgi_centrifuge import client_routes
from gateway.sockets.asyncapi import asyncapi_route
from gateway.sockets.door import DOOR
from gateway.sockets.emulation import ClientRequests
from gateway.sockets.sse import EventStream
from gateway.web import (
    accounts,
    admin,
    api,
    authz,
    channels,
    document,
    drain,
    logins,
    metrics,
    ops,
    page,
    problems,
    publish,
    sse,
    users,
)
from gateway.web.access import Access
from gateway.web.api import ApiCallers
from gateway.web.auth import Callers
from gateway.web.borders import KnownHosts, ListedPages
from gateway.web.metrics import Exposition
from gateway.web.metrics_port import MetricsPort

__all__ = ["build", "create_app"]  # whoever mounts the gateway needs both


def create_app(gateway: Gateway, reload: Callable[[], None] | None = None) -> FastAPI:
    """The HTTP doors and the portable socket door.

    The lifespan state carries the socket door to the native protocol class, which then takes
    its paths before they get here. A host application that mounts this one runs
    `Gateway.running` in its own lifespan, for the lifespan of a mounted application never runs.
    ``reload`` is what SIGHUP does; without it the signal is left to the host.
    """
    settings = gateway.settings
    state: dict[str, Any] = {DRAIN: gateway.drain, ACCEPTING: gateway.accepting}
    if settings.socket_door is SocketDoor.NATIVE:
        state[DOOR] = gateway.door

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        hangup = contextlib.nullcontext() if reload is None else on_hangup(reload)
        async with gateway.running():
            with hangup:
                yield state

    app = FastAPI(
        title="Gateway",
        version=__version__,
        lifespan=lifespan,
        docs_url="/docs" if settings.docs_served else None,
        openapi_url="/openapi.json" if settings.docs_served else None,
        redoc_url=None,
        redirect_slashes=False,  # the framework makes the address of the Host that was claimed
        # It would write down whole URLs, and with them the tokens of browsers.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    problems.install(app, gateway.http_counts.refusals)
    document.install(app)
    # The last one sees a request first.
    app.add_middleware(ListedPages, allowed_origins=gateway.allowed_origins)
    if not gateway.door.hosts.is_any:
        app.add_middleware(KnownHosts, hosts=gateway.door.hosts)
    app.add_middleware(
        Access,
        counts=gateway.http_counts,
        is_logged=settings.access_log,
        hsts_seconds=settings.browsers_insist_seconds,
        trusted_networks=settings.trusted_networks,
    )
    if settings.metrics_served:
        _add_metrics(app, gateway)
    callers = Callers(
        gateway.verifier,
        token_in_url_allowed=settings.token_in_url,
        allowed_origins=gateway.allowed_origins,
        trusted_networks=settings.trusted_networks,
    )
    app.include_router(
        publish.router(
            gateway.hub,
            gateway.receipts,
            callers.authenticate,
            request_bytes_max=settings.request_bytes_max,
            batch_messages_max=settings.batch_messages_max,
            publishing=gateway.tracing.publishing if gateway.tracing else None,
        )
    )
    api_callers = ApiCallers(
        gateway.api_keys,
        callers.authenticate,
        key_in_url_allowed=settings.api_key_in_url,
    )
    app.include_router(
        api.router(
            gateway.server_api,
            api_callers.identify,
            request_bytes_max=settings.request_bytes_max,
        )
    )
    app.include_router(
        channels.router(
            gateway.hub,
            gateway.attendance,
            callers.authenticate,
            history_page_max=settings.history_page_max,
        )
    )
    if settings.docs_served:
        app.router.routes.append(asyncapi_route(__version__))
    app.router.routes.append(socket_route(gateway.door))
    app.router.routes += client_routes(gateway.door)
    app.router.routes += ClientRequests(gateway.door, gateway.emulation).routes()
    app.include_router(sse.router(partial(EventStream, gateway.door)))
    app.include_router(
        logins.router(
            gateway.logins,
            gateway.tickets,
            gateway.issuer,
            callers,
            is_demo=settings.demo,
            demo_token_seconds=settings.jwt_lifetime_seconds_max,
        )
    )
    app.include_router(
        accounts.router(
            gateway.accounts,
            gateway.logins,
            callers,
            registration_roles=settings.registration_roles if settings.registration else None,
        )
    )
    app.include_router(users.router(gateway.roster, gateway.accounts, callers))
    app.include_router(
        drain.router(gateway.drain_calls, callers, stop_seconds_max=settings.stop_seconds_max)
    )
    app.include_router(admin.router(gateway.overview, gateway.accounts, callers))
    app.include_router(authz.router(gateway.verifier, gateway.permissions, callers))
    app.include_router(
        ops.router(
            replica=settings.replica,
            version=__version__,
            redis_used=settings.redis_url is not None,
            readiness=lambda: gateway.trouble,
            redis_trouble=lambda: gateway.broker.trouble,
            redis_troubles=lambda: gateway.broker.troubles,
            statistics=gateway.statistics,
            count_logins=gateway.logins.count_live,
            jwks=gateway.verifier.jwks,
        )
    )
    pages = {"/": "index.html"} if settings.page_served else {}
    if settings.admin_page_served:
        pages["/admin"] = "admin.html"
    if pages:
        app.include_router(
            page.router(pages, is_demo=settings.demo, registration=settings.registration)
        )
    return app


def _add_metrics(app: FastAPI, gateway: Gateway) -> None:
    """Serve what is measured: on a port of its own where there is one, and nowhere else then."""
    settings = gateway.settings
    exposition = Exposition(lambda: measures(gateway))
    if settings.metrics_port:
        host = settings.host if settings.metrics_host is None else settings.metrics_host
        port, count = settings.metrics_port, settings.workers
        gateway.runners.append(MetricsPort(exposition.text, host=host, port=port, count=count).run)
    else:
        app.include_router(metrics.router(exposition, is_shared=settings.workers > 1))
