"""How a stream ends, and what keeps it alive: each end in time, and nothing lost in silence."""

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from gateway import replica
from gateway.app import build, create_app
from gateway.settings import Settings
from tests.integration.sockets.in_process import Served, eventually, serving
from tests.support.accounts import TRUSTED, member
from tests.support.clients import call, make_token, publish
from tests.support.event_source import EventSource
from tests.support.servers import SECRET, GatewayProcess, RedisServer, replicas, wait_until

PUBLISHER, LISTENER = make_token("paula", "publisher"), make_token("lucas")


def health(gateway: GatewayProcess) -> dict[str, Any]:
    answer: dict[str, Any] = call(gateway.http + "/health").json
    return answer


# Leaving, and being seen to be there.


@pytest.mark.parametrize("is_polite", [True, False])
async def test_a_client_that_goes_is_noticed_at_once(
    gateway: GatewayProcess, is_polite: bool
) -> None:
    before = health(gateway)["sockets_open"]
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.sendall(f"GET /sse/room?token={LISTENER} HTTP/1.1\r\nHost: gateway\r\n\r\n".encode())
        assert client.recv(12) == b"HTTP/1.1 200"
        wait_until(lambda: health(gateway)["sockets_open"] == before + 1, "it listens", 1)
        if not is_polite:  # by a reset, as when a process is killed with unread input
            linger = b"\1\0\0\0\0\0\0\0"
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    wait_until(lambda: health(gateway)["sockets_open"] == before, "it is seen to be gone", 1)


@pytest.mark.long
async def test_silence_is_broken_by_comments_and_talk_is_not(directory: Path) -> None:
    with GatewayProcess(directory, ping_interval_seconds=2) as gateway:
        async with EventSource(gateway.http, "room", LISTENER) as source:
            for _ in range(2):
                assert await source.comment(3.5) == " ping"
            for n in range(10):
                await publish(gateway.http, "room", n, PUBLISHER)
                assert (await source.message())["data"] == n
                await asyncio.sleep(0.25)
            assert len(source.parser.comments) == 2


@pytest.fixture
async def served_here(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    monkeypatch.setattr(replica, "_spare_the_collector", lambda: None)
    settings = Settings(jwt_secret=SecretStr(SECRET), ping_timeout_seconds=7)
    async with serving(create_app(build(settings))) as served:
        yield served


async def test_the_kernel_is_told_when_to_give_up_a_machine_that_vanished(
    served_here: Served,
) -> None:
    async with EventSource(f"http://127.0.0.1:{served_here.port}", "room", LISTENER):
        (connection,) = served_here.server.server_state.connections
        kernel_socket = connection.transport.get_extra_info("socket")
        timeout = kernel_socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    assert timeout == 7000
    # Nothing is left of it, once its client has gone.
    await eventually(lambda: not served_here.server.server_state.tasks, "no task is left")


async def test_the_connection_serves_on_after_the_stop_was_heard(served_here: Served) -> None:
    """A stop in this very loop ends the stream and leaves no task of it behind."""
    async with EventSource(f"http://127.0.0.1:{served_here.port}", "room", LISTENER) as source:
        served_here.stop()
        (end,) = await source.end(2)
        assert end.type == "end"
        await eventually(lambda: not served_here.server.server_state.tasks, "no task is left")


# Being thrown out.


async def test_a_revoked_login_ends_its_streams_everywhere_within_a_second(
    redis_server: RedisServer, directory: Path
) -> None:
    settings = {
        "redis_url": redis_server.url,
        "redis_prefix": directory.name,
        "database_url": f"sqlite:///{directory / 'accounts.db'}",
        **TRUSTED,
    }
    with replicas(directory, 2, **settings) as places:
        person = member(places[0].http)
        async with contextlib.AsyncExitStack() as stack:
            sources = [
                await stack.enter_async_context(
                    EventSource(place.http, "room", person.access_token, f"?format={format}")
                )
                for place in places
                for format in ("json", "raw")
            ]
            start = time.monotonic()
            assert (await asyncio.to_thread(person.authorized, "/logout")).status == 200
            ends = [await source.end() for source in sources]
            assert time.monotonic() - start < 1
            for said, silent in (ends[:2], ends[2:]):
                assert said[0].type == "end"
                assert said[0].json["error"] == "invalid_token"
                assert said[0].json["detail"] == "the token has been revoked: logout"
                assert silent == []


async def test_a_stream_is_told_before_its_token_expires_and_then_ends(directory: Path) -> None:
    with GatewayProcess(directory, expiry_notice_seconds=1) as gateway:
        expires_at = int(time.time()) + 3
        async with EventSource(gateway.http, "room", make_token("eve", ttl=3)) as source:
            notice = await source.next()
            assert notice.type == "expires"
            assert abs(notice.json["expires_at"] - expires_at) <= 1
            assert time.time() < notice.json["expires_at"]
            end = await source.next()
            assert (end.type, end.json["detail"]) == ("end", "the token has expired")
            assert await source.end() == []
            assert notice.json["expires_at"] <= time.time() < notice.json["expires_at"] + 2


@pytest.mark.parametrize("door", ["native", "asgi"])
@pytest.mark.long
async def test_a_stopping_replica_says_when_to_come_back_and_waits_for_no_stream(
    directory: Path, door: str
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        with GatewayProcess(directory, socket_door=door) as gateway:
            sources = [
                await stack.enter_async_context(EventSource(gateway.http, f"c{n}", LISTENER))
                for n in range(20)
            ]
            for source in sources:
                source.parser.retry = None
            start = time.monotonic()
            stopping = asyncio.to_thread(gateway.terminate)
            ends = asyncio.gather(*(source.end() for source in sources))
            code, said = await asyncio.gather(stopping, ends)
            assert time.monotonic() - start < 2
            assert code in (0, -signal.SIGTERM)  # the server hands the signal on
            assert [[event.type for event in events] for events in said] == [["end"]] * 20
            retries = [source.parser.retry or 0 for source in sources]
            assert 1000 <= min(retries) < max(retries) <= 3000
            assert "Traceback" not in gateway.log
