"""What is taken from a user is taken on every replica, at once, and from nobody else."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

from tests.support.accounts import PASSWORD, Person, as_admin, member
from tests.support.clients import closing_of, listen, make_token, publish, receive_json
from tests.support.cluster import Cluster, cluster_of_three
from tests.support.servers import GatewayProcess

SECONDS = 1.0
SYSTEM = make_token("system", "publisher")

pytestmark = pytest.mark.timeout(120)  # starting the cluster counts, too


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster_of_three(tmp_path_factory.mktemp("revocation")) as cluster:
        yield cluster


class Crowd:
    """Two users, two logins of each, and a socket of every login on every replica."""

    def __init__(self, cluster: Cluster) -> None:
        self.replicas = cluster.replicas
        self.one = member(self.replicas[0].http)
        self.two = Person(self.replicas[1].http, self.one.name)
        self.bob = member(self.replicas[2].http)
        self.bob_too = Person(self.replicas[0].http, self.bob.name)
        for person in (self.two, self.bob_too):
            assert person.log_in().status == 200
        self.channel = f"c-{self.one.name}"
        self.sockets: dict[Person, list[ClientConnection]] = {}

    async def __aenter__(self) -> "Crowd":
        for person in (self.one, self.two, self.bob, self.bob_too):
            self.sockets[person] = [
                await listen(replica.ws, self.channel, person.access_token)
                for replica in self.replicas
            ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for sockets in self.sockets.values():
            for socket in sockets:
                await socket.close()

    async def lose(self, *gone: Person, action: Callable[[], Any], reason: str) -> None:
        """These are closed within the second, with this reason; the others go on hearing."""
        start = time.monotonic()
        await asyncio.to_thread(action)
        for person in gone:
            for socket in self.sockets[person]:
                assert await closing_of(socket) == (1008, reason)
        assert time.monotonic() - start < SECONDS
        await publish(self.replicas[0].http, self.channel, "still here", SYSTEM)
        for person in self.sockets.keys() - set(gone):
            for socket in self.sockets[person]:
                assert (await receive_json(socket))["data"] == "still here"
        for person in self.sockets:
            for replica in self.replicas:
                stays = Person(replica.http).is_accepted(person.access_token)
                assert stays == (person not in gone)


async def test_logging_out_closes_the_sockets_of_this_login_everywhere(cluster: Cluster) -> None:
    """S12"""
    async with Crowd(cluster) as crowd:
        reason = "the token has been revoked: logout"
        await crowd.lose(crowd.one, action=lambda: crowd.one.authorized("/logout"), reason=reason)


async def test_logging_out_everywhere_closes_all_sockets_of_the_user(cluster: Cluster) -> None:
    """S12"""
    async with Crowd(cluster) as crowd:
        await crowd.lose(
            crowd.one,
            crowd.two,
            action=lambda: crowd.two.authorized("/logout?all=true"),
            reason="the token has been revoked: logout",
        )


@pytest.mark.parametrize(
    ("path", "method", "body", "reason"),
    [
        ("/disable", "POST", None, "disabled"),
        ("/roles", "PUT", {"roles": []}, "roles"),
        ("/logout", "POST", None, "admin"),
    ],
)
async def test_what_an_administrator_takes_is_taken_everywhere(
    cluster: Cluster, path: str, method: str, body: Any, reason: str
) -> None:
    """S13"""
    async with Crowd(cluster) as crowd:
        http = crowd.replicas[1].http

        def take() -> None:
            as_admin(http, f"/users/{crowd.one.name}{path}", method, body)

        reason = f"the token has been revoked: {reason}"
        await crowd.lose(crowd.one, crowd.two, action=take, reason=reason)


async def test_a_changed_password_closes_the_sockets_of_the_other_logins(cluster: Cluster) -> None:
    """S13"""
    async with Crowd(cluster) as crowd:
        fields = {"old_password": PASSWORD, "new_password": "something else now"}
        await crowd.lose(
            crowd.two,
            action=lambda: crowd.one.authorized("/me/password", json_body=fields),
            reason="the token has been revoked: password",
        )


async def test_a_stolen_refresh_token_closes_the_sockets_of_its_login(cluster: Cluster) -> None:
    """S15"""
    async with Crowd(cluster) as crowd:
        first = crowd.one.refresh_token
        second = crowd.one.refresh(first).json
        crowd.two.refresh(second["refresh_token"])
        await crowd.lose(
            crowd.one,
            action=lambda: crowd.bob.refresh(first),
            reason="the token has been revoked: reuse",
        )


async def test_a_token_without_a_login_is_revoked_everywhere(cluster: Cluster) -> None:
    """S04, S12"""
    mine, other = make_token("machine"), make_token("machine")
    sockets = [await listen(replica.ws, "machines", mine) for replica in cluster.replicas]
    stays = await listen(cluster.replicas[0].ws, "machines", other)
    person = Person(cluster.replicas[0].http)
    assert person.call("/logout", token=mine).status == 200
    for socket in sockets:
        assert await closing_of(socket, SECONDS) == (1008, "the token has been revoked: logout")
    await publish(cluster.replicas[2].http, "machines", 1, SYSTEM)
    assert (await receive_json(stays))["data"] == 1
    await stays.close()


def test_twenty_refreshes_on_three_replicas_have_one_answer(cluster: Cluster) -> None:
    """S16"""
    person = member(cluster.replicas[0].http)
    everywhere = [Person(replica.http) for replica in cluster.replicas] * 7
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda one: one.refresh(person.refresh_token), everywhere[:20]))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.json["refresh_token"] for answer in answers}) == 1
    person.tokens = answers[0].json
    assert person.refresh().status == 200


async def test_new_roles_count_on_every_replica_after_a_refresh(cluster: Cluster) -> None:
    """S13, S32"""
    person = member(cluster.replicas[0].http)
    as_admin(cluster.replicas[1].http, f"/users/{person.name}/roles", "PUT", {"roles": ["admin"]})
    person.tokens = Person(cluster.replicas[2].http).refresh(person.refresh_token).json
    for replica in cluster.replicas:
        person.http = replica.http
        assert person.authorized("/users/connected", method="GET").status == 200


@pytest.mark.parametrize("index", [0, 1], ids=["native", "asgi"])
async def test_a_socket_is_told_before_its_token_expires_and_then_ends(
    cluster: Cluster, index: int
) -> None:
    """S11"""
    replica = cluster.replicas[index]
    expires_at = int(time.time()) + 3
    async with listen(replica.ws, "room", make_token("tina", ttl=3)) as socket:
        notice = await receive_json(socket)
        assert notice["type"] == "expires"
        assert abs(notice["expires_at"] - expires_at) <= 1
        assert time.time() < notice["expires_at"]
        assert await closing_of(socket) == (1008, "the token has expired")
        assert notice["expires_at"] <= time.time() < notice["expires_at"] + 2


async def test_no_socket_survives_that_is_opened_while_its_token_is_revoked(
    cluster: Cluster,
) -> None:
    """S12: each connect asks for a channel of its own, and so waits for Redis."""
    for round in range(5):
        person = member(cluster.replicas[0].http)
        opening = [
            asyncio.ensure_future(open_late(replica, person, n / 300, f"late-{round}-{n}"))
            for n in range(30)
            for replica in cluster.replicas
        ]
        await asyncio.sleep(0.05)
        await asyncio.to_thread(person.authorized, "/logout")
        sockets = await asyncio.gather(*opening)
        codes = [(await closing_of(socket, 2))[0] for socket in sockets]
        assert set(codes) == {1008}


async def open_late(
    replica: GatewayProcess, person: Person, seconds: float, channel: str
) -> ClientConnection:
    await asyncio.sleep(seconds)
    return await listen(replica.ws, channel, person.access_token)
