"""The gateway inside somebody's own application, under stock uvicorn."""

import sys
from pathlib import Path

from websockets.asyncio.client import connect

from tests.support.clients import call, make_token, receive_json
from tests.support.servers import Process, free_port, gateway_environment, status_of

ROOT = Path(__file__).parents[2]


async def test_the_example_of_a_host_application_works(directory: Path) -> None:
    port = free_port()
    http = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "uvicorn", "examples.mounted:app", "--port", str(port)]
    env = gateway_environment() | {"PYTHONPATH": str(ROOT)}
    with Process(command, directory / "host.log", env) as host:
        host.wait_ready(lambda: status_of(http + "/realtime/readyz") == 200, "the host")
        assert call(http + "/").json == {"hello": "from the host application"}

        token = make_token("alice", "publisher")
        url = f"ws://127.0.0.1:{port}/realtime/ws/room"
        async with connect(url, additional_headers={"Authorization": f"Bearer {token}"}) as socket:
            body = {"data": "Hola"}
            answer = call(http + "/realtime/publish/room", token=token, json_body=body)
            assert answer.status == 200
            assert (await receive_json(socket))["data"] == "Hola"
            await socket.send("from a socket")
            assert (await receive_json(socket))["data"] == "from a socket"
        refused = await connect(url)
        await refused.wait_closed()
        assert (refused.close_code, refused.close_reason) == (1008, "a token is needed")
