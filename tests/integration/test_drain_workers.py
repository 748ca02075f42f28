"""Several processes of one command stop together, and one of them by itself."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.drains import ended
from tests.support.clients import RawClient, call, make_token
from tests.support.servers import GatewayProcess, RedisServer, wait_until

ADMIN = make_token("root", "admin")

pytestmark = pytest.mark.long


def children(pid: int) -> list[int]:
    """The workers: children of this process that run the gateway, and no helper of Python's."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            command = (stat.parent / "cmdline").read_bytes()
        except OSError:
            continue  # it has ended since
        if parent == pid and b"spawn_main" in command:
            found.append(int(stat.parent.name))
    return found


def wait_for_both(gateway: GatewayProcess) -> None:
    """The address answers as soon as the first worker is ready."""
    wait_until(lambda: gateway.log.count("revocations are read") == 2, "both workers are ready")


class Listeners:
    """Sockets on both workers of a gateway; the name of a worker ends with its process' id."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self.clients: list[RawClient] = []
        while len(self.replicas(gateway)) < 2:
            assert len(self.clients) < 200, "only one of the workers gets connections"
            for _ in range(5):
                token = make_token(f"user{len(self.clients)}")
                self.clients.append(RawClient(gateway.port).listen("room", token))

    @staticmethod
    def replicas(gateway: GatewayProcess) -> dict[str, int]:
        """The workers that have sockets, and how many."""
        users = call(gateway.http + "/users/connected", token=ADMIN).json["users"]
        counts: dict[str, int] = {}
        for user in users:
            for replica, count in user["replicas"].items():
                counts[replica] = counts.get(replica, 0) + count
        return counts

    def close(self) -> None:
        for client in self.clients:
            client.close()


@pytest.fixture
def gateway(redis_server: RedisServer, directory: Path) -> Iterator[GatewayProcess]:
    settings = {
        "redis_url": redis_server.url,
        "redis_prefix": f"workers-{os.urandom(3).hex()}",
        "replica": "w",
        "workers": 2,
        "drain_seconds": 1,
        "close_timeout_seconds": 1,
    }
    with GatewayProcess(directory, **settings) as process:
        wait_for_both(process)
        yield process


@pytest.fixture
def listeners(gateway: GatewayProcess) -> Iterator[Listeners]:
    listeners = Listeners(gateway)
    yield listeners
    listeners.close()


def reasons(clients: list[RawClient]) -> set[tuple[int, str]]:
    closes = [client.read_close() for client in clients]
    for client in clients:
        client.close()
    return {(code, reason.partition("retry_ms=")[0]) for code, reason in closes}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_all_of_them_is_one_wish(
    gateway: GatewayProcess, listeners: Listeners, how: signal.Signals
) -> None:
    """As systemd and a terminal send it: the supervisor, too, sends it on to the workers."""
    workers = children(gateway.pid)
    assert len(workers) == 2
    for pid in (*workers, gateway.pid):
        os.kill(pid, how)
    assert reasons(listeners.clients) == {(1012, "this replica restarts; ")}
    assert ended(gateway, 10) == 0
    assert children(gateway.pid) == []
    assert "Traceback" not in gateway.log


def test_a_second_signal_ends_them_all_at_once(redis_server: RedisServer, directory: Path) -> None:
    settings = {"redis_url": redis_server.url, "redis_prefix": "hurried", "drain_pause_seconds": 30}
    with GatewayProcess(directory, workers=2, **settings) as gateway:
        wait_for_both(gateway)
        workers = children(gateway.pid)
        os.kill(gateway.pid, signal.SIGTERM)
        wait_until(lambda: gateway.log.count("draining: ") == 2, "both workers drain", 5)
        started = time.monotonic()
        os.kill(gateway.pid, signal.SIGTERM)
        assert ended(gateway, 5) == 1
        assert time.monotonic() - started < 4
        assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def test_one_of_them_drains_by_its_name_and_another_one_takes_its_place(
    gateway: GatewayProcess, listeners: Listeners
) -> None:
    before = children(gateway.pid)
    name, count = listeners.replicas(gateway).popitem()
    answer = call(f"{gateway.http}/drain?replica={name}", method="POST", token=ADMIN)
    assert (answer.status, answer.json["replica"], answer.json["sockets"]) == (202, name, count)

    def is_replaced() -> bool:
        now = children(gateway.pid)
        return len(now) == 2 and now != before

    wait_until(is_replaced, "another worker is there", 15)
    (gone,) = set(before) - set(children(gateway.pid))
    assert name == f"w-{gone}"
    left = listeners.replicas(gateway)
    assert name not in left
    assert sum(left.values()) == len(listeners.clients) - count
