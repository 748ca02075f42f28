"""Compression through a real process: agreed sockets share a frame, others are left alone.

The native door alone has it: the portable one hands over messages, not frames to be shared.
"""

import contextlib
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from tests.faults.support.watching import rss_bytes
from tests.support.clients import RawClient, client_frame, make_token, publish, receive_json
from tests.support.servers import GatewayProcess

PUBLISHER = make_token("paula", "publisher")
OFFER = {"Sec-WebSocket-Extensions": "permessage-deflate"}
BEARER = {"Authorization": f"Bearer {PUBLISHER}"}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with GatewayProcess(tmp_path_factory.mktemp("deflate"), compression=True) as process:
        yield process


async def test_compressed_and_plain_sockets_read_the_same(
    gateway: GatewayProcess, channel: str
) -> None:
    url = f"{gateway.ws}/ws/{channel}"
    async with (
        connect(url, additional_headers=BEARER) as deflated,
        connect(url, additional_headers=BEARER, compression=None) as plain,
    ):
        await publish(gateway.http, channel, "Hola canal " * 500, PUBLISHER)
        assert await receive_json(deflated) == await receive_json(plain)
        await deflated.send("from a client that compresses " * 50)
        assert await receive_json(deflated) == await receive_json(plain)


async def test_the_bytes_on_the_wire_are_fewer(gateway: GatewayProcess, channel: str) -> None:
    with RawClient(gateway.port) as client:
        head = client.upgrade(f"/ws/{channel}", BEARER | OFFER)
        assert b"server_no_context_takeover" in head
        await publish(gateway.http, channel, "x" * 10_000, PUBLISHER)
        opcode, payload = client.read_frame()

    assert opcode == 1
    assert len(payload) < 500


def test_a_bomb_is_not_unpacked(gateway: GatewayProcess, channel: str) -> None:
    """S43"""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = compressor.compress(bytes(50_000_000)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    with RawClient(gateway.port) as client:
        client.upgrade(f"/ws/{channel}", BEARER | OFFER)
        client.send(client_frame(0x41, bomb.removesuffix(b"\x00\x00\xff\xff")))
        assert client.read_close()[0] == 1009


def test_ten_bombs_take_no_memory(gateway: GatewayProcess, channel: str) -> None:
    """S43: what a bomb would be is 50 MB; each is left at the limit of a message."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = compressor.compress(bytes(50_000_000)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    before = rss_bytes(gateway.pid)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(RawClient(gateway.port)) for _ in range(10)]
        for client in clients:
            client.upgrade(f"/ws/{channel}", BEARER | OFFER)
        for client in clients:
            client.send(client_frame(0x41, bomb.removesuffix(b"\x00\x00\xff\xff")))
        assert {client.read_close()[0] for client in clients} == {1009}
        assert rss_bytes(gateway.pid) - before < 20_000_000


@pytest.mark.parametrize("settings", [{}, {"compression": True, "socket_door": "asgi"}])
def test_elsewhere_it_is_off(directory: Path, channel: str, settings: dict[str, object]) -> None:
    """S43, S44"""
    with GatewayProcess(directory, **settings) as gateway, RawClient(gateway.port) as client:
        head = client.upgrade(f"/ws/{channel}", BEARER | OFFER)
        assert b"sec-websocket-extensions" not in head.lower()
        client.send(client_frame(0x41, b"x"))
        assert client.read_close()[0] == 1002
