"""Three replicas with one Redis and one database file: one with the portable door, two without."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.support.accounts import TRUSTED
from tests.support.servers import GatewayProcess, Process, RedisServer, status_of, wait_until

DOORS = ("native", "asgi", "native")
START_SECONDS = 45.0  # three interpreters at once, perhaps on a busy machine


class Cluster:
    def __init__(self, directory: Path, redis: RedisServer, **settings: object) -> None:
        self.redis = redis
        everybody = {
            "redis_url": redis.url,
            "database_url": f"sqlite:///{directory / 'accounts.db'}",
            "redis_timeout_seconds": 1,
            **TRUSTED,
            **settings,
        }
        self.replicas = [GatewayProcess(directory, socket_door=door, **everybody) for door in DOORS]

    def wait_ready(self) -> None:
        wait_until(self.is_ready, "three replicas are ready", START_SECONDS)

    def is_ready(self) -> bool:
        for replica in self.replicas:
            assert replica.is_running(), replica.log
        return all(status_of(replica.http + "/readyz") == 200 for replica in self.replicas)

    def restart(self) -> None:
        for replica in self.replicas:
            replica.terminate()
        for replica in self.replicas:
            Process.start(replica)
        self.wait_ready()


@contextlib.contextmanager
def cluster_of_three(directory: Path, **settings: object) -> Iterator[Cluster]:
    """With a redis-server of its own, which a test may break."""
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(RedisServer(directory))
        cluster = Cluster(directory, redis, **settings)
        for replica in cluster.replicas:
            Process.start(replica)
            stack.callback(replica.__exit__)
        cluster.wait_ready()
        yield cluster
