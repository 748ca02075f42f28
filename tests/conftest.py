"""Fixtures that several folders use."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.databases import mariadb_server as mariadb_server
from tests.support.databases import postgres_server as postgres_server
from tests.support.redis_cluster import redis_cluster
from tests.support.redis_sets import ValkeyServer
from tests.support.servers import GatewayProcess, RedisServer


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real redis-server for tests that do not break it; use a channel name of your own."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """A real valkey-server, for the same use."""
    with ValkeyServer(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real cluster of three masters, for tests that do not break it."""
    with redis_cluster(tmp_path_factory.mktemp("redis-cluster")) as cluster:
        yield cluster.url


@pytest.fixture(scope="session")
def redis_shards_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Two Redis that know nothing of each other, for tests that do not break them."""
    directory = tmp_path_factory.mktemp("redis-shards")
    with RedisServer(directory) as first, RedisServer(directory) as second:
        yield f"{first.url} {second.url}"


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """One replica with the memory broker, for tests that leave it as it was."""
    with GatewayProcess(tmp_path_factory.mktemp("gateway")) as process:
        yield process


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path
