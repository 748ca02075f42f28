"""Who listens to a channel, on three replicas with one Redis, whatever is killed or emptied."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from tests.support.clients import call, listen, make_token, publish
from tests.support.servers import (
    REDIS_PASSWORD,
    RedisServer,
    replicas,
    status_of,
    wait_until,
)
from tests.support.watchers import ROOM, Cluster, Watcher, watching

pytestmark = pytest.mark.long

ADMIN = make_token("root", "admin")
LEASE_SECONDS = 2
CONFIG = """
[namespaces.chat]
join_leave = true

[namespaces.off]
presence = false
"""


def ready(cluster: Cluster) -> bool:
    return all(status_of(replica.http + "/readyz") == 200 for replica in cluster.replicas)


async def quiet(*watchers: Watcher, seconds: float) -> None:
    """Nothing is told for so long: only time can show it."""
    await asyncio.sleep(seconds)
    assert [watcher.notices for watcher in watchers] == [[] for _ in watchers]


@pytest.fixture
def cluster(directory: Path) -> Iterator[Cluster]:
    config = directory / "gateway.toml"
    config.write_text(CONFIG)
    with (
        RedisServer(directory) as redis,
        replicas(
            directory,
            3,
            config=config,
            redis_url=redis.url,
            redis_timeout_seconds=1,
            lease_seconds=LEASE_SECONDS,
            leave_delay_seconds=0.5,
            database_url=f"sqlite:///{directory / 'accounts.db'}",
        ) as started,
    ):
        yield Cluster(redis, started)


async def test_tabs_and_replicas_are_counted_and_crossings_told_once(cluster: Cluster) -> None:
    async with watching(cluster, 0, 1, 2) as watchers:
        everybody = {"w0": 1, "w1": 1, "w2": 1}
        async with cluster.join(0, "alice"):
            await cluster.until_users({"alice": 1, **everybody})
            async with cluster.join(0, "alice"), cluster.join(1, "alice", "?format=raw") as raw:
                await cluster.until_users({"alice": 3, **everybody})
                await publish(cluster.replicas[0].http, ROOM, "hello", ADMIN)
                assert await raw.recv() == "hello"  # and no notice
            await cluster.until_users({"alice": 1, **everybody})
        await cluster.until_users(everybody)
        for watcher in watchers:
            await watcher.until(("joined", "alice"), ("left", "alice"))
            assert watcher.said == ["hello"]

        # A notice is no message: it is not in the history, and takes no offset.
        url = f"{cluster.replicas[0].http}/channels/{ROOM}/history"
        answer = await asyncio.to_thread(call, url, token=ADMIN)
        assert (answer.json["offset"], len(answer.json["messages"])) == (1, 1)

        # A page that reloads, also one that comes back on another replica.
        socket = await cluster.join(0, "bob")
        await cluster.until_users({"bob": 1, **everybody})
        for replica in (0, 1, 2, 2):
            await socket.close()
            socket = await cluster.join(replica, "bob")
        await cluster.until_users({"bob": 1, **everybody})
        await asyncio.sleep(0.7)  # a leave would be told by now
        for watcher in watchers:
            await watcher.until(("joined", "alice"), ("left", "alice"), ("joined", "bob"))
        await socket.close()
        await cluster.until_users(everybody)


async def test_what_is_told_over_http(cluster: Cluster) -> None:
    http = cluster.replicas[2].http

    def get(path: str, token: str | None = ADMIN) -> Any:
        return call(f"{http}{path}", token=token)

    async with contextlib.AsyncExitStack() as stack:
        for number in range(5):
            await stack.enter_async_context(cluster.join(number % 3, f"user{number}"))
        for channel in ("lobby", "off:room", "user:alice"):
            ws = cluster.replicas[0].ws
            await stack.enter_async_context(listen(ws, channel, make_token("alice")))
        await cluster.until_users({f"user{number}": 1 for number in range(5)})

        first = cluster.presence(query="?limit=3")
        assert [entry["user"] for entry in first["users"]] == ["user0", "user1", "user2"]
        assert (first["channel"], first["members"], first["connections"]) == (ROOM, 5, 5)
        rest = cluster.presence(query=f"?limit=3&cursor={first['cursor']}")
        assert [entry["user"] for entry in rest["users"]] == ["user3", "user4"]
        assert rest["cursor"] is None
        assert cluster.presence("nobody") == {
            "channel": "nobody",
            "members": 0,
            "connections": 0,
            "users": [],
            "cursor": None,
        }

        wait_until(lambda: len(get("/channels").json["channels"]) == 3, "all channels", 5)
        assert get("/channels").json == {
            "channels": [
                {"channel": "chat:room", "members": 5, "connections": 5},
                {"channel": "lobby", "members": 1, "connections": 1},
                {"channel": "user:alice", "members": 1, "connections": 1},
            ],
            "cursor": None,
        }
        page = get("/channels?limit=2").json
        assert [entry["channel"] for entry in page["channels"]] == ["chat:room", "lobby"]
        page = get(f"/channels?limit=2&cursor={page['cursor']}").json
        assert [entry["channel"] for entry in page["channels"]] == ["user:alice"]

        assert get("/channels", make_token("zoe")).status == 403
        assert get("/channels/user:alice/presence", make_token("alice")).status == 200
        assert get("/channels/user:alice/presence", make_token("zoe")).status == 403
        assert get("/channels/lobby/presence", None).status == 401
        assert get("/channels/off:room/presence").status == 404
        assert get("/channels/ro*m/presence").status == 422
        assert get("/channels/lobby/presence?limit=0").status == 422
        assert get("/channels?limit=1001").status == 422


async def test_the_members_of_a_killed_replica_are_gone_and_told_once(cluster: Cluster) -> None:
    async with watching(cluster, 0, 1) as watchers, contextlib.AsyncExitStack() as stack:
        dead = cluster.replicas[2]
        for user in ("alice", "bob", "carol"):
            stack.push_async_callback((await cluster.join(2, user)).close)
        await stack.enter_async_context(cluster.join(0, "alice"))
        joined = [("joined", user) for user in ("alice", "bob", "carol")]
        for watcher in watchers:
            await watcher.until(*joined)

        dead.kill()
        back = await stack.enter_async_context(cluster.join(1, "bob"))  # before anybody missed it
        await cluster.until_users({"w0": 1, "w1": 1, "alice": 1, "bob": 1}, 10)
        for watcher in watchers:
            await watcher.until(*joined, ("left", "carol"))
        await asyncio.sleep(LEASE_SECONDS)
        for watcher in watchers:
            await watcher.until(*joined, ("left", "carol"))
        await back.close()


async def test_a_stopping_replica_hands_its_users_over_unnoticed(cluster: Cluster) -> None:
    async with watching(cluster, 0) as (watcher,):
        socket = await cluster.join(2, "alice")
        other = await cluster.join(2, "bob")
        await watcher.until(("joined", "alice"), ("joined", "bob"))
        stopping = asyncio.create_task(asyncio.to_thread(cluster.replicas[2].terminate))
        await socket.wait_closed()
        await other.wait_closed()
        async with cluster.join(1, "alice"):
            await stopping
            await watcher.until(("joined", "alice"), ("joined", "bob"), ("left", "bob"))
            await cluster.until_users({"w0": 1, "alice": 1})


async def test_a_replica_that_slept_is_missed_and_comes_back(cluster: Cluster) -> None:
    async with watching(cluster, 0) as (watcher,), cluster.join(1, "alice"):
        await watcher.until(("joined", "alice"))
        cluster.replicas[1].freeze()
        await watcher.until(("joined", "alice"), ("left", "alice"))
        cluster.replicas[1].thaw()
        await watcher.until(("joined", "alice"), ("left", "alice"), ("joined", "alice"))
        await cluster.until_users({"w0": 1, "alice": 1})
    await cluster.until_users({})


async def test_an_emptied_redis_is_filled_again_and_nobody_flaps(cluster: Cluster) -> None:
    async with watching(cluster, 0, 1, 2) as watchers:
        leaver = await cluster.join(2, "leaver")
        async with cluster.join(0, "alice"), cluster.join(1, "alice"), cluster.join(1, "bob"):
            everybody = {"w0": 1, "w1": 1, "w2": 1, "alice": 2, "bob": 1}
            await cluster.until_users({**everybody, "leaver": 1})
            for watcher in watchers:
                watcher.notices.clear()
            with Redis(port=cluster.redis.port, password=REDIS_PASSWORD) as redis:
                for _ in range(2):
                    redis.flushall()
                    await cluster.until_users({**everybody, "leaver": 1})
                await quiet(*watchers, seconds=LEASE_SECONDS)

                # What changes while the table is empty is told when it is back.
                redis.flushall()
                await leaver.close()
                async with cluster.join(2, "comer"), cluster.join(0, "bob"):
                    for watcher in watchers:
                        await watcher.until(("left", "leaver"), ("joined", "comer"))
                    await cluster.until_users({**everybody, "bob": 2, "comer": 1})


async def test_nobody_flaps_while_redis_restarts_or_sleeps(cluster: Cluster) -> None:
    async with watching(cluster, 0, 1) as watchers, cluster.join(2, "alice"):
        for watcher in watchers:
            await watcher.until(("joined", "alice"))
            watcher.notices.clear()
        everybody = {"w0": 1, "w1": 1, "alice": 1}

        cluster.redis.terminate()
        await asyncio.sleep(LEASE_SECONDS * 1.5)
        cluster.redis.start()
        await asyncio.to_thread(wait_until, lambda: ready(cluster), "the cluster is ready")
        await cluster.until_users(everybody)
        await quiet(*watchers, seconds=LEASE_SECONDS * 1.5)

        cluster.redis.freeze()
        await asyncio.sleep(LEASE_SECONDS * 1.5)
        cluster.redis.thaw()
        await asyncio.to_thread(wait_until, lambda: ready(cluster), "the cluster is ready")
        await cluster.until_users(everybody)
        await quiet(*watchers, seconds=LEASE_SECONDS * 1.5)
