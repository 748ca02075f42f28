"""A gateway at each kind of Redis, as the user that may do nothing but its work.

Sentinel has a file of its own beside this one, and so have clusters and shards.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.certificates import make_certificate
from tests.support.clients import RawClient, call, make_token, publish_now
from tests.support.redis_sets import (
    GATEWAY_PASSWORD,
    MASTER_NAME,
    Node,
    TlsFiles,
    ValkeyServer,
    gateway_user,
)
from tests.support.servers import (
    GatewayProcess,
    Process,
    RedisServer,
    free_port,
    status_of,
    wait_until,
)

LOGIN = f"gateway:{quote(GATEWAY_PASSWORD, safe='')}"
KEPT = ("--save", "", "--appendonly", "no", *gateway_user())


def plain(directory: Path) -> tuple[RedisServer, str]:
    server = RedisServer(directory, *KEPT)
    return server, f"redis://{LOGIN}@127.0.0.1:{server.port}/0"


def socket(directory: Path) -> tuple[RedisServer, str]:
    path = directory / "redis socket"
    return RedisServer(directory, *KEPT, "--unixsocket", str(path)), (
        f"unix://{LOGIN}@{quote(str(path))}?db=0"
    )


def mutual_tls(directory: Path) -> tuple[RedisServer, str]:
    tls = TlsFiles(*make_certificate(directory / "tls"))
    server = Node(directory, tls)
    return server, f"rediss://{LOGIN}@127.0.0.1:{server.port}/0?{tls.parameters}"


def valkey(directory: Path) -> tuple[RedisServer, str]:
    server = ValkeyServer(directory, *KEPT)
    return server, f"redis://{LOGIN}@127.0.0.1:{server.port}/0"


@pytest.fixture
def gateway(
    request: pytest.FixtureRequest, directory: Path
) -> Iterator[tuple[RedisServer, GatewayProcess]]:
    make: Callable[[Path], tuple[RedisServer, str]] = request.param
    server, url = make(directory)
    with contextlib.ExitStack() as stack:
        stack.enter_context(server)
        yield server, stack.enter_context(GatewayProcess(directory, redis_url=url))


LONG_VALKEY = pytest.param(valkey, marks=pytest.mark.long)


@pytest.mark.parametrize("gateway", [plain, socket, mutual_tls, LONG_VALKEY], indirect=True)
def test_messages_history_presence_and_tickets(
    gateway: tuple[RedisServer, GatewayProcess],
) -> None:
    """Everything of ours that Redis keeps: each connection and each script has been used."""
    _, replica = gateway
    token = make_token("paula", "publisher")
    with RawClient(replica.port).listen("room", token) as client:
        assert publish_now(replica.http, "room", "hi", token).status == 200
        assert client.read_json()["data"] == "hi"
        presence = call(f"{replica.http}/channels/room/presence", token=token)
        assert [entry["user"] for entry in presence.json["users"]] == ["paula"]
    history = call(f"{replica.http}/channels/room/history", token=token)
    assert [message["data"] for message in history.json["messages"]] == ["hi"]
    assert call(replica.http + "/ticket", token=token, method="POST").status == 200
    assert call(replica.http + "/health").json["redis"] == "connected"
    assert GATEWAY_PASSWORD not in replica.log


@pytest.mark.parametrize("gateway", [plain, LONG_VALKEY], indirect=True)
def test_a_redis_that_restarts_is_found_again(
    gateway: tuple[RedisServer, GatewayProcess],
) -> None:
    server, replica = gateway
    token = make_token("paula", "publisher")
    with RawClient(replica.port).listen("room", token, "?format=raw") as client:
        server.kill()
        wait_until(lambda: status_of(replica.http + "/readyz") == 503, "it says so")
        assert publish_now(replica.http, "room", "lost", token).status == 503
        server.start()
        wait_until(lambda: status_of(replica.http + "/readyz") == 200, "it is back")
        assert publish_now(replica.http, "room", "hi", token).status == 200
        assert client.read_text() == "hi"


def without_replicas(directory: Path) -> tuple[RedisServer, str]:
    server = RedisServer(directory, *KEPT, "--min-replicas-to-write", "1")
    return server, f"redis://{LOGIN}@127.0.0.1:{server.port}/0"


@pytest.mark.parametrize("gateway", [without_replicas], indirect=True)
def test_a_master_that_is_to_have_a_replica_takes_nothing_without_one(
    gateway: tuple[RedisServer, GatewayProcess],
) -> None:
    """F10: cut off with some gateways, it would promise what it cannot keep."""
    _, replica = gateway
    token = make_token("paula", "publisher")
    with RawClient(replica.port).listen("room", token) as client:
        answer = publish_now(replica.http, "room", "hi", token)
        assert (answer.status, answer.json["outcome_unknown"]) == (503, False)
        assert "NOREPLICAS" in answer.json["detail"]
        history = call(f"{replica.http}/channels/room/history", token=token)
        assert (history.json["messages"], history.json["offset"]) == ([], 0)
        client.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.read_text()


def test_sentinels_that_are_away_are_named_without_a_password(directory: Path) -> None:
    hosts = [f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"]
    url = f"redis+sentinel://{LOGIN}@{','.join(hosts)}/{MASTER_NAME}?sentinel_password=canary"
    gateway = GatewayProcess(directory, redis_url=url)
    Process.start(gateway)
    try:
        wait_until(lambda: status_of(gateway.http + "/livez") == 200, "it answers")
        assert status_of(gateway.http + "/readyz") == 503
        wait_until(
            lambda: f"{MASTER_NAME} of Sentinel at {', '.join(hosts)}" in gateway.log, "it is said"
        )
        assert f"no Sentinel can tell where the master {MASTER_NAME} is" in gateway.log
        assert "canary" not in gateway.log
        assert GATEWAY_PASSWORD not in gateway.log
    finally:
        gateway.terminate()
