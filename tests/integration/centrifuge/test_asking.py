"""History, presence, and who comes and goes."""

import asyncio
from typing import Any

import pytest

from tests.integration.centrifuge.test_recovery import say
from tests.support.centrifuge import Peer, jwt
from tests.support.clients import listen, make_token
from tests.support.servers import GatewayProcess


def data_of(result: Any) -> list[Any]:
    return [each["data"] for each in result["publications"]]


async def test_history_by_page_in_both_directions(gateway: GatewayProcess, channel: str) -> None:
    *_, last = await say(gateway, channel, 1, 2, 3, 4)
    epoch = last["epoch"]
    async with await Peer.enter(gateway.ws) as peer:

        async def history(**params: object) -> Any:
            return await peer.ask("history", channel=channel, **params)

        assert await history() == {"publications": [], "epoch": epoch, "offset": 4}
        assert data_of(await history(limit=-1)) == [1, 2, 3, 4]
        assert data_of(await history(limit=2)) == [1, 2]
        assert data_of(await history(limit=2, reverse=True)) == [4, 3]
        middle = {"epoch": epoch, "offset": 2}
        assert data_of(await history(limit=-1, since=middle)) == [3, 4]
        assert data_of(await history(limit=-1, since=middle, reverse=True)) == [1]
        assert data_of(await history(limit=-1, since={"epoch": "", "offset": 2})) == [3, 4]
        assert data_of(await history(limit=1, since={"epoch": epoch, "offset": 0})) == [1]
        assert (await history(limit=0, since=middle))["publications"] == []


async def test_history_is_refused_with_the_reason_s_number(
    gateway: GatewayProcess, channel: str
) -> None:
    await say(gateway, channel, 1)
    async with await Peer.enter(gateway.ws) as peer:
        other = {"epoch": "other", "offset": 1}
        assert (await peer.refused("history", channel=channel, since=other))[0] == 112
        start = {"epoch": "", "offset": 0}
        params = {"since": start, "reverse": True}
        assert (await peer.refused("history", channel=channel, **params))[0] == 107
        assert (await peer.refused("history", channel="bare:x"))[0] == 108
        assert (await peer.refused("history", channel="secret:x"))[0] == 103
        assert (await peer.refused("history", channel="closed:x"))[0] == 103
        assert (await peer.refused("history", channel="a b"))[0] == 107


async def test_presence_lists_clients_with_what_is_known_of_them(
    gateway: GatewayProcess, channel: str
) -> None:
    token = jwt("ana", info={"name": "Ana"})
    async with (
        await Peer.enter(gateway.ws, token) as ana,
        await Peer.enter(gateway.ws, token) as again,
        await Peer.enter(gateway.ws) as alice,
        listen(gateway.ws, channel, make_token("plain")),
    ):
        for peer in (ana, again, alice):
            await peer.ask("subscribe", channel=channel)
        assert (await alice.ask("presence", channel=channel))["presence"] == {
            ana.client: {"user": "ana", "client": ana.client, "conn_info": {"name": "Ana"}},
            again.client: {"user": "ana", "client": again.client, "conn_info": {"name": "Ana"}},
            alice.client: {"user": "alice", "client": alice.client},
        }
        # The plain socket is a connection of a user, too.
        stats = await alice.ask("presence_stats", channel=channel)
        assert stats == {"num_clients": 4, "num_users": 3}
        await again.ask("unsubscribe", channel=channel)
        assert len((await alice.ask("presence", channel=channel))["presence"]) == 2


async def test_who_asks_at_once_is_counted(ws: str, channel: str) -> None:
    async with await Peer.enter(ws) as peer:
        await peer.send(
            {"id": 100, "subscribe": {"channel": channel}},
            {"id": 101, "presence_stats": {"channel": channel}},
        )
        stats = (await peer.reply(101))["presence_stats"]
        assert stats == {"num_clients": 1, "num_users": 1}


@pytest.mark.parametrize("method", ["presence", "presence_stats"])
async def test_presence_is_refused_with_the_reason_s_number(ws: str, method: str) -> None:
    async with await Peer.enter(ws) as peer:
        assert (await peer.refused(method, channel="bare:x"))[0] == 108
        assert (await peer.refused(method, channel="secret:x"))[0] == 103
        assert (await peer.refused(method, channel="a b"))[0] == 107


async def test_everybody_hears_who_comes_and_goes(gateway: GatewayProcess, channel: str) -> None:
    name = f"chat:{channel}"
    async with await Peer.enter(gateway.ws) as alice:
        await alice.ask("subscribe", channel=name)
        own = {"user": "alice", "client": alice.client}
        assert await alice.push(name) == {"channel": name, "join": {"info": own}}
        async with await Peer.enter(gateway.ws, jwt("bob", info=[1])) as bob:
            await bob.ask("subscribe", channel=name)
            info = {"user": "bob", "client": bob.client, "conn_info": [1]}
            assert await alice.push(name) == {"channel": name, "join": {"info": info}}
            assert await bob.push(name) == {"channel": name, "join": {"info": info}}
        assert await alice.push(name) == {"channel": name, "leave": {"info": info}}


async def test_plain_sockets_hear_of_users_and_clients_do_not(
    gateway: GatewayProcess, channel: str
) -> None:
    name = f"chat:{channel}"
    async with (
        await Peer.enter(gateway.ws) as alice,
        listen(gateway.ws, name, make_token("plain")) as plain,
    ):
        await alice.ask("subscribe", channel=name)
        assert "join" in await alice.push(name)
        async with asyncio.timeout(5):
            kinds = [await plain.recv(), await plain.recv()]
        assert all('"type":"user_joined"' in str(kind) for kind in kinds)
        await say(gateway, name, 1)
        assert (await alice.pub(name))["data"] == 1  # and nothing before it


async def test_a_quiet_namespace_tells_nothing(gateway: GatewayProcess, channel: str) -> None:
    async with await Peer.enter(gateway.ws) as alice, await Peer.enter(gateway.ws) as bob:
        await alice.ask("subscribe", channel=channel)
        await bob.ask("subscribe", channel=channel)
        await say(gateway, channel, 1)
        assert (await alice.pub(channel))["data"] == 1
