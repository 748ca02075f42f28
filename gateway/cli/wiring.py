"""The few parts of a gateway that some commands need, wired together.

Loading this takes long; commands import it when they are run.
"""

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from gateway.cli.output import printable
from gateway.configuration import ConfigurationError
from gateway.core.accounts import Accounts
from gateway.core.common_time import CommonTime
from gateway.core.explain import Explanation, explain
from gateway.core.passwords import Passwords
from gateway.core.revocations import Revocations
from gateway.core.signals import Signals
from gateway.domain.errors import InvalidToken, Unavailable
from gateway.domain.namespaces import Namespaces
from gateway.domain.principal import Permissions, Principal
from gateway.domain.revocations import Revocation
from gateway.outside import Store, database_url, make_shared
from gateway.settings import Settings
from gateway.signing import make_keepers, make_verifier

_NO_CHANNELS = Namespaces()


@contextlib.asynccontextmanager
async def opened_store(settings: Settings) -> AsyncIterator[Store]:
    """The database as it is, with its tables or without; raises `ConfigurationError`."""
    database_file(settings)
    store = Store(settings)
    try:
        with _warnings_shown():
            yield store
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def opened_accounts(settings: Settings) -> AsyncIterator[Accounts]:
    """The accounts in the database; what is taken from them is told to running gateways by Redis.

    Raises `ConfigurationError`, or `Unavailable` for a database that is away or not up to date.
    """
    async with opened_store(settings) as store:
        if not await store.open():
            raise Unavailable(store.trouble)
        shared = make_shared(settings, _NO_CHANNELS)
        revocations = Revocations(
            store.revocation_log, shared.revocation_log, Signals(shared.broker), _end_nothing
        )
        common_time = CommonTime(shared.clock, tolerated_seconds=settings.jwt_leeway_seconds)
        try:
            with contextlib.suppress(Unavailable):  # whatever needs Redis says so itself
                await common_time.look()
            with Passwords() as passwords:
                yield Accounts(
                    store.users,
                    store.logins,
                    passwords,
                    revocations,
                    token_seconds_max=settings.token_seconds_max,
                    latest=common_time.latest,
                )
        finally:
            await shared.broker.close()


async def explained(
    settings: Settings, token: str, channel: str | None
) -> tuple[Explanation, list[str]]:
    """What a replica with these settings says of a token, and what could not be looked up."""
    revoked, troubles = await _read_revocations(settings)
    keepers = make_keepers(settings)
    with _warnings_shown():
        await asyncio.gather(*(keeper.refresh() for keeper in keepers))

    def check(principal: Principal) -> None:
        for revocation in revoked or ():
            if revocation.means(principal):
                raise InvalidToken(f"the token has been revoked: {revocation.reason}")

    verifier = make_verifier(settings, keepers=keepers, check=None if revoked is None else check)
    permissions = Permissions(settings.make_namespaces())
    return explain(verifier, permissions, token, channel), troubles


def database_file(settings: Settings) -> Path | None:
    """The file of a SQLite database, whether it is there or not; None for other databases.

    Raises `ConfigurationError`.
    """
    from gateway.adapters.sql.address import parse

    try:
        address, _ = parse(database_url(settings))
    except ValueError as error:
        raise ConfigurationError(f"GATEWAY_DATABASE_URL: {error}") from None
    if address.get_backend_name() != "sqlite":
        return None
    if address.database in (None, "", ":memory:"):
        raise ConfigurationError(
            "GATEWAY_DATABASE_URL: a database in memory is seen by the gateway's process alone"
        )
    return Path(str(address.database))


async def _read_revocations(settings: Settings) -> tuple[list[Revocation] | None, list[str]]:
    """What is revoked, None if nobody could be asked; and who could not, and why."""
    places = {"the database": _revocations_of_database}
    if settings.redis_url is not None:
        places["Redis"] = _revocations_of_redis
    revoked: list[Revocation] | None = None
    troubles = []
    for place, read in places.items():
        try:
            revoked = [*(revoked or ()), *await read(settings)]
        except Unavailable as trouble:
            troubles.append(f"revocations in {place} are not looked up: {trouble.detail}")
    return revoked, troubles


async def _revocations_of_database(settings: Settings) -> list[Revocation]:
    from gateway.adapters.sql.migrate import pending

    path = database_file(settings)
    if path is not None and not path.exists():
        raise Unavailable(f"there is no file {path}")  # and asking would make one
    async with opened_store(settings) as store:
        if await pending(store.database):
            raise Unavailable("its tables are missing or old")
        return await store.revocation_log.live(time.time())


async def _revocations_of_redis(settings: Settings) -> list[Revocation]:
    shared = make_shared(settings, _NO_CHANNELS)
    try:
        assert shared.revocation_log is not None
        return await shared.revocation_log.live(time.time())
    finally:
        await shared.broker.close()


def _end_nothing(revocation: Revocation) -> None:
    """No socket is open in this process."""


@contextlib.contextmanager
def _warnings_shown() -> Iterator[None]:
    """Show what the core warns of, as a command's own words.

    Others are silent: what they warn of is what the command stops with.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine())
    handler.addFilter(logging.Filter("gateway.core"))
    logger = logging.getLogger("gateway")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"gateway: {printable(record.getMessage())}"
