"""Into channels and out of them, and what they bring."""

import asyncio
from typing import Any

import pytest

from tests.support.centrifuge import Peer, jwt, subscription_token
from tests.support.clients import listen, make_token, publish, receive_json
from tests.support.servers import GatewayProcess


async def test_a_channel_brings_what_is_published_anywhere(
    gateway: GatewayProcess, channel: str, publisher: str
) -> None:
    async with await Peer.enter(gateway.ws) as peer:
        result = await peer.ask("subscribe", channel=channel)
        assert result == {"recoverable": True, "positioned": True}  # it was never used
        answer = await publish(gateway.http, channel, {"n": 1}, publisher)
        epoch = answer.json["epoch"]
        assert await peer.pub(channel) == {"data": {"n": 1}, "offset": 1, "epoch": epoch}
        async with listen(gateway.ws, channel, publisher) as plain:
            await plain.send("hello")
            assert (await receive_json(plain))["offset"] == 2
        assert await peer.pub(channel) == {"data": "hello", "offset": 2}


async def test_what_a_client_publishes_reaches_everybody(
    gateway: GatewayProcess, channel: str, publisher: str
) -> None:
    async with (
        await Peer.enter(gateway.ws, publisher) as peer,
        listen(gateway.ws, channel, publisher) as plain,
    ):
        await peer.ask("subscribe", channel=channel)
        assert await peer.ask("publish", channel=channel, data={"a": [1]}) == {}
        message = await receive_json(plain)
        assert (message["data"], message["user"]) == ({"a": [1]}, "paula")
        pub = await peer.pub(channel)
        assert pub["data"] == {"a": [1]}
        assert pub["info"] == {"user": "paula", "client": peer.client}


async def test_publishing_needs_the_same_right_as_elsewhere(
    gateway: GatewayProcess, channel: str
) -> None:
    async with await Peer.enter(gateway.ws) as peer:
        assert await peer.refused("publish", channel=channel, data=1) == (103, "permission denied")
        assert await peer.ask("publish", channel="chat:" + channel, data=1) == {}
        assert await peer.refused("publish", channel="chat:" + channel) == (107, "bad request")
        assert await peer.refused("publish", channel="a/b", data=1) == (107, "bad request")


async def test_what_is_published_in_one_frame_keeps_its_order(
    ws: str, channel: str, publisher: str
) -> None:
    async with await Peer.enter(ws, publisher) as peer:
        await peer.ask("subscribe", channel=channel)
        await peer.send(
            *(
                {"id": 100 + n, "publish": {"channel": channel if n % 10 else "a/b", "data": n}}
                for n in range(100)
            )
        )
        for n in range(100):
            reply = await peer.reply(100 + n)
            assert ("error" if n % 10 == 0 else "publish") in reply
        received = [(await peer.pub(channel))["data"] for _ in range(90)]
        assert received == [n for n in range(100) if n % 10]


async def test_a_message_over_the_limit_ends_the_socket(ws: str, publisher: str) -> None:
    async with await Peer.enter(ws, publisher) as peer:
        await peer.say("publish", channel="a", data="x" * 70_000)
        code, _ = await peer.closed()
        assert code == 1009


async def test_after_unsubscribing_nothing_comes_any_more(
    gateway: GatewayProcess, channel: str, publisher: str
) -> None:
    async with await Peer.enter(gateway.ws, publisher) as peer:
        await peer.ask("subscribe", channel=channel)
        assert await peer.ask("unsubscribe", channel=channel) == {}
        await peer.ask("publish", channel=channel, data=1)
        await peer.ask("subscribe", channel=channel)
        await peer.ask("publish", channel=channel, data=2)
        assert (await peer.pub(channel))["data"] == 2
        assert await peer.ask("unsubscribe", channel="never-subscribed") == {}


async def test_a_subscription_is_refused_with_the_reason_s_number(ws: str, channel: str) -> None:
    async with await Peer.enter(ws) as peer:
        await peer.ask("subscribe", channel=channel)
        refused = {
            channel: (105, "already subscribed"),
            "closed:a": (103, "permission denied"),
            "user:bob": (103, "permission denied"),
            "a b": (107, "bad request"),
            "": (107, "bad request"),
            "x" * 201: (107, "bad request"),
        }
        for name, error in refused.items():
            assert await peer.refused("subscribe", channel=name) == error
        assert await peer.refused("subscribe", channel="map", type=1) == (108, "not available")
        assert "subscribe" in await peer.try_("subscribe", channel="user:alice")


async def test_a_client_has_128_channels(ws: str, channel: str) -> None:
    async with await Peer.enter(ws) as peer:
        assert len(peer.connected["subs"]) == 1  # its personal one
        await peer.send(
            *({"id": n, "subscribe": {"channel": f"{channel}-{n}"}} for n in range(100, 228))
        )
        replies = [await peer.reply(n) for n in range(100, 228)]
        assert all("subscribe" in reply for reply in replies[:127])
        assert replies[127]["error"]["code"] == 106
        await peer.ask("unsubscribe", channel=f"{channel}-100")
        await peer.ask("subscribe", channel=channel)


