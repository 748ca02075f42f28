"""The composition root: the one place that wires everything together."""

import contextlib
import hashlib
import hmac
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from gateway import __version__
from gateway.adapters.memory.limiter import MemoryLimiter
from gateway.configuration import ConfigurationError
from gateway.core.accepting import ACCEPTING, Accepting
from gateway.core.accounts import Accounts
from gateway.core.archive import Archiver
from gateway.core.attendance import Attendance
from gateway.core.centrifuge.census import Census
from gateway.core.centrifuge.clients import Clients
from gateway.core.centrifuge.emulation import Emulation
from gateway.core.common_time import CommonTime
from gateway.core.drain import DRAIN, Drain
from gateway.core.drain_calls import DrainCalls
from gateway.core.hub import Hub
from gateway.core.inbound import Inbound
from gateway.core.limits import RateLimit
from gateway.core.login_limits import LoginLimits
from gateway.core.logins import LoginDesk, LoginTimes
from gateway.core.metrics import HttpCounts, LoopLag
from gateway.core.overview import Overview
from gateway.core.pacing import Pace
from gateway.core.passwords import Passwords
from gateway.core.past import Past
from gateway.core.receipts import Receipts
from gateway.core.revocations import Revocations
from gateway.core.roster import Roster
from gateway.core.server_api.callers import ApiKeys
from gateway.core.server_api.methods import ServerApi
from gateway.core.server_api.nodes import Nodes
from gateway.core.server_api.orders import Orders
from gateway.core.signals import Signals
from gateway.core.surveys import Surveys
from gateway.core.tasks import Tasks
from gateway.core.tickets import TicketOffice
from gateway.core.wheel import Wheel
from gateway.domain.principal import Permissions
from gateway.measures import measures
from gateway.outside import Store, make_shared
from gateway.protocols.hosts import Hosts
from gateway.reload import on_hangup
from gateway.replica import Gateway
from gateway.settings import Settings, SocketDoor
from gateway.signing import make_api_keys, make_issuer, make_keepers, make_verifier, signing_secret
from gateway.sockets.asgi import socket_route
from gateway.sockets.asgi_centrifuge import client_routes
from gateway.sockets.asyncapi import asyncapi_route
from gateway.sockets.door import DOOR, Door
from gateway.sockets.emulation import ClientRequests
from gateway.sockets.log import SocketLog
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

if TYPE_CHECKING:
    from gateway.tracing import Tracing

# What a batch for the archive may hold, if every message is as large as it may be.
_ARCHIVE_BATCH_BYTES = 67_108_864


