"""A gateway that is asked what its own document says it can be asked."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.accounts import TRUSTED, Person
from tests.support.clients import call
from tests.support.servers import GatewayProcess


@pytest.fixture(scope="session")
def documented(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with GatewayProcess(tmp_path_factory.mktemp("documented"), **TRUSTED) as process:
        assert Person(process.http, "bob").register().status == 201  # as the document calls him
        yield process
        assert "Traceback" not in process.log


@pytest.fixture(scope="session")
def document(documented: GatewayProcess) -> dict[str, Any]:
    found: dict[str, Any] = call(documented.http + "/openapi.json").json
    return found
