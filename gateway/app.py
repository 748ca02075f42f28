"""The composition root: the one place that chooses adapters and wires everything together."""

import asyncio
import gc
import logging
import os
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from pydantic import SecretStr
from starlette.routing import WebSocketRoute

from gateway import __version__
from gateway.adapters.memory.broker import MemoryBroker
from gateway.adapters.memory.presence import MemoryPresence
from gateway.adapters.redis.broker import RedisBroker
from gateway.adapters.redis.connection import Address, connect
from gateway.adapters.redis.keys import Keys
from gateway.adapters.redis.pipe import Pipe
from gateway.adapters.redis.presence import RedisPresence
from gateway.adapters.redis.publisher import Publisher, Retention
from gateway.adapters.redis.subscriber import Subscriber
from gateway.configuration import ConfigurationError
from gateway.core.hub import Hub
from gateway.core.limits import RateLimit
from gateway.core.roster import Roster
from gateway.core.tasks import Tasks
from gateway.core.tokens import SigningKey, TokenIssuer, TokenVerifier
from gateway.core.wheel import Wheel
from gateway.domain.namespaces import Namespace, Namespaces
from gateway.domain.principal import Permissions
from gateway.ports.broker import Broker
from gateway.ports.presence import Presence
from gateway.settings import Settings, SocketDoor
from gateway.sockets.asgi import AsgiDoor
from gateway.sockets.door import PATH_PREFIX, Door
from gateway.sockets.native import DOOR
from gateway.web import ops, problems, publish, users
from gateway.web.auth import authenticator

# A character of a message takes up to six bytes inside JSON.
_JSON_GROWTH = 6

logger = logging.getLogger(__name__)


@dataclass
class Gateway:
    """Everything that lives as long as one replica."""

    settings: Settings
    broker: Broker
    hub: Hub
    roster: Roster
    wheel: Wheel
    tasks: Tasks
    verifier: TokenVerifier
    door: Door

    def statistics(self) -> dict[str, int]:
        hub, sockets = self.hub, self.door.counts
        return {
            "sockets_open": sockets.open,
            "sockets_accepted": sockets.accepted,
            "sockets_refused": sockets.refused,
            "sockets_slow_closed": sockets.slow_closed,
            "sockets_dead_closed": sockets.dead_closed,
            "channels": hub.channel_count,
            "messages_published": hub.counts.published,
            "messages_received": hub.counts.received,
            "messages_delivered": hub.counts.delivered,
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep every long task running inside the block."""
        try:
            async with asyncio.TaskGroup() as group, self.tasks:
                running = [
                    group.create_task(self.broker.run(self.hub.deliver), name="broker"),
                    group.create_task(self.hub.run(), name="hub"),
                    group.create_task(self.roster.run(), name="roster"),
                    group.create_task(self.wheel.run(), name="wheel"),
                ]
                _spare_the_collector()
                yield
                for task in running:
                    task.cancel()
        except ExceptionGroup:
            # A replica that lost one of its tasks would look alive and deliver nothing.
            logger.exception("a part of the gateway failed; this replica stops")
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            await self.broker.close()


def build(settings: Settings) -> Gateway:
    """Choose the adapters and make one gateway; raises `ConfigurationError`."""
    broker, presence = _outside(settings)
    hub = Hub(
        broker,
        Permissions(frozenset(settings.publish_roles)),
        RateLimit(settings.publish_rate_max),
        message_bytes_max=settings.message_bytes_max,
        release_delay_seconds=settings.release_delay_seconds,
    )
    roster = Roster(
        presence,
        replica=settings.replica,
        renew_interval_seconds=settings.lease_seconds / 4,
    )
    verifier = make_verifier(settings)
    wheel, tasks = Wheel(), Tasks()
    door = Door(
        hub=hub,
        roster=roster,
        verifier=verifier,
        wheel=wheel,
        tasks=tasks,
        allowed_origins=frozenset(settings.allowed_origins),
        token_in_url_allowed=settings.token_in_url,
        namespaces=_namespaces(settings),
        compression_offered=settings.compression,
        message_bytes_max=settings.message_bytes_max,
        outbox_bytes_max=settings.outbox_bytes_max,
        sockets_max=settings.sockets_max,
        ping_interval_seconds=settings.ping_interval_seconds,
        ping_timeout_seconds=settings.ping_timeout_seconds,
        close_timeout_seconds=settings.close_timeout_seconds,
    )
    return Gateway(settings, broker, hub, roster, wheel, tasks, verifier, door)


def create_app(gateway: Gateway) -> FastAPI:
    """The HTTP doors and the portable socket door.

    The lifespan state carries the socket door to the native protocol class, which then takes
    its paths before they get here. A host application that mounts this one runs
    `Gateway.running` in its own lifespan, for the lifespan of a mounted application never runs.
    """
    settings = gateway.settings
    state = {DOOR: gateway.door} if settings.socket_door is SocketDoor.NATIVE else {}

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with gateway.running():
            yield state

    app = FastAPI(
        title="Gateway",
        version=__version__,
        lifespan=lifespan,
        docs_url="/docs" if settings.docs_served else None,
        openapi_url="/openapi.json" if settings.docs_served else None,
        redoc_url=None,
    )
    problems.install(app)
    authenticate = authenticator(
        gateway.verifier,
        token_in_url_allowed=settings.token_in_url,
        allowed_origins=frozenset(settings.allowed_origins),
    )
    app.include_router(
        publish.router(
            gateway.hub,
            authenticate,
            request_bytes_max=settings.request_bytes_max,
            batch_messages_max=settings.batch_messages_max,
        )
    )
    app.router.routes.append(
        WebSocketRoute(PATH_PREFIX + "{channel:path}", AsgiDoor(gateway.door), name="listen")
    )
    app.include_router(users.router(gateway.roster, authenticate))
    app.include_router(
        ops.router(
            replica=settings.replica,
            version=__version__,
            redis_used=settings.redis_url is not None,
            readiness=lambda: gateway.broker.trouble,
            statistics=gateway.statistics,
        )
    )
    return app


def _namespaces(settings: Settings) -> Namespaces:
    named = {name: Namespace(given.slow_consumer) for name, given in settings.namespaces.items()}
    return Namespaces(Namespace(settings.slow_consumer), named)


def _spare_the_collector() -> None:
    """What exists now stays for ever, so the collector need not look at it again.

    With 15,000 sockets a full collection holds up every message for tens of milliseconds.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)


