"""Gateways that believe an address that a test claims to have."""

from collections.abc import Iterator

import pytest

from tests.support.accounts import TRUSTED, Person, member
from tests.support.servers import GatewayProcess


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """One replica with an SQLite file, for tests about accounts; it logs all that it can."""
    directory = tmp_path_factory.mktemp("desk")
    with GatewayProcess(directory, log_level="debug", **TRUSTED) as process:
        yield process
        assert "Traceback" not in process.log


@pytest.fixture
def alice(desk: GatewayProcess) -> Person:
    """Somebody with an account and a login of its own."""
    return member(desk.http)
