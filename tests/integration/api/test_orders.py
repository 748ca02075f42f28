"""What is done to connections, on whichever of three replicas they are."""

import asyncio
import json
import time
from collections.abc import Iterator

import pytest

from tests.integration.api.conftest import KEY, ask, error, result, write_config
from tests.support.centrifuge import Peer, jwt, subscription_token
from tests.support.clients import closing_of, listen, make_token
from tests.support.cluster import Cluster, cluster_of_three
from tests.support.event_source import EventSource
from tests.support.servers import GatewayProcess

pytestmark = pytest.mark.timeout(120)  # starting the cluster counts, too


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("api")
    with cluster_of_three(directory, config=write_config(directory), api_key=KEY) as cluster:
        yield cluster


@pytest.fixture
def first(cluster: Cluster) -> GatewayProcess:
    return cluster.replicas[0]


@pytest.fixture
def second(cluster: Cluster) -> GatewayProcess:
    return cluster.replicas[1]


@pytest.fixture
def third(cluster: Cluster) -> GatewayProcess:
    return cluster.replicas[2]


@pytest.fixture
def user(channel: str) -> str:
    return f"user-{channel}"


async def test_an_answer_means_that_every_replica_has_done_it(
    first: GatewayProcess, second: GatewayProcess, third: GatewayProcess, channel: str, user: str
) -> None:
    async with (
        await Peer.enter(second.ws, jwt(user)) as one,
        await Peer.enter(third.ws, jwt(user)) as other,
    ):
        assert await result(first, "subscribe", user=user, channel=channel) == {}
        presence = await result(first, "presence", channel=channel)
        assert set(presence["presence"]) == {one.client, other.client}
        for peer in (one, other):
            assert "subscribe" in await peer.push(channel)
        # Once more changes nothing, and tells nobody.
        assert await result(first, "subscribe", user=user, channel=channel) == {}
        await result(first, "publish", channel=channel, data=1)
        for peer in (one, other):
            assert (await peer.pub(channel))["data"] == 1
        assert await result(first, "unsubscribe", user=user, channel=channel) == {}
        assert (await result(first, "presence", channel=channel))["presence"] == {}
        for peer in (one, other):
            assert (await peer.push(channel))["unsubscribe"]["code"] == 2000


async def test_one_client_is_meant_and_the_others_stay(
    first: GatewayProcess, third: GatewayProcess, channel: str, user: str
) -> None:
    async with (
        await Peer.enter(first.ws, jwt(user)) as one,
        await Peer.enter(third.ws, jwt(user)) as other,
    ):
        params = {"user": user, "channel": channel, "client": other.client}
        assert await result(first, "subscribe", **params) == {}
        presence = await result(first, "presence", channel=channel)
        assert set(presence["presence"]) == {other.client}
        assert await result(first, "disconnect", user=user, session="nobody-s") == {}
        assert await result(first, "disconnect", user="somebody", client=one.client) == {}
        assert await result(first, "disconnect", user=user, client=one.client) == {}
        assert await one.closed() == (3503, "force disconnect")
        assert await other.ask("presence_stats", channel=channel)


async def test_the_clients_of_the_whitelist_stay(
    first: GatewayProcess, third: GatewayProcess, channel: str, user: str
) -> None:
    async with (
        await Peer.enter(first.ws, jwt(user)) as one,
        await Peer.enter(third.ws, jwt(user)) as other,
    ):
        assert await result(first, "disconnect", user=user, whitelist=[one.client]) == {}
        assert (await other.closed())[0] == 3503
        assert await one.ask("presence_stats", channel=channel)


async def test_plain_sockets_are_closed_too(
    first: GatewayProcess, second: GatewayProcess, third: GatewayProcess, channel: str, user: str
) -> None:
    token = make_token(user)
    async with (
        listen(second.ws, channel, token) as asgi,
        listen(third.ws, channel, token) as native,
        listen(third.ws, f"{channel}-2", token) as elsewhere,
        listen(second.ws, f"{channel}-2", token) as elsewhere_asgi,
    ):
        await result(first, "disconnect", user=user, client="a-client")  # they have no id
        await result(first, "unsubscribe", user=user, channel=channel)
        for socket in (asgi, native):
            assert await closing_of(socket) == (1008, "unsubscribed by the server")
        why = {"code": 4000, "reason": "go away"}
        await result(first, "disconnect", user=user, disconnect=why)
        for socket in (elsewhere, elsewhere_asgi):
            assert await closing_of(socket) == (4000, "go away")
    async with listen(third.ws, channel, token) as again:
        await result(first, "disconnect", user=user, disconnect={"code": 0, "reason": "go away"})
        assert await closing_of(again) == (1008, "go away")


async def test_an_event_stream_ends_too(
    first: GatewayProcess, third: GatewayProcess, channel: str, user: str
) -> None:
    async with EventSource(third.http, channel, make_token(user)) as stream:
        await result(first, "disconnect", user=user)
        (last,) = await stream.end()
        assert "force disconnect" in last.data


