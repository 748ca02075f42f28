"""An application's own WebSocket routes keep working under our protocol classes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from http import HTTPStatus

import pytest
from fastapi import FastAPI, WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.integration.sockets.in_process import Served, serving


def application() -> FastAPI:
    app = FastAPI()

    @app.websocket("/echo")
    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        async for text in socket.iter_text():
            await socket.send_text(text)

    @app.websocket("/ws/{name}")
    async def named(socket: WebSocket, name: str) -> None:
        await socket.accept()
        await socket.send_text(f"{name} {socket.query_params}")
        await socket.close(4000, "done")

    return app


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving(application()) as served:
        yield served


async def test_a_route_of_the_application_echoes(served: Served) -> None:
    async with connect(f"{served.ws}/echo") as socket:
        await socket.send("hello")
        assert await socket.recv() == "hello"
        await socket.send("x" * 100_000)
        assert await socket.recv() == "x" * 100_000
        assert served.connection_count == 1
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
        writer.write(
            b"GET /echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
        )
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