def make_verifier(settings: Settings) -> TokenVerifier:
    current = SigningKey(settings.jwt_kid, _secret(settings).encode())
    retired = [
        SigningKey(key.kid, key.secret.get_secret_value().encode(), key.verify_until)
        for key in settings.jwt_retired_keys
    ]
    return TokenVerifier(
        [*retired, current],
        algorithm=settings.jwt_algorithm,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        leeway_seconds=settings.jwt_leeway_seconds,
        lifetime_seconds_max=settings.jwt_lifetime_seconds_max,
    )


def make_issuer(settings: Settings) -> TokenIssuer:
    return TokenIssuer(
        SigningKey(settings.jwt_kid, _secret(settings).encode()),
        algorithm=settings.jwt_algorithm,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        lifetime_seconds_max=settings.jwt_lifetime_seconds_max,
    )


def with_secret(settings: Settings) -> Settings:
    """Make up a secret for this run where that is enough; raises `ConfigurationError` elsewhere."""
    if settings.jwt_secret is not None or not settings.secret_may_be_made_up:
        _secret(settings)
        return settings
    return settings.model_copy(update={"jwt_secret": SecretStr(secrets.token_urlsafe(48))})


def _secret(settings: Settings) -> str:
    if settings.jwt_secret is None:
        raise ConfigurationError(
            "GATEWAY_JWT_SECRET is needed with Redis, on a public address and in production: "
            "openssl rand -base64 48"
        )
    return settings.jwt_secret.get_secret_value()


def _outside(settings: Settings) -> tuple[Broker, Presence]:
    if settings.redis_url is None:
        return (
            MemoryBroker(idempotency_seconds=settings.idempotency_seconds),
            MemoryPresence(replica=settings.replica),
        )
    url = settings.redis_url.get_secret_value()
    try:
        address = Address.parse(url)
    except ValueError as error:
        raise ConfigurationError(f"GATEWAY_REDIS_URL: {error}") from None
    keys = Keys(settings.redis_prefix)
    redis = connect(
        url,
        timeout_seconds=settings.redis_timeout_seconds,
        connections_max=settings.redis_connections_max,
    )
    retention = Retention(
        history_length=settings.history_messages,
        history_seconds=settings.history_seconds,
        state_seconds=settings.position_seconds,
        idempotency_seconds=settings.idempotency_seconds,
    )
    subscriber = Subscriber(
        address,
        redis,
        keys,
        replica=settings.replica,
        timeout_seconds=settings.redis_timeout_seconds,
        ping_interval_seconds=settings.redis_ping_interval_seconds,
        ping_timeout_seconds=settings.redis_ping_timeout_seconds,
        data_bytes_max=settings.message_bytes_max * _JSON_GROWTH,
    )
    presence = RedisPresence(
        redis, keys, replica=settings.replica, lease_seconds=settings.lease_seconds
    )
    pipe = Pipe(address, name=settings.replica, timeout_seconds=settings.redis_timeout_seconds)
    return RedisBroker(redis, Publisher(pipe, keys, retention), subscriber), presence
