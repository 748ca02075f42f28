"""A replica that has no free file descriptor: it waits, says so, and recovers."""

import asyncio
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_drain import http_connection
from tests.support.clients import RawClient, call, listen, make_token, receive_json
from tests.support.servers import GatewayProcess, status_of, wait_until

PUBLISHER = make_token("paula", "publisher")
FILES = 256


@pytest.fixture
def confined(directory: Path) -> Iterator[GatewayProcess]:
    gateway = GatewayProcess(directory, request_timeout_seconds=60)
    command = shlex.join([sys.executable, "-m", "gateway", "serve", "--port", str(gateway.port)])
    gateway._command = ["bash", "-c", f"ulimit -n {FILES}; exec {command}"]
    with gateway:
        yield gateway


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def test_without_file_descriptors_it_waits_says_so_and_recovers(
    confined: GatewayProcess,
) -> None:
    with http_connection(confined.port) as asking:
        await check_want_of_files(confined, asking)
    assert confined.log.count("no connection can be accepted") <= 2
    assert "Traceback" not in confined.log
    assert f"the system allows {FILES} open files" in confined.log


async def check_want_of_files(confined: GatewayProcess, asking: RawClient) -> None:
    async with listen(confined.ws, "room", PUBLISHER) as socket:
        crowd = [RawClient(confined.port) for _ in range(FILES + 50)]
        try:
            await asyncio.to_thread(
                wait_until, lambda: "no connection can be accepted" in confined.log, "it says so", 5
            )
            busy, started = cpu_seconds(confined.pid), time.monotonic()
            # Those who are here go on.
            while time.monotonic() - started < 3:
                await socket.send("hello")
                assert (await receive_json(socket))["data"] == "hello"
                await asyncio.sleep(0.1)
            assert cpu_seconds(confined.pid) - busy < 1.5
            asking.send(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
            head = await asyncio.to_thread(asking.read_head)
            assert head.startswith(b"HTTP/1.1 503 ")
            body = b'{"status":"not ready","reason":"no connection can be accepted: %b"}'
            expected = body % b"too many open files"
            assert asking._exactly(len(expected)) == expected
        finally:
            for client in crowd:
                client.close()
        await asyncio.to_thread(
            wait_until, lambda: status_of(confined.http + "/readyz") == 200, "it is ready again", 5
        )
        health = await asyncio.to_thread(call, confined.http + "/health")
        assert health.json["accept_pauses"] >= 2
        await socket.send("hello")
        assert (await receive_json(socket))["data"] == "hello"
