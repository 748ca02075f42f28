"""Redis servers for the contract suites."""

from collections.abc import Iterator

import pytest

from gateway.secret_files import write_cluster_secrets
from tests.support.brokers import fake_redis
from tests.support.servers import RedisServer


@pytest.fixture(scope="session")
def fakeredis_url() -> Iterator[str]:
    with fake_redis() as url:
        yield url


@pytest.fixture(scope="session")
def cluster_redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real redis-server as a cluster has it: its user may do only what is in our list."""
    directory = tmp_path_factory.mktemp("cluster-redis")
    write_cluster_secrets(directory, "127.0.0.1:1")
    users = directory / "redis" / "users.acl"
    with RedisServer(directory, "--save", "", "--aclfile", str(users)) as server:
        url = (directory / "gateway" / "gateway_redis_url").read_text()
        yield url.replace("127.0.0.1:1", f"127.0.0.1:{server.port}")
