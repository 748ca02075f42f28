"""What balancers and operators ask, and who is connected."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.accounts import member
from tests.support.clients import RawClient, call, listen, make_token
from tests.support.servers import (
    GatewayProcess,
    Process,
    RedisServer,
    free_port,
    replicas,
    status_of,
    wait_until,
)
from tests.unit.core.tokens.forging import private_pem, rsa_key

ADMIN = make_token("root", "admin")


def test_a_running_replica_is_live_ready_and_healthy(gateway: GatewayProcess) -> None:
    assert call(gateway.http + "/livez").json == {"status": "live"}
    assert call(gateway.http + "/readyz").json == {"status": "ready"}
    health = call(gateway.http + "/health").json
    assert (health["status"], health["redis"]) == ("healthy", "not used")
    assert datetime.fromisoformat(health["timestamp"]).tzinfo is not None


def test_health_tells_about_each_part(desk: GatewayProcess) -> None:
    health = call(desk.http + "/health").json
    assert (health["database"], health["redis"]) == ("connected", "not used")
    assert type(health["live_tokens"]) is int
    assert health["redis_tokens"] == health["live_tokens"]
    member(desk.http)
    wait_until(
        lambda: call(desk.http + "/health").json["live_tokens"] > health["live_tokens"],
        "the new login is counted",
        5,
    )


def test_health_tells_which_part_is_away(redis_server: RedisServer, directory: Path) -> None:
    """S51: and no address of it, in which a password might stand."""
    nowhere = f"postgresql://gateway:canary-of-the-database@127.0.0.1:{free_port()}/x"
    settings = {
        "redis_url": redis_server.url,
        "redis_prefix": "health-test",
        "database_url": nowhere,
    }
    process = GatewayProcess(directory, **settings)
    Process.start(process)
    try:
        wait_until(lambda: status_of(process.http + "/health") == 503, "it answers")
        health, readiness = call(process.http + "/health"), call(process.http + "/readyz")
        told = {name: health.json[name] for name in ("status", "database", "redis", "live_tokens")}
        assert told == {
            "status": "unhealthy",
            "database": "unreachable",
            "redis": "connected",
            "live_tokens": None,
        }
        assert readiness.status == 503
        for text in (health.body.decode(), readiness.body.decode(), process.log):
            assert "canary-of-the-database" not in text
            assert redis_server.url not in text
    finally:
        process.terminate()


def test_sockets_that_were_refused_are_counted(directory: Path) -> None:
    """S26: a client without a token never has an open socket."""
    with GatewayProcess(directory) as gateway:
        for token in ("x", make_token()):
            with RawClient(gateway.port) as client:
                client.upgrade(f"/ws/room?token={token}")
        health = call(gateway.http + "/health").json
        assert (health["sockets_accepted"], health["sockets_refused"]) == (1, 1)


@pytest.mark.parametrize(
    "path", ["/metrics", "/admin", "/docs", "/redoc", "/openapi.json", "/asyncapi.json"]
)
def test_in_production_there_is_nothing_to_look_around_in(
    production: GatewayProcess, path: str
) -> None:
    """S52"""
    assert call(production.http + path).status == 404
    assert call(production.http + path, token=ADMIN).status == 404


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with GatewayProcess(tmp_path_factory.mktemp("production"), env="production") as process:
        yield process


def test_a_secret_key_is_not_shown(gateway: GatewayProcess) -> None:
    """S51"""
    answer = call(gateway.http + "/.well-known/jwks.json")
    assert answer.json == {"keys": []}
    assert answer.headers["cache-control"] == "public, max-age=300"


def test_of_a_key_pair_the_public_half_is_shown(directory: Path) -> None:
    """S10, S51"""
    path = directory / "key.pem"
    path.write_bytes(private_pem(rsa_key()))
    settings = {
        "jwt_private_key_file": path,
        "jwt_algorithm": "RS256",
        "jwt_kid": "k7",
        "demo": True,
    }
    with GatewayProcess(directory, **settings) as gateway:
        (key,) = call(gateway.http + "/.well-known/jwks.json").json["keys"]
        assert key.keys() == {"kid", "kty", "alg", "use", "n", "e"}
        assert (key["kid"], key["kty"], key["alg"]) == ("k7", "RSA", "RS256")
        token = call(gateway.http + "/test-token").json["test_token"]
        assert call(gateway.http + "/me", token=token).status == 200


def test_only_an_admin_sees_who_is_connected(gateway: GatewayProcess) -> None:
    url = gateway.http + "/users/connected"
    assert call(url).status == 401
    assert call(url, token=make_token("alice", "publisher")).status == 403
    assert call(url, token=ADMIN).status == 200


async def test_the_list_of_connected_users_spans_all_replicas(
    redis_server: RedisServer, directory: Path
) -> None:
    settings = {"redis_url": redis_server.url, "redis_prefix": "connected-test", "lease_seconds": 2}
    with replicas(directory, 2, **settings) as (one, two):
        sockets = [
            await listen(one.ws, "room", make_token("alice")),
            await listen(one.ws, "hall", make_token("alice")),
            await listen(two.ws, "room", make_token("alice")),
            await listen(two.ws, "room", make_token("bob")),
        ]

        def users(replica: GatewayProcess) -> dict[str, int]:
            body = call(replica.http + "/users/connected", token=ADMIN).json
            assert body["count"] == len(body["users"])
            return {user["user"]: user["connections"] for user in body["users"]}

        for replica in (one, two):
            wait_until(lambda r=replica: users(r) == {"alice": 3, "bob": 1}, "both see all")
        await sockets[0].close()
        await sockets[3].close()
        for replica in (one, two):
            wait_until(lambda r=replica: users(r) == {"alice": 2}, "both see who left")

        two.kill()
        wait_until(lambda: users(one) == {"alice": 1}, "a dead replica's users are gone", 5)
        await sockets[1].close()
