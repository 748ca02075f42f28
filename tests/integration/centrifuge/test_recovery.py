"""Coming back: what was missed is brought, or said to be lost; nothing comes twice."""

import asyncio
from typing import Any

from tests.support.centrifuge import Peer
from tests.support.clients import make_token, publish
from tests.support.servers import GatewayProcess


async def say(gateway: GatewayProcess, channel: str, *data: object) -> list[Any]:
    token = make_token("paula", "publisher")
    return [(await publish(gateway.http, channel, each, token)).json for each in data]


def since(receipt: Any, **changes: object) -> dict[str, object]:
    return {"recover": True, "epoch": receipt["epoch"], "offset": receipt["offset"], **changes}


async def test_what_was_missed_comes_in_front_of_what_is_live(
    gateway: GatewayProcess, channel: str
) -> None:
    first, *_, last = await say(gateway, channel, 1, 2, 3)
    async with await Peer.enter(gateway.ws) as peer:
        result = await peer.ask("subscribe", channel=channel, **since(first))
        assert result == {
            "recoverable": True,
            "positioned": True,
            "epoch": first["epoch"],
            "offset": 1,
            "recovered": True,
            "was_recovering": True,
            "publications": [{"data": 2, "offset": 2}, {"data": 3, "offset": 3}],
        }
        await say(gateway, channel, 4)
        assert (await peer.pub(channel))["offset"] == last["offset"] + 1


async def test_who_missed_nothing_has_recovered(gateway: GatewayProcess, channel: str) -> None:
    *_, last = await say(gateway, channel, 1, 2)
    async with await Peer.enter(gateway.ws) as peer:
        result = await peer.ask("subscribe", channel=channel, **since(last))
        assert (result["recovered"], result["offset"]) == (True, 2)
        assert "publications" not in result


async def test_a_newcomer_learns_where_the_channel_is(
    gateway: GatewayProcess, channel: str
) -> None:
    *_, last = await say(gateway, channel, 1, 2)
    async with await Peer.enter(gateway.ws) as peer:
        result = await peer.ask("subscribe", channel=channel)
        assert (result["epoch"], result["offset"]) == (last["epoch"], 2)
        assert "was_recovering" not in result


async def test_a_gap_is_told_and_brings_nothing(gateway: GatewayProcess, channel: str) -> None:
    name = f"short:{channel}"
    first, *_, last = await say(gateway, name, *range(6))
    for changes in ({}, {"epoch": "other"}, {"offset": last["offset"] + 7}):
        async with await Peer.enter(gateway.ws) as peer:
            result = await peer.ask("subscribe", channel=name, **since(first, **changes))
            assert result["was_recovering"] is True
            assert "recovered" not in result
            assert "publications" not in result
            assert (result["epoch"], result["offset"]) == (last["epoch"], last["offset"])
            await say(gateway, name, "live")
            last = {"epoch": last["epoch"], "offset": last["offset"] + 1}
            assert (await peer.pub(name))["data"] == "live"


async def test_a_client_may_rather_be_refused_than_miss_anything(
    gateway: GatewayProcess, channel: str
) -> None:
    name = f"short:{channel}"
    first, *_, last = await say(gateway, name, *range(6))
    async with await Peer.enter(gateway.ws) as peer:
        error = await peer.refused("subscribe", channel=name, flag=3, **since(first))
        assert error == (112, "unrecoverable position")
        result = await peer.ask("subscribe", channel=name, flag=3, **since(last))
        assert result["recovered"] is True


async def test_who_joined_before_the_first_message_recovers_without_an_epoch(
    gateway: GatewayProcess, channel: str
) -> None:
    async with await Peer.enter(gateway.ws) as peer:
        result = await peer.ask("subscribe", channel=channel)
        assert "epoch" not in result
        (first,) = await say(gateway, channel, 1)
        assert (await peer.pub(channel))["epoch"] == first["epoch"]
        await peer.ask("unsubscribe", channel=channel)
        await say(gateway, channel, 2)
        nowhere = {"recover": True, "epoch": "", "offset": 0}
        result = await peer.ask("subscribe", channel=channel, **nowhere)
        assert [each["data"] for each in result["publications"]] == [1, 2]
        assert result["epoch"] == first["epoch"]
        await peer.ask("unsubscribe", channel=channel)
        result = await peer.ask("subscribe", channel=channel, recover=True, epoch="", offset=1)
        assert [each["data"] for each in result["publications"]] == [2]
        await peer.ask("unsubscribe", channel=channel)
        result = await peer.ask("subscribe", channel=channel, recover=True, epoch="", offset=9)
        assert "recovered" not in result


async def test_more_than_300_messages_are_a_gap(gateway: GatewayProcess, channel: str) -> None:
    publisher = make_token("paula", "publisher")
    name = f"long:{channel}"
    async with await Peer.enter(gateway.ws, publisher) as peer:
        for _ in range(10):
            await peer.send(
                *({"id": n, "publish": {"channel": name, "data": n}} for n in range(1, 32))
            )
            for n in range(1, 32):
                assert "publish" in await peer.reply(n)
        history = await peer.ask("history", channel=name, limit=-1)
        assert len(history["publications"]) == history["offset"] == 310
        epoch = history["epoch"]
        for offset, is_recovered in ((10, True), (9, False)):
            result = await peer.ask(
                "subscribe", channel=name, recover=True, epoch=epoch, offset=offset
            )
            assert result.get("recovered", False) is is_recovered
            await peer.ask("unsubscribe", channel=name)


async def test_without_history_nothing_can_be_recovered(
    gateway: GatewayProcess, channel: str
) -> None:
    for name in (f"bare:{channel}", f"secret:{channel}"):
        first, _ = await say(gateway, name, 1, 2)
        async with await Peer.enter(gateway.ws) as peer:
            assert await peer.ask("subscribe", channel=name) == {}
            await peer.ask("unsubscribe", channel=name)
            result = await peer.ask("subscribe", channel=name, **since(first))
            assert result == {"was_recovering": True}
            await say(gateway, name, 3)
            assert (await peer.pub(name))["data"] == 3


async def test_nothing_is_missing_or_double_while_messages_keep_coming(
    gateway: GatewayProcess, channel: str
) -> None:
    publisher = make_token("paula", "publisher")

    async def keep_publishing() -> None:
        async with await Peer.enter(gateway.ws, publisher) as peer:
            for n in range(80):
                await peer.ask("publish", channel=channel, data=n)

    async with await Peer.enter(gateway.ws) as peer:
        publishing = asyncio.create_task(keep_publishing())
        offsets: list[int] = []
        position: dict[str, object] = {"recover": True, "epoch": "", "offset": 0}
        while not offsets or offsets[-1] < 80:
            result = await peer.ask("subscribe", channel=channel, **position)
            assert result["recovered"] is True
            offsets += [each["offset"] for each in result.get("publications", ())]
            await asyncio.sleep(0.005)
            await peer.ask("unsubscribe", channel=channel)
            offsets += [push["pub"]["offset"] for push in peer.pushes]
            peer.pushes.clear()
            epoch = result.get("epoch", "")
            position = {"recover": True, "epoch": epoch, "offset": offsets[-1] if offsets else 0}
        await publishing
        assert offsets == [*range(1, 81)]