def build(settings: Settings) -> Gateway:
    """Choose the adapters and make one gateway; raises `ConfigurationError`."""
    namespaces = settings.make_namespaces()
    shared, store = make_shared(settings, namespaces), Store(settings)
    broker = shared.broker
    permissions = Permissions(namespaces)
    allowed_origins = set(settings.allowed_origins)
    publish_rate = RateLimit(settings.publish_rate_max)
    tracing = _make_tracing(settings)
    hub = Hub(
        broker,
        permissions,
        publish_rate,
        message_bytes_max=settings.message_bytes_max,
        release_delay_seconds=settings.release_delay_seconds,
        past=Past(broker, store.archive, namespaces, lambda: store.trouble),
        traced=tracing.delivered if tracing else None,
    )
    archiver = Archiver(
        broker,
        shared.news,
        store.archive,
        namespaces,
        batch_messages=min(
            settings.archive_batch_messages,
            max(_ARCHIVE_BATCH_BYTES // settings.message_bytes_max, 1),
        ),
        interval_seconds=settings.archive_interval_seconds,
        lease_seconds=settings.lease_seconds,
        position_seconds=settings.position_seconds,
    )
    roster = Roster(
        shared.presence,
        replica=settings.replica,
        renew_interval_seconds=settings.lease_seconds / 4,
        connections_max=settings.sockets_per_user_max,
    )
    signals = Signals(broker)
    attendance = Attendance(
        shared.channel_presence,
        signals,
        namespaces,
        permissions,
        hub.notify,
        renew_interval_seconds=settings.lease_seconds / 5,
        leave_delay_seconds=settings.leave_delay_seconds,
    )
    revocations = Revocations(
        store.revocation_log, shared.revocation_log, signals, roster.end_revoked
    )
    keepers = make_keepers(settings)
    verifier = make_verifier(settings, keepers=keepers, check=revocations.check)
    issuer = make_issuer(settings)
    passwords = Passwords(
        threads=settings.password_threads, waiting_max=settings.logins_waiting_max
    )
    common_time = CommonTime(shared.clock, tolerated_seconds=settings.jwt_leeway_seconds)
    accounts = Accounts(
        store.users,
        store.logins,
        passwords,
        revocations,
        token_seconds_max=settings.token_seconds_max,
        latest=common_time.latest,
    )
    desk = LoginDesk(
        store.users,
        store.logins,
        accounts,
        passwords,
        LoginLimits(
            shared.limiter,
            MemoryLimiter(),
            secret=hmac.digest(signing_secret(settings), b"login limits", hashlib.sha256),
        ),
        revocations,
        issuer,
        verifier,
        LoginTimes(
            access_token=settings.access_token_seconds,
            refresh_token=settings.refresh_token_seconds,
            refresh_grace=settings.refresh_grace_seconds,
            leeway=settings.jwt_leeway_seconds,
        ),
    )
    tickets = TicketOffice(shared.tickets, lifetime_seconds=settings.ticket_seconds)
    wheel, tasks = Wheel(), Tasks()
    draining = Drain(
        roster,
        attendance.hand_over,
        pause_seconds=settings.pause_seconds_at_stop,
        closing_seconds=settings.closing_seconds_at_stop,
        returns_per_second=settings.handshakes_per_second_max,
    )

    def trouble() -> str:
        return broker.trouble or revocations.stale

    surveys, census = Surveys(signals, tasks), Census(hub, signals, tasks)
    clients = Clients(
        hub=hub,
        permissions=permissions,
        namespaces=namespaces,
        verifier=verifier,
        attendance=attendance,
        census=census,
        wheel=wheel,
        check=revocations.check,
        trouble=trouble,
        version=__version__,
        ping_interval_seconds=settings.ping_interval_seconds,
        ping_timeout_seconds=settings.ping_timeout_seconds,
        history_page_max=settings.history_page_max,
    )
    door = Door(
        hub=hub,
        roster=roster,
        attendance=attendance,
        drain=draining,
        pace=Pace(settings.handshakes_per_second_max, settings.handshakes_burst_max),
        verifier=verifier,
        tickets=tickets,
        check=revocations.check,
        trouble=trouble,
        trouble_of=broker.trouble_of,
        wheel=wheel,
        tasks=tasks,
        trusted_networks=settings.trusted_networks,
        hosts=Hosts(settings.hosts),
        allowed_origins=allowed_origins,
        token_in_url_allowed=settings.token_in_url,
        namespaces=namespaces,
        clients=clients,
        compression_offered=settings.compression,
        message_bytes_max=settings.message_bytes_max,
        outbox_bytes_max=settings.outbox_bytes_max,
        sockets_max=settings.sockets_max,
        sockets_per_user_max=settings.sockets_per_user_max,
        sockets_per_address_max=settings.sockets_per_address_max,
        ping_interval_seconds=settings.ping_interval_seconds,
        ping_timeout_seconds=settings.ping_timeout_seconds,
        close_timeout_seconds=settings.close_timeout_seconds,
        expiry_notice_seconds=settings.expiry_notice_seconds,
        history_page_max=settings.history_page_max,
        log=SocketLog() if settings.socket_log else None,
    )
    loop_lag = LoopLag()
    gateway = Gateway(
        settings=settings,
        broker=broker,
        inbound=Inbound(hub, signals, [revocations.connected, attendance.connected]),
        hub=hub,
        archiver=archiver,
        roster=roster,
        attendance=attendance,
        accepting=Accepting(),
        drain=draining,
        drain_calls=DrainCalls(draining, signals, tasks, replica=settings.replica),
        wheel=wheel,
        tasks=tasks,
        keepers=keepers,
        verifier=verifier,
        issuer=issuer,
        namespaces=namespaces,
        allowed_origins=allowed_origins,
        api_keys=ApiKeys(make_api_keys(settings)),
        publish_rate=publish_rate,
        permissions=permissions,
        store=store,
        passwords=passwords,
        revocations=revocations,
        common_time=common_time,
        accounts=accounts,
        logins=desk,
        tickets=tickets,
        receipts=Receipts(hub, signals, tasks),
        emulation=Emulation(signals, tasks),
        server_api=ServerApi(
            hub,
            broker,
            attendance,
            census,
            permissions,
            namespaces,
            Orders(roster, surveys, session_seconds_max=settings.jwt_lifetime_seconds_max),
            Nodes(hub, roster, surveys, replica=settings.replica, version=__version__),
            batch_messages_max=settings.batch_messages_max,
            history_page_max=settings.history_page_max,
        ),
        overview=Overview(
            hub,
            roster,
            broker,
            draining,
            loop_lag,
            surveys,
            trouble=lambda: gateway.trouble,
            redis_used=settings.redis_url is not None,
            replica=settings.replica,
            version=__version__,
        ),
        door=door,
        http_counts=HttpCounts(),
        loop_lag=loop_lag,
        tracing=tracing,
        runners=[tracing.run] if tracing else [],
    )
    return gateway


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


def _make_tracing(settings: Settings) -> "Tracing | None":
    if not settings.tracing:
        return None
    try:
        from gateway.tracing import Tracing
    except ImportError:
        raise ConfigurationError(
            "GATEWAY_TRACING needs OpenTelemetry: pip install 'gateway[otel]'"
        ) from None
    return Tracing(settings.replica)
