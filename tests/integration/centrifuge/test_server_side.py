"""Channels to which the server subscribes a client, and what reaches it from outside."""

import asyncio

from tests.integration.centrifuge.test_recovery import say, since
from tests.support.centrifuge import Peer, jwt
from tests.support.clients import make_token
from tests.support.servers import GatewayProcess


async def test_a_personal_channel_is_there_from_the_start(gateway: GatewayProcess) -> None:
    async with await Peer.enter(gateway.ws, make_token("zoe")) as peer:
        assert set(peer.connected["subs"]) == {"mine:#zoe"}
        await say(gateway, "mine:#zoe", "for zoe")
        assert (await peer.pub("mine:#zoe"))["data"] == "for zoe"


async def test_channels_of_a_token_recover_like_others(
    gateway: GatewayProcess, channel: str
) -> None:
    first, *_ = await say(gateway, channel, 1, 2, 3)
    token = jwt(channels=[channel])
    async with await Peer.enter(gateway.ws, token, subs={channel: since(first)}) as peer:
        sub = peer.connected["subs"][channel]
        assert sub["recovered"] is True
        assert [each["data"] for each in sub["publications"]] == [2, 3]
        await say(gateway, channel, 4)
        assert (await peer.pub(channel))["offset"] == 4


async def test_the_connect_reply_comes_before_what_its_channels_bring(
    gateway: GatewayProcess, channel: str
) -> None:
    publisher = make_token("paula", "publisher")
    is_done = asyncio.Event()

    async def keep_publishing() -> None:
        async with await Peer.enter(gateway.ws, publisher) as peer:
            while not is_done.is_set():
                await peer.ask("publish", channel=channel, data=0)

    publishing = asyncio.create_task(keep_publishing())
    token = jwt(channels=[channel])
    for _ in range(20):
        async with await Peer.enter(gateway.ws, token) as peer:
            start = peer.connected["subs"][channel].get("offset", 0)
            assert "connect" in peer.seen[0]
            offsets = [(await peer.pub(channel))["offset"] for _ in range(3)]
            assert offsets == [start + 1, start + 2, start + 3]
    is_done.set()
    await publishing


async def test_a_client_may_leave_a_channel_of_the_server_s(
    gateway: GatewayProcess, channel: str
) -> None:
    async with await Peer.enter(gateway.ws, jwt(channels=[channel])) as peer:
        assert await peer.ask("unsubscribe", channel=channel) == {}
        assert (await peer.ask("presence", channel=channel))["presence"] == {}
