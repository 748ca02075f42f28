"""Limits that no client gets around by going to another replica."""

import asyncio
from collections.abc import Iterator

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.support.accounts import Person, assert_problem, member
from tests.support.clients import call, closing_of, make_token
from tests.support.cluster import Cluster, cluster_of_three
from tests.support.servers import wait_until

ADMIN = make_token("root", "admin")

pytestmark = pytest.mark.timeout(120)  # starting the cluster counts, too


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("limits")
    with cluster_of_three(directory, sockets_per_user_max=3, sockets_per_address_max=4) as cluster:
        yield cluster


def test_guesses_at_an_account_count_on_every_replica(cluster: Cluster) -> None:
    """S28"""
    name = member(cluster.replicas[0].http).name
    guesses = [Person(cluster.replicas[n % 3].http, name).log_in("a guess") for n in range(12)]
    assert [answer.status for answer in guesses] == [401] * 10 + [429] * 2
    assert_problem(guesses[-1], 429, "limit_reached")
    assert 1 <= int(guesses[-1].headers["retry-after"]) <= 60


def test_an_address_is_counted_on_every_replica(cluster: Cluster) -> None:
    """S28, S29: also one that hops within its network."""
    addresses = [f"2001:db8:1:1::{n:x}" for n in range(1, 60)]
    statuses = [
        Person(cluster.replicas[n % 3].http, address=address).log_in("a guess").status
        for n, address in enumerate(addresses)
    ]
    assert statuses[:29] == [401] * 29
    assert 429 in statuses[30:]
    elsewhere = Person(cluster.replicas[0].http, address="2001:db8:1:2::1")
    assert elsewhere.log_in("a guess").status == 401


def test_who_is_not_our_proxy_may_say_what_it_likes(cluster: Cluster) -> None:
    """S29: the entry that our proxy appended counts, whatever stands before it."""
    address = Person("").address
    statuses = [
        Person(cluster.replicas[n % 3].http, address=f"192.0.2.{n}, {address}").log_in("x").status
        for n in range(40)
    ]
    assert statuses[0] == 401
    assert statuses[-1] == 429


async def is_open(socket: ClientConnection, seconds: float = 0.5) -> bool:
    try:
        await closing_of(socket, seconds)
    except TimeoutError:
        return True
    return False


async def test_a_user_has_so_many_sockets_on_all_replicas_together(cluster: Cluster) -> None:
    """S46"""
    person = await asyncio.to_thread(member, cluster.replicas[0].http)
    sockets = [
        await listen_from(cluster, n % 3, person.access_token, f"10.1.0.{n}") for n in range(3)
    ]
    assert [await is_open(socket) for socket in sockets] == [True] * 3

    late = await listen_from(cluster, 0, person.access_token, "10.1.0.9")
    code, reason = await closing_of(late)
    assert code == 1008
    assert reason.startswith("limit: a user has at most 3 sockets")
    assert "retry_ms=" in reason
    assert [await is_open(socket) for socket in sockets] == [True] * 3

    await sockets[1].close()
    url = cluster.replicas[0].http + "/users/connected"

    def count() -> int:
        users = call(url, token=ADMIN).json["users"]
        return sum(user["connections"] for user in users if user["user"] == person.name)

    await asyncio.to_thread(wait_until, lambda: count() == 2, "the place is free", 5)
    again = await listen_from(cluster, 2, person.access_token, "10.1.0.9")
    assert await is_open(again)
    for socket in (sockets[0], sockets[2], again):
        await socket.close()


@pytest.mark.parametrize("index", [0, 1], ids=["native", "asgi"])
async def test_an_address_has_so_many_sockets_on_a_replica(cluster: Cluster, index: int) -> None:
    """S29, S46"""
    network = f"2001:db8:2:{index + 1}::"
    tokens = [make_token(f"user-{index}-{n}") for n in range(6)]
    sockets = [
        await listen_from(cluster, index, token, f"{network}{n + 1}")
        for n, token in enumerate(tokens[:4])
    ]
    assert all([await is_open(socket, 0.1) for socket in sockets])
    refused = await listen_from(cluster, index, tokens[4], f"{network}99")
    code, reason = await closing_of(refused)
    assert code == 1008
    assert reason.startswith("limit: an address has at most 4 sockets")
    elsewhere = await listen_from(cluster, index, tokens[4], "2001:db8:3::1")
    assert await is_open(elsewhere, 0.1)

    await sockets[0].close()

    async def comes_in() -> bool:
        socket = await listen_from(cluster, index, tokens[5], f"{network}98")
        stays = await is_open(socket, 0.1)
        await socket.close()
        return stays

    async with asyncio.timeout(5):
        while not await comes_in():
            pass
    for socket in (*sockets[1:], elsewhere):
        await socket.close()


async def listen_from(cluster: Cluster, index: int, token: str, address: str) -> ClientConnection:
    headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": address}
    url = f"{cluster.replicas[index].ws}/ws/crowded"
    return await connect(url, additional_headers=headers, compression=None)
