"""A revocation outlives whatever is away while it is made, and whatever is lost afterwards."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from tests.support.accounts import Person, as_admin, assert_problem, member
from tests.support.clients import RawClient, call, closing_of, listen, make_token
from tests.support.cluster import Cluster, cluster_of_three
from tests.support.servers import REDIS_PASSWORD, GatewayProcess, status_of, wait_until

pytestmark = pytest.mark.timeout(180)  # each test starts a cluster of its own, some of them twice


@pytest.fixture
def cluster(directory: Path) -> Iterator[Cluster]:
    with cluster_of_three(directory) as cluster:
        yield cluster


def accepted_by(cluster: Cluster, token: str) -> list[bool]:
    return [Person(replica.http).is_accepted(token) for replica in cluster.replicas]


def refusal(gateway: GatewayProcess, token: str) -> tuple[int, str]:
    with RawClient(gateway.port) as client:
        head = client.upgrade("/ws/room", {"Authorization": f"Bearer {token}"})
        assert head.startswith(b"HTTP/1.1 101 "), head
        return client.read_close()


def are_red(cluster: Cluster) -> bool:
    return all(status_of(replica.http + "/readyz") == 503 for replica in cluster.replicas)


def test_an_emptied_redis_revives_nothing(cluster: Cluster) -> None:
    """F15: not even in replicas that have just started."""
    person, machine = member(cluster.replicas[0].http), make_token("machine")
    others = member(cluster.replicas[1].http)
    assert person.authorized("/logout").status == 200
    assert person.call("/logout", token=machine).status == 200
    disabled = member(cluster.replicas[1].http)
    as_admin(cluster.replicas[2].http, f"/users/{disabled.name}/disable")
    revoked = [person.access_token, machine, disabled.access_token]

    with Redis(port=cluster.redis.port, password=REDIS_PASSWORD) as redis:
        redis.flushall()
        assert [accepted_by(cluster, token) for token in revoked] == [[False] * 3] * 3
        cluster.restart()
        assert [accepted_by(cluster, token) for token in revoked] == [[False] * 3] * 3
        for replica in cluster.replicas:
            assert refusal(replica, machine) == (1008, "the token has been revoked: logout")
        assert accepted_by(cluster, others.access_token) == [True] * 3
        assert redis.hlen("gw:revocations") == 3


def test_a_restarted_cluster_remembers_from_redis_what_the_database_has_lost(
    cluster: Cluster, directory: Path
) -> None:
    """F15: the other way round, as after a restored backup."""
    token = make_token("machine")
    assert call(f"{cluster.replicas[0].http}/logout", token=token, method="POST").status == 200
    for replica in cluster.replicas:
        replica.terminate()
    for file in directory.glob("accounts.db*"):
        file.unlink()
    cluster.restart()
    assert accepted_by(cluster, token) == [False] * 3


async def test_a_logout_while_redis_is_away_holds_here_at_once_and_there_later(
    cluster: Cluster,
) -> None:
    """S12, F15"""
    here, *others = cluster.replicas
    person = await asyncio.to_thread(member, here.http)
    token = person.access_token
    sockets = [await listen(replica.ws, "room", token) for replica in cluster.replicas]

    cluster.redis.freeze()
    answer = await asyncio.to_thread(person.authorized, "/logout")
    assert answer.status == 200
    assert "when they are back" in answer.json["note"]
    assert await closing_of(sockets[0], 1) == (1008, "the token has been revoked: logout")
    assert not person.is_accepted()

    cluster.redis.thaw()
    for replica, socket in zip(others, sockets[1:], strict=True):
        assert await closing_of(socket, 10) == (1008, "the token has been revoked: logout")
        assert not Person(replica.http).is_accepted(token)


async def test_a_replica_that_was_not_there_learns_it_before_it_lets_anybody_in(
    cluster: Cluster,
) -> None:
    """S14"""
    late = cluster.replicas[2]
    late.terminate()
    token = make_token("machine")
    assert call(f"{cluster.replicas[0].http}/logout", token=token, method="POST").status == 200
    late.start()
    assert refusal(late, token) == (1008, "the token has been revoked: logout")


def test_without_redis_nobody_is_let_in(cluster: Cluster) -> None:
    """S14: a token that another replica revoked a moment ago would pass."""
    token = member(cluster.replicas[0].http).access_token
    cluster.redis.freeze()
    wait_until(lambda: are_red(cluster), "every replica notices", 10)
    for replica in cluster.replicas:
        code, reason = refusal(replica, token)
        assert code == 1013
        assert "retry_ms=" in reason
    cluster.redis.thaw()
    cluster.wait_ready()
    for replica in cluster.replicas:
        RawClient(replica.port).listen("room", token).close()


def test_a_replica_that_starts_without_redis_lets_nobody_in(
    cluster: Cluster, directory: Path
) -> None:
    """S14"""
    token = member(cluster.replicas[0].http).access_token
    for replica in cluster.replicas:
        replica.terminate()
    cluster.redis.kill()
    replica = cluster.replicas[0]
    super(GatewayProcess, replica).start()
    wait_until(lambda: status_of(replica.http + "/livez") == 200, "it answers")
    assert refusal(replica, token)[0] == 1013
    assert status_of(replica.http + "/readyz") == 503


def test_logins_work_without_redis_and_are_still_counted(cluster: Cluster) -> None:
    """S28"""
    http = cluster.replicas[0].http
    person = member(http)
    cluster.redis.freeze()
    assert person.log_in().status == 200
    stranger = Person(http, person.name)
    answers = [stranger.log_in("a guess") for _ in range(12)]
    assert {answer.status for answer in answers[:10]} == {401}
    assert_problem(answers[-1], 429, "limit_reached")
    cluster.redis.thaw()
