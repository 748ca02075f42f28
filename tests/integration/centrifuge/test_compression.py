"""Clients that agreed on compression, and those that did not, hear the same."""

from pathlib import Path

from websockets.asyncio.client import connect

from tests.support.centrifuge import PATH, Peer
from tests.support.clients import make_token, publish
from tests.support.servers import GatewayProcess


async def test_messages_are_compressed_for_those_who_agreed(tmp_path: Path, channel: str) -> None:
    with GatewayProcess(tmp_path, compression=True) as gateway:
        squeezed = Peer(await connect(gateway.ws + PATH, compression="deflate"))
        assert [each.name for each in squeezed.socket.protocol.extensions] == ["permessage-deflate"]
        async with squeezed, await Peer.open(gateway.ws) as plain:
            for peer in (squeezed, plain):
                await peer.ask("connect", token=make_token())
                await peer.ask("subscribe", channel=channel)
            text = "the same again and again " * 100
            await publish(gateway.http, channel, text, make_token("paula", "publisher"))
            for peer in (squeezed, plain):
                assert (await peer.pub(channel))["data"] == text
