"""A gateway with keys for its server API, and libraries that call it."""

import asyncio
import hashlib
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from cent import Client

from tests.support.clients import Answer, call
from tests.support.servers import GatewayProcess

KEY = "a-key-for-everything-0123456789-abcdefghijkl"
SHOP_KEY = "a-key-of-the-shop-0123456789-abcdefghijklmno"
WATCH_KEY = "a-key-to-watch-0123456789-abcdefghijklmnopqr"

CONFIG = f"""
unknown_namespaces = "refuse"

[namespaces.shop]
[namespaces.closed]
publish = "nobody"
[namespaces.bare]
history_messages = 0
presence = false
[namespaces.members]
subscribe = ["member"]
[namespaces.chat]
publish = "any"

[[api_keys]]
name = "shop"
key_sha256 = "{hashlib.sha256(SHOP_KEY.encode()).hexdigest()}"
channels = ["shop:*"]

[[api_keys]]
name = "watcher"
key_sha256 = "{hashlib.sha256(WATCH_KEY.encode()).hexdigest()}"
methods = ["info", "channels", "presence"]
"""


def write_config(directory: Path) -> Path:
    path = directory / "gateway.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    directory = tmp_path_factory.mktemp("api")
    settings = {"config": write_config(directory), "api_key": KEY, "api_key_in_url": "true"}
    settings["log_level"] = "debug"  # no key is to be in there either
    with GatewayProcess(directory, **settings) as process:
        yield process


@pytest.fixture
def cent(gateway: GatewayProcess) -> Iterator[Client]:
    client = Client(f"{gateway.http}/api", KEY, timeout=10)
    yield client
    client.close()


@pytest.fixture
def channel() -> str:
    return f"room-{secrets.token_hex(4)}"


def ask(
    gateway: GatewayProcess,
    method: str,
    params: object = None,
    *,
    key: str | None = KEY,
    headers: Mapping[str, str] | None = None,
    **kwargs: Any,
) -> Answer:
    """One call, as a program without a library makes it."""
    all_headers = {**({"X-API-Key": key} if key else {}), **(headers or {})}
    body = {} if params is None else params
    return call(f"{gateway.http}/api/{method}", json_body=body, headers=all_headers, **kwargs)


async def result(gateway: GatewayProcess, method: str, **params: object) -> Any:
    answer = await asyncio.to_thread(ask, gateway, method, params)
    assert answer.status == 200, answer
    assert "error" not in answer.json, answer.json
    return answer.json["result"]


def error(gateway: GatewayProcess, method: str, params: object, **kwargs: Any) -> tuple[int, str]:
    answer = ask(gateway, method, params, **kwargs)
    assert answer.status == 200, answer
    return answer.json["error"]["code"], answer.json["error"]["message"]