async def test_reserved_names_are_closed_to_others_on_every_door(
    gateway: GatewayProcess, channel: str
) -> None:
    private, own, other = f"${channel}", f"{channel}#alice", f"{channel}#bob"
    async with await Peer.enter(gateway.ws) as peer:
        await peer.ask("subscribe", channel=own)
        for name in (private, other):
            assert (await peer.refused("subscribe", channel=name))[0] == 103
            async with listen(gateway.ws, name, make_token()) as plain:
                await plain.wait_closed()
                assert plain.close_code == 1008
        token = subscription_token(private, info={"n": 1}, data=[7])
        result = await peer.ask("subscribe", channel=private, token=token)
        assert result["expires"] is True
        assert 590 < result["ttl"] <= 600
        assert result["data"] == [7]
        infos = (await peer.ask("presence", channel=private))["presence"]
        assert infos[peer.client]["chan_info"] == {"n": 1}


@pytest.mark.parametrize(
    ("token", "error"),
    [
        ("x", 103),
        (make_token(), 103),
        (jwt(), 103),
        (subscription_token("$a", aud="other"), 103),
        (subscription_token("$a", ttl=-100, iat=1_790_000_000), 109),
        (jwt(channel=7), 103),
    ],
)
async def test_a_token_that_opens_no_channel_is_refused(ws: str, token: str, error: int) -> None:
    async with await Peer.enter(ws) as peer:
        assert (await peer.refused("subscribe", channel="$a", token=token))[0] == error
        assert (await peer.ask("presence", channel="room"))["presence"] == {}


@pytest.mark.parametrize(
    "token",
    [
        subscription_token("$other"),
        subscription_token("$a", "bob"),
        subscription_token("$a", client="another"),
    ],
)
async def test_a_token_for_something_else_ends_the_client(ws: str, token: str) -> None:
    async with await Peer.enter(ws) as peer:
        await peer.say("subscribe", channel="$a", token=token)
        assert await peer.closed() == (3500, "invalid token")


async def test_a_token_for_this_very_client_is_right(ws: str) -> None:
    async with await Peer.enter(ws) as peer:
        token = subscription_token("$a", client=peer.client)
        await peer.ask("subscribe", channel="$a", token=token)


async def test_many_clients_hear_the_same(
    gateway: GatewayProcess, channel: str, publisher: str
) -> None:
    peers = [await Peer.enter(gateway.ws) for _ in range(5)]
    for peer in peers:
        await peer.ask("subscribe", channel=channel)
    for n in range(20):
        await publish(gateway.http, channel, n, publisher)
    for peer in peers:
        assert [(await peer.pub(channel))["data"] for _ in range(20)] == [*range(20)]
    await asyncio.gather(*(peer.socket.close() for peer in peers))


def override(**values: bool) -> dict[str, Any]:
    return {"override": {name: {"value": value} for name, value in values.items()}}


async def test_who_comes_and_goes_is_told_to_those_who_ask(ws: str, channel: str) -> None:
    channel = f"shy:{channel}"
    forced = subscription_token(channel, "carl", **override(force_push_join_leave=True))
    async with (
        await Peer.enter(ws, jwt("alice")) as deaf,
        await Peer.enter(ws, jwt("bob")) as asking,
        await Peer.enter(ws, jwt("carl")) as told,
        await Peer.enter(ws, jwt("paula", role="publisher")) as publisher,
    ):
        await deaf.ask("subscribe", channel=channel)
        await asking.ask("subscribe", channel=channel, join_leave=True)
        assert (await asking.push(channel))["join"]["info"]["user"] == "bob"
        await told.ask("subscribe", channel=channel, token=forced)
        for peer in (asking, told):
            assert (await peer.push(channel))["join"]["info"]["user"] == "carl"
        await publisher.ask("publish", channel=channel, data=1)
        for peer in (deaf, asking, told):
            assert (await peer.pub(channel))["data"] == 1


async def test_a_token_keeps_a_client_out_of_sight(ws: str, channel: str) -> None:
    channel = f"chat:{channel}"
    hidden = subscription_token(channel, "spy", **override(presence=False, join_leave=False))
    async with await Peer.enter(ws) as peer, await Peer.enter(ws, jwt("spy")) as spy:
        await peer.ask("subscribe", channel=channel)
        assert (await peer.push(channel))["join"]["info"]["user"] == "alice"
        await spy.ask("subscribe", channel=channel, token=hidden)
        found = (await peer.ask("presence", channel=channel))["presence"]
        assert [each["user"] for each in found.values()] == ["alice"]
        await spy.ask("unsubscribe", channel=channel)
        async with await Peer.enter(ws, jwt("bob")) as other:
            await other.ask("subscribe", channel=channel)
            assert (await peer.push(channel))["join"]["info"]["user"] == "bob"
