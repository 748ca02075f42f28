"""Differences in place of whole messages, for those who ask where the namespace has them."""

import asyncio
import json
from typing import Any

import pytest

from gateway.protocols.centrifuge import fossil
from tests.support.centrifuge import Peer, jwt
from tests.support.clients import publish

WORDS = " ".join(f"word-{n}" for n in range(60))


class Reader:
    """What a client makes of what it gets."""

    def __init__(self, peer: Peer, channel: str) -> None:
        self._peer = peer
        self._channel = channel
        self._last = b""
        self.patches = 0

    async def next(self) -> Any:
        return self.read(await self._peer.pub(self._channel))

    def read(self, pub: Any) -> Any:
        assert isinstance(pub["data"], str)
        data = pub["data"].encode()
        if pub.get("delta"):
            self.patches += 1
            assert len(data) < len(self._last)
            data = fossil.apply(data, self._last)
        self._last = data
        return json.loads(data)


@pytest.fixture
def name(channel: str) -> str:
    return f"delta:{channel}"


async def entered(ws: str, sub: str = "alice") -> Peer:
    return await Peer.enter(ws, jwt(sub))


async def test_the_first_is_whole_and_the_next_are_differences(
    ws: str, gateway: Any, name: str, publisher: str
) -> None:
    async with await entered(ws) as peer:
        result = await peer.ask("subscribe", channel=name, delta="fossil")
        assert result["delta"] is True
        reader = Reader(peer, name)
        for n in range(5):
            await publish(gateway.http, name, {"n": n, "words": WORDS}, publisher)
            assert await reader.next() == {"n": n, "words": WORDS}
        assert reader.patches == 4


async def test_who_joins_later_gets_the_next_one_whole(
    ws: str, gateway: Any, name: str, publisher: str
) -> None:
    async with await entered(ws) as early, await entered(ws, "bob") as late:
        await early.ask("subscribe", channel=name, delta="fossil")
        readers = [Reader(early, name), Reader(late, name)]
        await publish(gateway.http, name, {"n": 0, "words": WORDS}, publisher)
        assert (await readers[0].next())["n"] == 0
        await late.ask("subscribe", channel=name, delta="fossil")
        for n in (1, 2):
            await publish(gateway.http, name, {"n": n, "words": WORDS}, publisher)
            assert [(await reader.next())["n"] for reader in readers] == [n, n]
        assert [reader.patches for reader in readers] == [2, 1]


async def test_what_is_recovered_is_differences_but_the_first(
    ws: str, gateway: Any, name: str, publisher: str
) -> None:
    for n in range(4):
        await publish(gateway.http, name, {"n": n, "words": WORDS}, publisher)
    async with await entered(ws) as peer:
        history = await peer.ask("history", channel=name, limit=0)
        since = {"recover": True, "epoch": history["epoch"], "offset": 1}
        result = await peer.ask("subscribe", channel=name, delta="fossil", **since)
        reader = Reader(peer, name)
        assert [reader.read(pub)["n"] for pub in result["publications"]] == [1, 2, 3]
        assert reader.patches == 2
        for n in (4, 5):
            await publish(gateway.http, name, {"n": n, "words": WORDS}, publisher)
            assert (await reader.next())["n"] == n
        assert reader.patches == 3


async def test_a_message_that_is_shorter_than_its_difference_is_whole(
    ws: str, gateway: Any, name: str, publisher: str
) -> None:
    async with await entered(ws) as peer:
        await peer.ask("subscribe", channel=name, delta="fossil")
        reader = Reader(peer, name)
        for text in ("a", "b", "ñ" * 40, "á" * 40):
            await publish(gateway.http, name, text, publisher)
            assert await reader.next() == text
        assert reader.patches == 0


async def test_messages_that_come_together_follow_each_other(
    ws: str, gateway: Any, name: str
) -> None:
    token = jwt("paula", role="publisher")
    async with await entered(ws) as peer, await Peer.enter(ws, token) as paula:
        await peer.ask("subscribe", channel=name, delta="fossil")
        await paula.send(
            *(
                {"id": 100 + n, "publish": {"channel": name, "data": {"n": n, "words": WORDS}}}
                for n in range(20)
            )
        )
        reader = Reader(peer, name)
        assert [(await reader.next())["n"] for _ in range(20)] == [*range(20)]
        assert reader.patches == 19


@pytest.mark.parametrize("asked", ["", "fossil", "other"])
async def test_where_it_is_not_agreed_on_messages_are_plain(
    ws: str, gateway: Any, channel: str, publisher: str, asked: str
) -> None:
    name = f"delta:{channel}" if asked == "other" else channel
    async with await entered(ws) as peer:
        assert "delta" not in await peer.ask("subscribe", channel=name, delta=asked)
        await publish(gateway.http, name, {"n": 1}, publisher)
        assert (await peer.pub(name))["data"] == {"n": 1}


async def test_who_did_not_ask_hears_the_same_channel_plainly(
    ws: str, gateway: Any, name: str, publisher: str
) -> None:
    async with await entered(ws) as peer, await entered(ws, "bob") as plain:
        await asyncio.gather(
            peer.ask("subscribe", channel=name, delta="fossil"),
            plain.ask("subscribe", channel=name),
        )
        await publish(gateway.http, name, {"n": 1}, publisher)
        assert (await plain.pub(name))["data"] == {"n": 1}
        assert await Reader(peer, name).next() == {"n": 1}
