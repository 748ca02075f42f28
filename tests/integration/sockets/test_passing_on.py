"""An application's own WebSocket routes keep working under our protocol classes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from http import HTTPStatus

import pytest
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.integration.sockets.in_process import Served, eventually, serving
from tests.support.clients import client_frame, closing_of

HANDSHAKE = (
    b"GET %b HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)


def application() -> FastAPI:
    app = FastAPI()

    @app.websocket("/echo")
    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        async for text in socket.iter_text():
            await socket.send_text(text)

    @app.websocket("/mirror")
    async def mirror(socket: WebSocket) -> None:
        await socket.accept()
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                app.state.left = (message["code"], message["reason"])
                return
            await socket.send({**message, "type": "websocket.send"})

    @app.websocket("/deaf")
    async def deaf(socket: WebSocket) -> None:
        app.state.listen = asyncio.Event()
        await socket.accept()
        await app.state.listen.wait()
        await socket.send_text(await socket.receive_text())

    @app.websocket("/chatty")
    async def chatty(socket: WebSocket) -> None:
        await socket.accept()
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                await socket.send_text("and another thing")
                await asyncio.sleep(0)

    @app.websocket("/hesitant")
    async def hesitant(socket: WebSocket) -> None:
        app.state.asked = asyncio.Event()
        await app.state.asked.wait()
        await socket.accept()
        await socket.send_text(await socket.receive_text())

    @app.websocket("/ws/{name}")
    async def named(socket: WebSocket, name: str) -> None:
        await socket.accept()
        await socket.send_text(f"{name} {socket.query_params}")
        await socket.close(4000, "done")

    return app


@pytest.fixture
def app() -> FastAPI:
    return application()


@pytest.fixture
async def served(app: FastAPI) -> AsyncIterator[Served]:
    async with serving(app) as served:
        yield served


@pytest.fixture
async def brisk(app: FastAPI) -> AsyncIterator[Served]:
    async with serving(app, ws_ping_interval=0.1, ws_ping_timeout=0.1) as served:
        yield served


async def test_a_route_of_the_application_echoes(served: Served) -> None:
    async with connect(f"{served.ws}/echo") as socket:
        await socket.send("hello")
        assert await socket.recv() == "hello"
        await socket.send("x" * 100_000)
        assert await socket.recv() == "x" * 100_000
        assert served.connection_count == 1
    await served.until_empty()


async def test_text_and_binary_messages_arrive_as_what_they_are(served: Served) -> None:
    messages: list[str | bytes] = ["text", b"\xff\x00", "", b"", "ñ", b"x" * 100_000]
    async with connect(f"{served.ws}/mirror") as socket:
        for message in messages:
            await socket.send(message)
        assert [await socket.recv() for _ in messages] == messages
        await socket.send(iter([b"in ", b"frag", b"ments"]))
        assert await socket.recv() == b"in fragments"


async def test_the_application_learns_how_a_client_left(app: FastAPI, served: Served) -> None:
    async with connect(f"{served.ws}/mirror") as socket:
        await socket.close(4321, "bye")
    await eventually(lambda: app.state.left == (4321, "bye"), "the application knows")


async def test_the_application_learns_of_a_broken_rule(app: FastAPI, served: Served) -> None:
    async with connect(f"{served.ws}/mirror") as socket:
        socket.transport.write(client_frame(1, b"\xff"))
        assert await closing_of(socket) == (1007, "a text message is UTF-8")
    await eventually(lambda: app.state.left[0] == 1007, "the application knows")


async def test_a_broken_rule_interrupts_an_application_that_only_talks(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    async with connect(f"{served.ws}/chatty") as socket:
        await socket.recv()
        socket.transport.write(client_frame(9, b"p" * 126))
        with contextlib.suppress(ConnectionClosed):
            async for _ in socket:
                pass
        assert socket.close_code == 1002
    await served.until_empty()
    assert caplog.text == ""


async def test_what_a_client_says_before_it_is_let_in_waits(app: FastAPI, served: Served) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(HANDSHAKE % b"/hesitant")
    await eventually(lambda: hasattr(app.state, "asked"), "the application is asked")
    writer.write(client_frame(9, b"ping") + client_frame(1, b"early"))
    await asyncio.sleep(0.05)
    app.state.asked.set()
    async with asyncio.timeout(5):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        assert await reader.readexactly(6) == b"\x8a\x04ping"
        assert await reader.readexactly(7) == b"\x81\x05early"
    writer.close()
    await served.until_empty()


async def test_without_a_gateway_even_our_path_is_the_applications(served: Served) -> None:
    async with connect(f"{served.ws}/ws/room?a=1") as socket:
        assert await socket.recv() == "room a=1"
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert (socket.close_code, socket.close_reason) == (4000, "done")


async def test_many_sockets_may_be_passed_on_at_once(served: Served) -> None:
    async with contextlib.AsyncExitStack() as stack:
        connecting = [connect(f"{served.ws}/echo") for _ in range(50)]
        sockets = await asyncio.gather(*map(stack.enter_async_context, connecting))
        for number, socket in enumerate(sockets):
            await socket.send(str(number))
        echoes = [await socket.recv() for socket in sockets]
    assert echoes == [str(number) for number in range(50)]
    await served.until_empty()


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/nope", {}, HTTPStatus.FORBIDDEN),
        ("/echo", {"Content-Length": "3"}, HTTPStatus.BAD_REQUEST),
        ("/echo", {"Transfer-Encoding": "chunked"}, HTTPStatus.BAD_REQUEST),
        ("/echo?" + "x" * 7990, {}, HTTPStatus.SWITCHING_PROTOCOLS),
        ("/echo?" + "x" * 8000, {}, HTTPStatus.REQUEST_URI_TOO_LONG),
        ("/echo", {"X": "x" * 7990}, HTTPStatus.SWITCHING_PROTOCOLS),
        ("/echo", {"X": "x" * 8000}, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
    ],
)
async def test_every_handshake_that_is_passed_on_is_answered(
    served: Served, path: str, headers: dict[str, str], status: HTTPStatus
) -> None:
    given = HTTPStatus.SWITCHING_PROTOCOLS
    try:
        async with connect(served.ws + path, additional_headers=headers, open_timeout=5):
            pass
    except InvalidStatus as refused:
        given = HTTPStatus(refused.response.status_code)
    assert given == status
    await served.until_empty()


async def test_a_client_that_gives_up_during_the_handshake_leaves_nothing_behind(
    served: Served,
) -> None:
    for _ in range(20):
        _, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(HANDSHAKE % b"/echo")
        writer.transport.abort()
    await served.until_empty()


async def test_a_stopping_server_tells_these_clients_too(served: Served) -> None:
    async with connect(f"{served.ws}/echo") as socket:
        await socket.send("hello")
        await socket.recv()
        served.stop()
        with pytest.raises(ConnectionClosed):
            await socket.recv()
    assert socket.close_code == 1012


# Signs of life: pings every tenth of a second, and as long to answer.


async def open_raw(
    served: Served, path: bytes
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A client that answers no pings."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(HANDSHAKE % path)
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def test_a_client_that_does_not_answer_pings_is_cut_off(brisk: Served) -> None:
    reader, writer = await open_raw(brisk, b"/echo")
    async with asyncio.timeout(5):
        assert (await reader.read()).startswith(b"\x89\x04")
    writer.close()
    await brisk.until_empty()


async def test_whatever_a_client_says_is_a_sign_of_life(brisk: Served) -> None:
    reader, writer = await open_raw(brisk, b"/echo")
    loop = asyncio.get_running_loop()
    started = loop.time()
    while loop.time() - started < 1:
        writer.write(client_frame(1, b"hello"))
        async with asyncio.timeout(5):
            await reader.readuntil(b"\x81\x05hello")
        await asyncio.sleep(0.05)
    writer.close()
    await brisk.until_empty()


async def test_a_client_that_the_application_does_not_read_is_not_taken_for_dead(
    app: FastAPI, brisk: Served
) -> None:
    async with connect(f"{brisk.ws}/deaf", ping_interval=None) as socket:
        for _ in range(3):
            await socket.send("hello")
        await asyncio.sleep(1)
        app.state.listen.set()
        assert await socket.recv() == "hello"
    await brisk.until_empty()
