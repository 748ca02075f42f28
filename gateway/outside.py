"""The adapters: which ones the settings ask for, and the connections that they share."""

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path

from gateway.adapters.memory.broker import MemoryBroker
from gateway.adapters.memory.channel_presence import MemoryChannelPresence
from gateway.adapters.memory.limiter import MemoryLimiter
from gateway.adapters.memory.news import MemoryNews
from gateway.adapters.memory.presence import MemoryPresence
from gateway.adapters.memory.tickets import MemoryTickets
from gateway.adapters.redis.assembly import Assembly
from gateway.adapters.redis.keys import Keys
from gateway.adapters.redis.places.topology import Topology, parse_topology
from gateway.adapters.redis.shared.channel_presence import RedisChannelPresence
from gateway.adapters.redis.shared.common_clock import RedisClock
from gateway.adapters.redis.shared.limiter import RedisLimiter
from gateway.adapters.redis.shared.news import RedisNews
from gateway.adapters.redis.shared.presence import RedisPresence
from gateway.adapters.redis.shared.revocation_log import RedisRevocationLog
from gateway.adapters.redis.shared.tickets import RedisTickets
from gateway.configuration import ConfigurationError
from gateway.domain.errors import Unavailable
from gateway.domain.namespaces import Namespaces
from gateway.ports.archive import Archive
from gateway.ports.broker import Broker
from gateway.ports.channel_presence import ChannelPresence
from gateway.ports.common_clock import CommonClock
from gateway.ports.limiter import Limiter
from gateway.ports.logins import Logins
from gateway.ports.news import News
from gateway.ports.presence import Presence
from gateway.ports.revocation_log import RevocationLog
from gateway.ports.tickets import Tickets
from gateway.ports.users import Users
from gateway.settings import Settings

# A character of a message takes up to six bytes inside JSON.
_JSON_GROWTH = 6
_DATABASE_FILE = Path("gateway.db")
_RETRY_SECONDS = 2.0
# The rest of the time is for those who find out that a lease is over, and clean up.
_LEASE_SHARE = 0.6

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shared:
    """What replicas share through Redis, or what a replica that is alone has for itself."""

    broker: Broker
    presence: Presence
    channel_presence: ChannelPresence
    limiter: Limiter
    tickets: Tickets
    revocation_log: RevocationLog | None
    clock: CommonClock | None
    news: News


def make_shared(settings: Settings, namespaces: Namespaces) -> Shared:
    """Raises `ConfigurationError`."""
    if settings.redis_url is None:
        memory_news = MemoryNews()
        return Shared(
            MemoryBroker(
                namespaces,
                idempotency_seconds=settings.idempotency_seconds,
                position_seconds=settings.position_seconds,
                news=memory_news,
            ),
            MemoryPresence(replica=settings.replica),
            MemoryChannelPresence(),
            MemoryLimiter(),
            MemoryTickets(),
            None,
            None,
            memory_news,
        )
    try:
        topology = parse_topology(settings.redis_url.get_secret_value())
    except ValueError as error:
        raise ConfigurationError(f"GATEWAY_REDIS_URL: {error}") from None
    return _make_shared_by_redis(settings, namespaces, topology)


def _make_shared_by_redis(settings: Settings, namespaces: Namespaces, topology: Topology) -> Shared:
    keys, replica = Keys(settings.redis_prefix), settings.replica
    lease_seconds = settings.lease_seconds
    broker, redis_for, redis_of, presence_pipe = Assembly(
        keys,
        namespaces,
        replica,
        timeout_seconds=settings.redis_timeout_seconds,
        connections_max=settings.redis_connections_max,
        ping_interval_seconds=settings.redis_ping_interval_seconds,
        ping_timeout_seconds=settings.redis_ping_timeout_seconds,
        data_bytes_max=settings.message_bytes_max * _JSON_GROWTH,
        position_seconds=settings.position_seconds,
        idempotency_seconds=settings.idempotency_seconds,
    ).assemble(topology)
    channel_presence = RedisChannelPresence(
        redis_for(keys.presence),
        presence_pipe,
        keys,
        replica=replica,
        lease_seconds=lease_seconds * _LEASE_SHARE,
        redis_of=redis_of,
    )
    news = RedisNews(
        redis_for(keys.archive_marks),
        keys,
        lease_seconds=lease_seconds,
        mark_seconds=settings.position_seconds,
    )
    revocations_redis = redis_for(keys.revocations)
    return Shared(
        broker,
        RedisPresence(redis_for(keys.replicas), keys, replica=replica, lease_seconds=lease_seconds),
        channel_presence,
        RedisLimiter(redis_for(keys.bucket("")), keys),
        RedisTickets(redis_for(keys.ticket("")), keys),
        RedisRevocationLog(revocations_redis, keys),
        RedisClock(revocations_redis),
        news,
    )


class Store:
    """The database of accounts; nothing is opened before it is used."""

    def __init__(self, settings: Settings) -> None:
        """Raises `ConfigurationError` for a URL that cannot be used."""
        # Loading these takes longer than everything else that a short command does.
        from gateway.adapters.sql.archive import SqlArchive
        from gateway.adapters.sql.engine import Database
        from gateway.adapters.sql.logins import SqlLogins
        from gateway.adapters.sql.revocation_log import SqlRevocationLog
        from gateway.adapters.sql.users import SqlUsers

        try:
            self.database: Database = Database(
                database_url(settings), timeout_seconds=settings.database_timeout_seconds
            )
        except ValueError as error:
            raise ConfigurationError(f"GATEWAY_DATABASE_URL: {error}") from None
        self.users: Users = SqlUsers(self.database)
        self.logins: Logins = SqlLogins(self.database)
        self.revocation_log: RevocationLog = SqlRevocationLog(self.database)
        self.archive: Archive = SqlArchive(self.database)
        is_file = self.database.kind == "sqlite"
        # Nobody but this gateway looks after a file of its own.
        asked = settings.database_migrate
        self._migrates = is_file if asked is None else asked
        self.trouble = "the database has not been opened yet"

    async def open(self) -> bool:
        """Bring the tables up to date where that is asked for; False while it is not ready."""
        from gateway.adapters.sql.migrate import MigrationFailed, pending, upgrade

        try:
            if self._migrates:
                for step in await upgrade(self.database):
                    logger.info("database: applied %s", step)
            elif await pending(self.database):
                raise MigrationFailed("its tables are missing or old; run: gateway db upgrade")
        except (Unavailable, MigrationFailed) as error:
            trouble = f"the database is not ready: {error}"
            if trouble != self.trouble:
                logger.warning(trouble)
            self.trouble = trouble
            return False
        self.trouble = ""
        return True

    async def wait(self) -> None:
        """Return once the database is ready; tries for as long as it takes."""
        while True:
            if await self.open():
                return
            await asyncio.sleep(_RETRY_SECONDS)

    async def close(self) -> None:
        await self.database.close()


def database_url(settings: Settings) -> str:
    if settings.database_url is None:
        return f"sqlite:///{_DATABASE_FILE}"
    return settings.database_url.get_secret_value()
