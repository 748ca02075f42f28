"""What balancers and operators ask, and who is connected."""

from datetime import datetime
from pathlib import Path

from tests.support.clients import call, listen, make_token
from tests.support.servers import GatewayProcess, RedisServer, replicas, wait_until

ADMIN = make_token("root", "admin")


def test_a_running_replica_is_live_ready_and_healthy(gateway: GatewayProcess) -> None:
    assert call(gateway.http + "/livez").json == {"status": "live"}
    assert call(gateway.http + "/readyz").json == {"status": "ready"}
    health = call(gateway.http + "/health").json
    assert (health["status"], health["redis"]) == ("healthy", "not used")
    assert datetime.fromisoformat(health["timestamp"]).tzinfo is not None


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
