"""What every test of the socket door needs: a channel of its own, tokens, a gateway at hand."""

import secrets
from collections.abc import AsyncIterator, Iterator

import pytest
from pydantic import SecretStr

from gateway import replica
from gateway.app import build, create_app
from gateway.replica import Gateway
from gateway.settings import Settings, SocketDoor
from tests.integration.sockets.in_process import Served, serving
from tests.support.clients import make_token
from tests.support.servers import SECRET, GatewayProcess


@pytest.fixture(scope="session", params=["native", "asgi"])
def door(request: pytest.FixtureRequest) -> str:
    """Every test sees both doors; a module that is about one of them says so, and why."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def gateway(door: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
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
def gateway_here(door: str, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """A gateway in the test's own loop; nothing that it closes ends by the passing of time."""
    monkeypatch.setattr(replica, "_spare_the_collector", lambda: None)
    settings = Settings(
        jwt_secret=SecretStr(SECRET),
        database_url=SecretStr("sqlite://"),
        socket_door=SocketDoor(door),
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
