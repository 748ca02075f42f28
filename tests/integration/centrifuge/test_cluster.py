"""Three replicas: who is where, who comes and goes, and what is lost with Redis."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.integration.centrifuge.conftest import write_config
from tests.support.accounts import member
from tests.support.centrifuge import Peer, jwt
from tests.support.clients import make_token, publish
from tests.support.cluster import Cluster, cluster_of_three
from tests.support.servers import GatewayProcess

pytestmark = pytest.mark.timeout(120)  # starting the cluster counts, too


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("clients")
    with cluster_of_three(directory, config=write_config(directory)) as cluster:
        yield cluster


@pytest.fixture
def first(cluster: Cluster) -> GatewayProcess:
    return cluster.replicas[0]


@pytest.fixture
def other(cluster: Cluster) -> GatewayProcess:
    return cluster.replicas[2]


async def test_presence_is_of_all_replicas(
    first: GatewayProcess, other: GatewayProcess, channel: str
) -> None:
    async with (
        await Peer.enter(first.ws) as alice,
        await Peer.enter(other.ws, jwt("bob", info="there")) as bob,
    ):
        await alice.ask("subscribe", channel=channel)
        await bob.ask("subscribe", channel=channel)
        for peer in (alice, bob):
            presence = (await peer.ask("presence", channel=channel))["presence"]
            assert set(presence) == {alice.client, bob.client}
            assert presence[bob.client]["conn_info"] == "there"
        stats = await bob.ask("presence_stats", channel=channel)
        assert stats == {"num_clients": 2, "num_users": 2}


async def test_who_comes_and_goes_is_told_on_all_replicas(
    first: GatewayProcess, other: GatewayProcess, channel: str
) -> None:
    name = f"chat:{channel}"
    async with await Peer.enter(first.ws) as alice:
        await alice.ask("subscribe", channel=name)
        assert "join" in await alice.push(name)
        async with await Peer.enter(other.ws, jwt("bob")) as bob:
            await bob.ask("subscribe", channel=name)
            assert (await alice.push(name))["join"]["info"]["client"] == bob.client
        assert (await alice.push(name))["leave"]["info"]["client"] == bob.client


async def test_a_replica_that_does_not_answer_leaves_the_list_open(
    cluster: Cluster, first: GatewayProcess, other: GatewayProcess, channel: str
) -> None:
    async with await Peer.enter(first.ws) as alice:
        await alice.ask("subscribe", channel=channel)
        other.freeze()
        try:
            answer = await alice.try_("presence", channel=channel)
        finally:
            other.thaw()
        assert answer["error"]["code"] == 100
        assert answer["error"]["temporary"] is True
        await asyncio.to_thread(cluster.wait_ready)


async def test_one_client_recovers_on_another_replica(
    first: GatewayProcess, other: GatewayProcess, channel: str
) -> None:
    publisher = make_token("paula", "publisher")
    async with await Peer.enter(first.ws) as alice:
        await alice.ask("subscribe", channel=channel)
        await publish(other.http, channel, 1, publisher)
        pub = await alice.pub(channel)
    await publish(first.http, channel, 2, publisher)
    where = {"recover": True, "epoch": pub["epoch"], "offset": pub["offset"]}
    async with await Peer.enter(other.ws) as alice:
        result = await alice.ask("subscribe", channel=channel, **where)
        assert [each["data"] for each in result["publications"]] == [2]


async def test_a_logout_ends_the_clients_of_that_login_everywhere(
    first: GatewayProcess, other: GatewayProcess
) -> None:
    person = member(first.http)
    bystander = await Peer.enter(other.ws)
    peer = await Peer.enter(other.ws, person.access_token)
    await asyncio.to_thread(person.authorized, "/logout")
    assert await peer.closed() == (3500, "invalid token")
    assert await bystander.ask("unsubscribe", channel="a") == {}
    async with await Peer.open(first.ws) as peer:
        await peer.say("connect", token=person.access_token)
        assert await peer.closed() == (3500, "invalid token")
    await bystander.socket.close()


async def test_what_is_lost_for_good_ends_the_subscription_to_be_made_anew(
    cluster: Cluster, first: GatewayProcess, other: GatewayProcess, channel: str
) -> None:
    """Redis comes back empty: the channel begins again, in another epoch."""
    publisher = make_token("paula", "publisher")
    async with (
        await Peer.enter(first.ws) as alice,
        await Peer.enter(first.ws, jwt("sam", channels=[channel])) as server_side,
    ):
        await publish(other.http, channel, 1, publisher)
        await alice.ask("subscribe", channel=channel)
        await publish(other.http, channel, 2, publisher)
        assert (await alice.pub(channel))["offset"] == 2
        cluster.redis.kill()
        await asyncio.to_thread(cluster.redis.start)
        await asyncio.to_thread(cluster.wait_ready)
        await publish(other.http, channel, "anew", publisher)
        push = await alice.push(channel, 20)
        assert push["unsubscribe"] == {"code": 2500, "reason": "insufficient state"}
        assert await server_side.closed(20) == (3010, "insufficient state")
        where = {"recover": True, "epoch": "gone", "offset": 2}
        result = await alice.ask("subscribe", channel=channel, **where)
        assert "recovered" not in result
        await publish(other.http, channel, "live", publisher)
        assert (await alice.pub(channel))["data"] == "live"
