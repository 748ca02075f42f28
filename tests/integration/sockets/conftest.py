"""What every test of the socket door needs: a channel of its own, tokens, a gateway at hand."""

import secrets
from collections.abc import AsyncIterator, Iterator

import pytest
from pydantic import SecretStr

from gateway import app as composition
from gateway.app import Gateway, build, create_app
from gateway.settings import Settings
from tests.integration.sockets.in_process import Served, serving
from tests.support.clients import make_token
from tests.support.servers import SECRET, GatewayProcess

BOTH_DOORS = {"test_door", "test_publishing"}
"""What a client sees is the same through both; under ASGI, frames are the server's business."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    is_about_doors = metafunc.module.__name__.rpartition(".")[2] in BOTH_DOORS
    if is_about_doors and "gateway" in metafunc.fixturenames:
        metafunc.parametrize("gateway", ["native", "asgi"], indirect=True, scope="session")


@pytest.fixture(scope="session")
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    door = getattr(request, "param", "native")
    with GatewayProcess(tmp_path_factory.mktemp(door), socket_door=door) as process:
        yield process


@pytest.fixture
def channel() -> str:
    return f"room-{secrets.token_hex(4)}"


@pytest.fixture(scope="session")
def publisher() -> str:
    return make_token("paula", "publisher")


@pytest.fixture(scope="session")
def listener() -> str:
    return make_token("lucas")


@pytest.fixture
def gateway_here(monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """A gateway in the test's own loop; nothing that it closes ends by the passing of time."""
    monkeypatch.setattr(composition, "_spare_the_collector", lambda: None)
    settings = Settings(
        jwt_secret=SecretStr(SECRET),
        sockets_max=2,
        close_timeout_seconds=60,
        outbox_bytes_max=100_000_000,  # the client shares our loop, and may read late
    )
    return build(settings)


@pytest.fixture
async def served_here(gateway_here: Gateway) -> AsyncIterator[Served]:
    async with serving(create_app(gateway_here)) as served:
        yield served
        await served.until_empty()
