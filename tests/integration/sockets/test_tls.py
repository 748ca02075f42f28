"""wss and https, spoken by the gateway itself, through both doors."""

import ssl
import urllib.request
from pathlib import Path

from websockets.asyncio.client import connect

from tests.support.certificates import make_certificate
from tests.support.clients import client_frame, closing_of, make_token, receive_json
from tests.support.servers import GatewayProcess, Process


async def test_messages_travel_over_tls(directory: Path, door: str) -> None:
    cert_file, key_file = make_certificate(directory)
    context = ssl.create_default_context(cafile=str(cert_file))
    gateway = GatewayProcess(
        directory, tls_cert_file=cert_file, tls_key_file=key_file, socket_door=door, hsts_seconds=60
    )
    url = f"https://127.0.0.1:{gateway.port}/readyz"

    def is_ready() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=2, context=context) as response:
                assert response.headers["Strict-Transport-Security"] == "max-age=60", "S57"
                return int(response.status) == 200
        except OSError:
            return False

    Process.start(gateway)
    try:
        gateway.wait_ready(is_ready, "gateway with TLS")
        headers = {"Authorization": f"Bearer {make_token('alice', 'publisher')}"}
        address = f"wss://127.0.0.1:{gateway.port}/ws/room"
        async with connect(address, ssl=context, additional_headers=headers) as socket:
            await socket.send("x" * 60_000)
            assert len((await receive_json(socket))["data"]) == 60_000
            pong = await socket.ping()
            await pong
            socket.transport.write(client_frame(1, b"\xff"))
            assert await closing_of(socket) == (1007, "a text message is UTF-8")
    finally:
        gateway.terminate()
