"""A gateway whose namespaces differ, and tokens."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clients import make_token
from tests.support.servers import GatewayProcess

CONFIG = """
[namespaces.chat]
join_leave = true
publish = "any"

[namespaces.bare]
history_messages = 0
presence = false

[namespaces.short]
history_messages = 2

[namespaces.long]
history_messages = 1000

[namespaces.closed]
subscribe = "nobody"

[namespaces.secret]
see_history = ["admin"]
see_presence = ["admin"]

[namespaces.delta]
delta = "fossil"

[namespaces.shy]
join_leave = true
force_push_join_leave = false

[namespaces.cache]
force_recovery_mode = "cache"

[namespaces.mine]
personal_channel = true
"""


def write_config(directory: Path) -> Path:
    path = directory / "gateway.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope="session", params=["native", "asgi"])
def door(request: pytest.FixtureRequest) -> str:
    """Every test sees both doors; a module that is about one of them says so, and why."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def gateway(door: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    directory = tmp_path_factory.mktemp("centrifuge")
    settings = {"config": write_config(directory), "socket_door": door}
    with GatewayProcess(directory, **settings) as process:
        yield process


@pytest.fixture
def ws(gateway: GatewayProcess) -> str:
    return gateway.ws


@pytest.fixture
def channel() -> str:
    return f"room-{secrets.token_hex(4)}"


@pytest.fixture
def publisher() -> str:
    return make_token("paula", "publisher")