async def test_a_connection_expires_when_it_is_said(
    first: GatewayProcess, third: GatewayProcess, channel: str, user: str
) -> None:
    async with (
        await Peer.enter(third.ws, jwt(user)) as peer,
        listen(third.ws, channel, make_token(user)) as plain,
    ):
        at = int(time.time()) + 100
        await result(first, "refresh", user=user, expire_at=at, info={"n": 2})
        await peer.ask("subscribe", channel=channel)
        refreshed = next(each for each in peer.seen if "refresh" in each.get("push", {}))
        assert refreshed["push"]["refresh"]["expires"] is True
        assert 90 <= refreshed["push"]["refresh"]["ttl"] <= 100
        presence = await result(first, "presence", channel=channel)
        assert presence["presence"][peer.client]["conn_info"] == {"n": 2}
        await result(first, "refresh", user=user, expired=True)
        assert (await peer.closed())[0] == 3005
        assert (await closing_of(plain))[0] == 1008


async def test_the_server_s_word_opens_what_grants_do_not_but_roles_stay(
    first: GatewayProcess, third: GatewayProcess, channel: str, user: str
) -> None:
    async with await Peer.enter(third.ws, jwt(user)) as peer:
        name = f"${channel}"
        assert (await peer.refused("subscribe", channel=name))[0] == 103
        await result(first, "subscribe", user=user, channel=name)
        assert "subscribe" in await peer.push(name)
        params = {"user": user, "channel": "members:room"}
        assert (await asyncio.to_thread(error, first, "subscribe", params))[0] == 103
        assert await peer.ask("unsubscribe", channel=name) == {}


async def test_a_subscription_of_the_client_s_own_can_be_ended(
    first: GatewayProcess, third: GatewayProcess, channel: str, user: str
) -> None:
    async with await Peer.enter(third.ws, jwt(user)) as peer:
        token = subscription_token(channel, user)
        await peer.ask("subscribe", channel=channel, token=token)
        await result(first, "unsubscribe", user=user, channel=channel)
        assert (await peer.push(channel))["unsubscribe"]["code"] == 2000
        assert await peer.ask("subscribe", channel=channel, token=token) is not None


async def test_every_replica_has_its_line_and_channels_are_counted_together(
    cluster: Cluster, first: GatewayProcess, third: GatewayProcess, channel: str, user: str
) -> None:
    async with (
        await Peer.enter(first.ws, jwt(user)) as peer,
        listen(third.ws, channel, make_token(user)),
    ):
        await peer.ask("subscribe", channel=channel)
        found = await result(third, "channels", pattern=f"{channel}*")
        assert found == {"channels": {channel: {"num_clients": 2}}}
        nodes = (await result(third, "info"))["nodes"]
        assert len({node["uid"] for node in nodes}) == len(cluster.replicas) == 3
        assert sum(node["num_clients"] for node in nodes) >= 2
        assert all(node["version"] and node["uptime"] >= 0 for node in nodes)


async def test_a_history_is_removed_for_all_replicas(
    first: GatewayProcess, third: GatewayProcess, channel: str
) -> None:
    async with await Peer.enter(third.ws) as peer:
        before = await result(first, "publish", channel=channel, data=1)
        await result(first, "history_remove", channel=channel)
        found = await result(third, "history", channel=channel, limit=10)
        assert found == {"publications": [], **before}
        await peer.ask("subscribe", channel=channel)
        after = await result(first, "publish", channel=channel, data=2)
        assert (after["offset"], after["epoch"]) == (2, before["epoch"])
        assert (await peer.pub(channel))["offset"] == 2


async def test_with_a_replica_frozen_an_order_is_still_answered_and_a_list_is_not(
    cluster: Cluster, first: GatewayProcess, third: GatewayProcess, user: str
) -> None:
    async with await Peer.enter(first.ws, jwt(user)) as peer:
        third.freeze()
        try:
            assert await result(first, "disconnect", user=user) == {}
            assert (await peer.closed())[0] == 3503
            assert (await asyncio.to_thread(error, first, "info", {}))[0] == 100
        finally:
            third.thaw()


async def test_tags_reach_plain_sockets_through_redis(
    first: GatewayProcess, third: GatewayProcess, channel: str, user: str
) -> None:
    async with listen(third.ws, channel, make_token(user)) as socket:
        tags = {"kind": "a", "ñ": "é"}
        await result(first, "publish", channel=channel, data=1, tags=tags)
        message = json.loads(await asyncio.wait_for(socket.recv(), 5))
        assert (message["data"], message["tags"]) == (1, tags)
        await result(first, "publish", channel=channel, data=2)
        assert "tags" not in json.loads(await asyncio.wait_for(socket.recv(), 5))


def test_while_redis_hangs_nothing_is_said_to_have_been_done(cluster: Cluster) -> None:
    first = cluster.replicas[0]
    cluster.redis.freeze()
    try:
        assert error(first, "publish", {"channel": "room", "data": 1})[0] == 100
        assert error(first, "history_remove", {"channel": "room"})[0] == 100
        assert error(first, "disconnect", {"user": "nobody"})[0] == 100
        headers = {"X-Centrifugo-Error-Mode": "transport"}
        answer = ask(first, "publish", {"channel": "room", "data": 1}, headers=headers)
        assert (answer.status, answer.json["code"]) == (500, 100)
    finally:
        cluster.redis.thaw()
