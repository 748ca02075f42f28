"""The parts that commands share with a gateway."""

import logging
from pathlib import Path

import pytest

from gateway.cli.wiring import database_file, opened_accounts, opened_store
from gateway.configuration import ConfigurationError, load
from gateway.domain.errors import Unavailable


@pytest.mark.parametrize(
    ("url", "path"),
    [
        (None, "gateway.db"),
        ("sqlite:///relative/a.db", "relative/a.db"),
        ("sqlite:////absolute/a.db", "/absolute/a.db"),
        ("mariadb://gateway:secret@host/gateway", None),
    ],
    ids=["default", "relative", "absolute", "server"],
)
def test_a_file_is_known_without_being_opened(url: str | None, path: str | None) -> None:
    found = database_file(load(database_url=url))
    assert found == (None if path is None else Path(path))


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "oracle://host/x"])
def test_what_another_process_cannot_reach_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        database_file(load(database_url=url))


async def test_accounts_may_be_opened_twice_at_once() -> None:
    async with opened_accounts(load()) as one, opened_accounts(load()) as other:
        await one.add("alice", "correct horse")
        assert (await other.find("alice")).name == "alice"


async def test_accounts_behind_old_tables_do_not_open() -> None:
    with pytest.raises(Unavailable, match="gateway db upgrade"):
        async with opened_accounts(load(database_migrate=False)):
            pass


async def test_a_revocation_outlives_every_token_that_it_means() -> None:
    settings = load(jwt_lifetime_seconds_max=1000, jwt_leeway_seconds=50)
    async with opened_accounts(settings) as accounts:
        await accounts.end_all("alice", "admin")
    async with opened_store(settings) as store:
        (revocation,) = await store.revocation_log.live(0)
    assert revocation.expires_at >= revocation.before + 1000 + 50


async def test_nothing_stays_behind_in_the_log() -> None:
    logger = logging.getLogger("gateway")
    before = list(logger.handlers)
    async with opened_accounts(load()):
        assert len(logger.handlers) == len(before) + 1
    assert logger.handlers == before
