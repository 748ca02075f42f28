"""Readers of a stream that lag behind, by the policy of their namespace, or stop altogether."""

import asyncio
import contextlib
import http.client
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.types import Message

from gateway import replica
from gateway.app import build, create_app
from gateway.domain.errors import Denied
from gateway.settings import Settings
from tests.support.clients import call, make_token
from tests.support.event_source import Event, EventParser
from tests.support.servers import SECRET, GatewayProcess, wait_until

PUBLISHER, LISTENER = make_token("paula", "publisher"), make_token("lucas")
COUNT = 400
CONFIG = """
outbox_bytes_max = 200000
history_messages = 1000
[namespaces.logs]
slow_consumer = "drop_oldest"
[namespaces.prices]
slow_consumer = "latest_only"
"""


def health(gateway: GatewayProcess) -> dict[str, Any]:
    answer: dict[str, Any] = call(gateway.http + "/health").json
    return answer


class LateReader:
    """A client whose kernel takes 4 KB, and that reads when it is told to."""

    def __init__(
        self, gateway: GatewayProcess, channel: str, headers: Mapping[str, str] | None = None
    ) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=15)
        self._connection.sock = socket.socket()
        self._connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._connection.sock.settimeout(15)
        self._connection.sock.connect(("127.0.0.1", gateway.port))
        all_headers = {"Authorization": f"Bearer {LISTENER}", **(headers or {})}
        self._connection.request("GET", f"/sse/{channel}", headers=all_headers)
        self._response = self._connection.getresponse()
        assert self._response.status == 200
        self.parser = EventParser()

    def __enter__(self) -> "LateReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._response.close()
        self._connection.close()

    def read(self) -> Iterator[Event]:
        with contextlib.suppress(ConnectionError, http.client.IncompleteRead):
            while data := self._response.read1(65_536):
                yield from self.parser.feed(data)

    def read_until_last(self) -> list[Event]:
        seen: list[Event] = []
        for event in self.read():
            seen.append(event)
            if event.type == "message" and event.json["offset"] == COUNT:
                break
        return seen


def flood(gateway: GatewayProcess, channel: str) -> None:
    """More than the kernel, the transport and the outbox hold together for a small receiver."""
    for _ in range(COUNT // 10):
        entries = [{"channel": channel, "data": "x" * 20_000}] * 10
        answer = call(gateway.http + "/publish", token=PUBLISHER, json_body={"messages": entries})
        assert answer.status == 200, answer.body
    wait_until(lambda: health(gateway)["messages_received"] >= COUNT, "all is handed out")


def follow(events: list[Event], after: int) -> tuple[int, int]:
    """Check that nothing is missing in silence; return the last offset and the number of gaps."""
    gaps = 0
    for event in events:
        if event.type == "gap":
            gaps += 1
            if event.json["reason"] == "slow_consumer":
                after += event.json["dropped"]
            else:
                after = int(event.json["next"].partition(":")[2]) - 1
        elif event.type == "message":
            after += 1
            assert event.json["offset"] == after
    return after, gaps


@pytest.fixture
def crowded(directory: Path) -> Iterator[GatewayProcess]:
    config = directory / "gateway.toml"
    config.write_text(CONFIG)
    with GatewayProcess(directory, config=config) as process:
        yield process


def test_a_slow_reader_is_disconnected_and_comes_back_to_where_it_was(
    crowded: GatewayProcess,
) -> None:
    with LateReader(crowded, "news:a") as reader:
        flood(crowded, "news:a")
        wait_until(lambda: health(crowded)["sockets_slow_closed"] == 1, "it is closed")
        assert health(crowded)["sockets_open"] == 0
        last, gaps = follow(list(reader.read()), 0)
    assert (gaps, last < COUNT) == (0, True)
    position = reader.parser.last_event_id
    assert position.endswith(f":{last}")

    with LateReader(crowded, "news:a", {"Last-Event-ID": position}) as reader:
        assert follow(reader.read_until_last(), last)[0] == COUNT
    wait_until(lambda: not health(crowded)["sockets_open"], "the server holds nobody")


def test_a_reader_of_logs_is_told_where_messages_are_missing(crowded: GatewayProcess) -> None:
    with LateReader(crowded, "logs:a") as reader:
        flood(crowded, "logs:a")
        last, gaps = follow(reader.read_until_last(), 0)
    assert last == COUNT
    assert gaps > 0


def test_a_reader_of_prices_gets_the_latest_and_no_notices(crowded: GatewayProcess) -> None:
    with LateReader(crowded, "prices:a") as reader:
        flood(crowded, "prices:a")
        seen = reader.read_until_last()
    offsets = [event.json["offset"] for event in seen]
    assert offsets == sorted(set(offsets))
    assert len(offsets) < COUNT
    assert {event.type for event in seen} == {"message"}


def test_a_reader_that_has_stopped_is_cut_off(directory: Path) -> None:
    settings = {"slow_consumer": "latest_only", "ping_timeout_seconds": 1}
    with (
        GatewayProcess(directory, ping_interval_seconds=1, **settings) as gateway,
        LateReader(gateway, "room") as reader,
    ):
        flood(gateway, "room")
        wait_until(lambda: health(gateway)["sockets_open"] == 0, "it is cut off", 6)
        # And its connection with it, though there was still something to be written.
        wait_until(lambda: connections(gateway) == 0, "the connection is closed", 3)
        assert len(list(reader.read())) < COUNT
        assert "Traceback" not in gateway.log
        assert "ASGI" not in gateway.log


def test_a_reader_that_is_closed_and_does_not_read_that_is_cut_off(
    crowded: GatewayProcess,
) -> None:
    with LateReader(crowded, "news:a"):
        flood(crowded, "news:a")
        wait_until(lambda: health(crowded)["sockets_slow_closed"] == 1, "it is closed")
        wait_until(lambda: connections(crowded) == 0, "the connection is closed", 5)


def test_a_stopping_replica_waits_a_moment_for_a_reader_that_has_stopped(
    crowded: GatewayProcess,
) -> None:
    with LateReader(crowded, "logs:a"):
        flood(crowded, "logs:a")
        start = time.monotonic()
        crowded.terminate()
        assert time.monotonic() - start < 4
        assert "Traceback" not in crowded.log


async def test_another_server_gets_its_request_back_though_its_client_does_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that knows nothing of us, as for a gateway that is mounted in another application."""
    monkeypatch.setattr(replica, "_spare_the_collector", lambda: None)
    gateway = build(Settings(jwt_secret=SecretStr(SECRET), close_timeout_seconds=1))
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/sse/room",
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {LISTENER}".encode())],
    }
    sent: list[Message] = []
    is_full = asyncio.Event()

    async def receive() -> Message:
        return await asyncio.Future()  # nothing, ever

    async def send(message: Message) -> None:
        sent.append(message)
        if message["type"] == "http.response.body":
            is_full.set()
            await asyncio.Future()  # until somebody reads

    async with asyncio.timeout(5), gateway.running(), asyncio.TaskGroup() as group:
        group.create_task(create_app(gateway)(scope, receive, send))
        await is_full.wait()
        (listener,) = gateway.roster.connections_of("lucas")
        listener.end(Denied("go"))
        assert gateway.door.counts.open == 0
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]


def connections(gateway: GatewayProcess) -> int:
    """How many the server holds, by the kernel's table; `health` knows only who listens."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    local = f"0100007F:{gateway.port:04X}"
    established, close_wait = "01", "08"
    return sum(
        line.split()[1] == local and line.split()[3] in (established, close_wait) for line in lines
    )
