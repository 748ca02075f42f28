"""The composition root: the one place that chooses the adapters and wires everything together."""

import hashlib
import hmac
from typing import TYPE_CHECKING

from gateway import __version__
from gateway.adapters.memory.limiter import MemoryLimiter
from gateway.configuration import ConfigurationError
from gateway.core.accepting import Accepting
from gateway.core.accounts import Accounts
from gateway.core.archive import Archiver
from gateway.core.attendance import Attendance
from gateway.core.centrifuge.census import Census
from gateway.core.centrifuge.clients import Clients
from gateway.core.centrifuge.emulation import Emulation
from gateway.core.common_time import CommonTime
from gateway.core.drain import Drain
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
from gateway.outside import Store, make_shared
from gateway.protocols.hosts import Hosts
from gateway.replica import Gateway
from gateway.settings import Settings
from gateway.signing import make_api_keys, make_issuer, make_keepers, make_verifier, signing_secret
from gateway.sockets.door import Door
from gateway.sockets.log import SocketLog
from gateway.sockets.room import Room

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
    room = Room(
        drain=draining,
        pace=Pace(settings.handshakes_per_second_max, settings.handshakes_burst_max),
        roster=roster,
        sockets_max=settings.sockets_max,
        sockets_per_user_max=settings.sockets_per_user_max,
        sockets_per_address_max=settings.sockets_per_address_max,
    )
    door = Door(
        hub=hub,
        attendance=attendance,
        room=room,
        drain=draining,
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
