"""Three replicas, a real Redis and a real HAProxy: the deployment without containers."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.support.balancer import Balancer
from tests.support.clients import call, closing_of, listen, make_token, publish, receive_json
from tests.support.event_source import EventSource
from tests.support.servers import GatewayProcess, RedisServer, replicas, wait_until

ADMIN = make_token("root", "admin")
PUBLISHER = make_token("alice", "publisher")


@pytest.fixture
def cluster(
    redis_server: RedisServer, directory: Path
) -> Iterator[tuple[Balancer, list[GatewayProcess]]]:
    settings = {"redis_url": redis_server.url, "redis_prefix": directory.name.replace("_", "-")}
    with replicas(directory, 3, **settings) as started, Balancer(directory, started) as balancer:
        yield balancer, started


def connected_replicas(http: str) -> set[str]:
    users = call(http + "/users/connected", token=ADMIN).json["users"]
    return {replica for user in users for replica in user["replicas"]}


async def test_a_message_published_anywhere_reaches_sockets_everywhere(
    cluster: tuple[Balancer, list[GatewayProcess]],
) -> None:
    balancer, started = cluster
    sockets = [await listen(balancer.ws, "room", make_token(f"user{n}")) for n in range(9)]
    wait_until(lambda: len(connected_replicas(balancer.http)) == 3, "sockets on all replicas", 5)

    receipts = [
        (await publish(replica.http, "room", n, PUBLISHER)).json
        for n, replica in enumerate([*started, *started, *started])
    ]
    for socket in sockets:
        messages = [await receive_json(socket) for _ in receipts]
        assert [m["data"] for m in messages] == list(range(9))
        assert [m["offset"] for m in messages] == [receipt["offset"] for receipt in receipts]
        assert {m["epoch"] for m in messages} == {receipts[0]["epoch"]}
        await socket.close()


async def test_a_socket_publishes_to_sockets_of_other_replicas(
    cluster: tuple[Balancer, list[GatewayProcess]],
) -> None:
    _, (one, two, three) = cluster
    async with (
        listen(one.ws, "room", PUBLISHER) as speaker,
        listen(two.ws, "room", make_token("bob")) as bob,
        listen(three.ws, "room", make_token("eve"), "?format=text") as eve,
    ):
        await speaker.send("Hola")
        assert (await receive_json(speaker))["data"] == "Hola"
        assert (await receive_json(bob))["data"] == "Hola"
        assert await asyncio.wait_for(eve.recv(), 5) == "[room] Hola"

        await bob.send("may I?")
        assert (await receive_json(bob))["error"] == "denied"
        await speaker.send("next")
        assert (await receive_json(speaker))["data"] == "next"


async def test_a_replica_gets_only_what_its_sockets_need(
    cluster: tuple[Balancer, list[GatewayProcess]],
) -> None:
    _, (one, two, _) = cluster
    async with listen(one.ws, "room", PUBLISHER) as socket:
        for n in range(10):
            await publish(two.http, "elsewhere", n, PUBLISHER)
        await publish(two.http, "room", "end", PUBLISHER)
        assert (await receive_json(socket))["data"] == "end"
        health = call(one.http + "/health").json

    assert health["messages_received"] == 1


@pytest.mark.long
async def test_a_quiet_stream_of_events_stays_open_and_a_broken_one_goes_on_elsewhere(
    redis_server: RedisServer, directory: Path
) -> None:
    settings = {"redis_url": redis_server.url, "redis_prefix": "quiet", "ping_interval_seconds": 4}
    with (
        replicas(directory, 2, **settings) as started,
        Balancer(directory, started, is_shipped=True) as balancer,
    ):
        async with EventSource(balancer.http, "room", make_token("bob")) as source:
            # Longer than any other answer may take, and than a client may be silent.
            assert await source.comment(7) == " ping"
            await publish(balancer.http, "room", 1, PUBLISHER)
            assert (await source.message())["data"] == 1
            (there,) = connected_replicas(balancer.http)
            for replica in started:
                if call(replica.http + "/health").json["replica"] == there:
                    replica.kill()
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                assert await source.end() == []
        await publish(balancer.http, "room", 2, PUBLISHER)
        headers = {"Last-Event-ID": source.last_event_id}
        async with EventSource(balancer.http, "room", make_token("bob"), "", headers) as source:
            assert (await source.message())["data"] == 2


async def test_a_killed_replica_costs_its_own_sockets_only(
    cluster: tuple[Balancer, list[GatewayProcess]],
) -> None:
    balancer, started = cluster
    sockets = [await listen(balancer.ws, "room", make_token(f"user{n}")) for n in range(9)]
    wait_until(lambda: len(connected_replicas(balancer.http)) == 3, "sockets on all replicas", 5)
    started[0].kill()

    for n in range(20):
        answer = await publish(balancer.http, "room", n, PUBLISHER)
        assert answer.status == 200, answer.body
    survivors = 0
    for socket in sockets:
        with contextlib.suppress(ConnectionClosed):
            assert [(await receive_json(socket))["data"] for _ in range(20)] == list(range(20))
            survivors += 1
            await socket.close()
    assert survivors == 6

    async with listen(balancer.ws, "room", make_token("back")) as again:
        await publish(balancer.http, "room", "welcome", PUBLISHER)
        assert (await receive_json(again))["data"] == "welcome"


async def test_a_stopping_replica_says_when_to_come_back(
    cluster: tuple[Balancer, list[GatewayProcess]],
) -> None:
    _, started = cluster
    socket = await listen(started[0].ws, "room", make_token("alice"))
    stopping = asyncio.get_running_loop().run_in_executor(None, started[0].terminate)
    code, reason = await closing_of(socket)
    await stopping

    assert code == 1012
    assert "retry_ms=" in reason


@pytest.mark.long
async def test_several_workers_of_one_command_are_one_gateway(
    redis_server: RedisServer, directory: Path
) -> None:
    gateway = GatewayProcess(
        directory, redis_url=redis_server.url, redis_prefix="workers", workers=2, replica="w"
    )
    with gateway:
        sockets: list[ClientConnection] = []
        # One of them starts later; then the kernel gives a connection to whichever is awake.
        wait_until(lambda: gateway.log.count("revocations are read") == 2, "both are ready")
        while len(connected_replicas(gateway.http)) < 2:
            assert len(sockets) < 300, "only one of the workers gets connections"
            batch = [listen(gateway.ws, "room", make_token(f"u{n}")) for n in range(10)]
            sockets += await asyncio.gather(*batch)
        await publish(gateway.http, "room", "all", PUBLISHER)
        for socket in sockets:
            assert (await receive_json(socket))["data"] == "all"
            await socket.close()
