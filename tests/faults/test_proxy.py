"""The proxy does to bytes what it is told to, and nothing else."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from tests.faults.support.proxy import Flow, TcpProxy, proxy_to

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Echo:
    """Sends back what it gets, and notes how connections end."""

    def __init__(self) -> None:
        self.ends: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
            self.ends.append("end")
        except OSError:
            self.ends.append("reset")
        finally:
            writer.transport.abort()


@pytest.fixture
async def echo() -> AsyncIterator[tuple[Echo, int]]:
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    yield echo, server.sockets[0].getsockname()[1]
    server.close()


@pytest.fixture
async def proxy(echo: tuple[Echo, int]) -> AsyncIterator[TcpProxy]:
    async with proxy_to(echo[1]) as proxy:
        yield proxy


@pytest.fixture
async def client(proxy: TcpProxy) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    yield reader, writer
    writer.transport.abort()


async def echoed(client: Streams, data: bytes, seconds: float = 5.0) -> bytes:
    client[1].write(data)
    async with asyncio.timeout(seconds):
        return await client[0].readexactly(len(data))


async def is_silent(client: Streams) -> bool:
    try:
        async with asyncio.timeout(0.2):
            await client[0].read(1)
    except TimeoutError:
        return True
    return False


async def eventually(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - it watches what has no event
            await asyncio.sleep(0.01)


async def test_everything_passes(client: Streams) -> None:
    data = bytes(range(256)) * 4000
    assert await echoed(client, data) == data


async def test_an_end_passes(echo: tuple[Echo, int], client: Streams) -> None:
    await echoed(client, b"x")
    client[1].write_eof()
    await eventually(lambda: echo[0].ends == ["end"])
    assert await client[0].read() == b""


async def test_latency_in_both_directions_adds_up(proxy: TcpProxy, client: Streams) -> None:
    proxy.up.latency_seconds, proxy.down.latency_seconds = 0.1, 0.2
    began = time.monotonic()
    await echoed(client, b"x")
    assert time.monotonic() - began >= 0.3


async def test_a_slow_line_is_slow(proxy: TcpProxy, client: Streams) -> None:
    proxy.down.bytes_per_second = 100_000
    began = time.monotonic()
    await echoed(client, bytes(50_000))
    assert time.monotonic() - began >= 0.4


async def test_what_a_black_hole_held_comes_when_it_heals(proxy: TcpProxy, client: Streams) -> None:
    proxy.black_hole()
    client[1].write(b"held")
    assert await is_silent(client)
    proxy.heal()
    assert await client[0].readexactly(4) == b"held"


async def test_a_black_hole_in_one_direction_lets_the_other_pass(
    echo: tuple[Echo, int], proxy: TcpProxy, client: Streams
) -> None:
    await echoed(client, b"x")
    proxy.black_hole(down=True, up=False)
    client[1].write(b"y")
    client[1].write_eof()
    await eventually(lambda: echo[0].ends == ["end"])
    assert await is_silent(client)


async def test_who_comes_into_a_black_hole_gets_no_answer(proxy: TcpProxy, client: Streams) -> None:
    proxy.black_hole()
    newcomer = await asyncio.open_connection("127.0.0.1", proxy.port)
    newcomer[1].write(b"hello")
    assert await is_silent(newcomer)
    proxy.heal()
    assert await newcomer[0].readexactly(5) == b"hello"
    newcomer[1].transport.abort()


async def test_what_was_swallowed_is_gone_and_so_is_its_connection(
    proxy: TcpProxy, client: Streams
) -> None:
    await echoed(client, b"x")
    proxy.black_hole(Flow.SWALLOW)
    client[1].write(b"gone")
    assert await is_silent(client)
    proxy.heal()
    with pytest.raises(ConnectionResetError):
        await client[0].readexactly(4)


async def test_a_reset_reaches_both_ends(
    echo: tuple[Echo, int], proxy: TcpProxy, client: Streams
) -> None:
    await echoed(client, b"x")
    proxy.reset_all()
    with pytest.raises(ConnectionResetError):
        await client[0].readexactly(1)
    await eventually(lambda: echo[0].ends == ["reset"])
    await eventually(lambda: not proxy.connections)


async def test_half_open_is_told_to_the_target_alone(
    echo: tuple[Echo, int], proxy: TcpProxy, client: Streams
) -> None:
    await echoed(client, b"x")
    proxy.half_open()
    await eventually(lambda: echo[0].ends)
    client[1].write(b"y")
    assert await is_silent(client)


async def test_after_so_many_bytes_it_is_over(proxy: TcpProxy, client: Streams) -> None:
    proxy.down.bytes_left = 10
    client[1].write(bytes(100))
    with pytest.raises(ConnectionResetError):
        await client[0].readexactly(11)
    proxy.heal()
    assert proxy.down.bytes_left is None


async def test_who_is_refused_is_told_so_and_who_was_there_stays(
    proxy: TcpProxy, client: Streams
) -> None:
    await echoed(client, b"x")
    await proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", proxy.port)
    assert await echoed(client, b"y") == b"y"
    await proxy.accept()
    again = await asyncio.open_connection("127.0.0.1", proxy.port)
    assert await echoed(again, b"z") == b"z"
    again[1].transport.abort()
