"""A replica that stops: who is told what, when, and that nothing waits for ever."""

import asyncio
import contextlib
import os
import signal
import socket
import struct
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.integration.drains import Talk, Witness, ended
from tests.support.clients import (
    RawClient,
    call,
    client_frame,
    closing_of,
    listen,
    make_token,
    publish_now,
)
from tests.support.event_source import EventSource
from tests.support.servers import GatewayProcess, RedisServer, status_of, wait_until

ADMIN = make_token("root", "admin")
PUBLISHER = make_token("paula", "publisher")
LISTENER = make_token("lucas")
SMALL_BUFFER = 4096
CLOSE = 8


def test_one_listener_is_not_kept_waiting_by_the_default_settings(directory: Path) -> None:
    """Who works at a terminal presses Ctrl-C, and wants to go on."""
    with (
        GatewayProcess(directory) as gateway,
        RawClient(gateway.port).listen("room", LISTENER) as client,
    ):
        started = time.monotonic()
        os.kill(gateway.pid, signal.SIGINT)
        code, _ = client.read_close()
        client.send(client_frame(CLOSE, struct.pack("!H", code)))
        assert ended(gateway, 5) == 0
        assert time.monotonic() - started < 3
        assert "Traceback" not in gateway.log


@pytest.mark.parametrize("door", ["native", pytest.param("asgi", marks=pytest.mark.long)])
async def test_a_stop_under_load_is_announced_then_spread_and_loses_nothing(
    directory: Path, door: str
) -> None:
    pause, window = 2.0, 3.0
    settings = {"drain_pause_seconds": pause, "drain_seconds": window, "socket_door": door}
    async with contextlib.AsyncExitStack() as stack:
        gateway = stack.enter_context(GatewayProcess(directory, **settings))
        group = await stack.enter_async_context(asyncio.TaskGroup())
        witnesses = [Witness() for _ in range(300)]
        for witness in witnesses[:240]:
            listener = await listen(gateway.ws, "room", LISTENER, ping_interval=None)
            group.create_task(witness.watch(listener))
        for witness in witnesses[240:]:
            source = EventSource(gateway.http, "room", LISTENER)
            group.create_task(witness.watch_events(await stack.enter_async_context(source)))
        talk = Talk(gateway.http, "room", PUBLISHER)
        talking = group.create_task(talk.run())

        started = time.monotonic()
        os.kill(gateway.pid, signal.SIGTERM)
        await asyncio.to_thread(
            wait_until, lambda: status_of(gateway.http + "/readyz") == 503, "it is not ready", 1.5
        )
        assert not any(witness.closed_at for witness in witnesses)
        health = await asyncio.to_thread(call, gateway.http + "/health")
        assert (health.status, health.json["reason"]) == (503, "draining")
        assert health.json["sockets_open"] == 300
        late = Witness()
        group.create_task(late.watch(await listen(gateway.ws, "room", LISTENER)))
        witnesses.append(late)
        await asyncio.sleep(started + pause - time.monotonic() - 0.2)
        talk.stop()
        await talking
        assert set(talk.statuses) == {200}
        code = await asyncio.to_thread(ended, gateway, pause + window + 12)
        took = time.monotonic() - started

    assert code == 0
    assert took < pause + window + 3
    assert {(witness.code, witness.reason[:21]) for witness in witnesses} == {
        (1012, "this replica restarts")
    }
    retries = [witness.retry_ms for witness in witnesses]
    assert 1000 <= min(retries) < 1300
    assert 2700 < max(retries) <= 3000
    begun = min(witness.closed_at for witness in witnesses)
    assert begun - started >= pause
    tenths = Counter(int((one.closed_at - begun) / window * 10) for one in witnesses)
    assert len([tenth for tenth in tenths if tenth < 10]) >= 8
    assert max(tenths.values()) < len(witnesses) / 4
    for witness in witnesses:
        witness.check_order()
        assert witness.messages[-1]["offset"] == max(talk.accepted)
    assert "Traceback" not in gateway.log


async def test_what_is_published_meanwhile_still_reaches_those_who_are_left(
    directory: Path,
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        gateway = stack.enter_context(GatewayProcess(directory, drain_seconds=3))
        group = await stack.enter_async_context(asyncio.TaskGroup())
        witnesses = [Witness() for _ in range(60)]
        for witness in witnesses:
            group.create_task(witness.watch(await listen(gateway.ws, "room", PUBLISHER)))
        # The replica accepts no connection any more, so somebody who is there speaks.
        speaker = http_connection(gateway.port)
        stack.callback(speaker.close)
        os.kill(gateway.pid, signal.SIGTERM)
        await asyncio.to_thread(
            wait_until, lambda: any(one.closed_at for one in witnesses), "the first is closed", 3
        )
        body = b'{"data": "still here"}'
        speaker.send(
            b"POST /publish/room HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s"
            % (PUBLISHER.encode(), len(body), body)
        )
        head = await asyncio.to_thread(speaker.read_head)
        answered = time.monotonic()
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in head  # its next request belongs on another replica
        assert await asyncio.to_thread(ended, gateway, 15) == 0
    left = [witness for witness in witnesses if witness.closed_at > answered]
    assert len(left) > 30
    assert all([message["data"] for message in one.messages] == ["still here"] for one in left)


def http_connection(port: int) -> RawClient:
    """A connection on which a first request has been answered, and which stays."""
    client = RawClient(port)
    client.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.read_head().startswith(b"HTTP/1.1 200 ")
    client._exactly(len(b'{"status":"live"}'))
    return client


def test_who_comes_too_late_is_told_so(directory: Path) -> None:
    """On a connection that was there before: new ones are not accepted any more."""
    with GatewayProcess(directory, drain_seconds=20, shutdown_seconds=2) as gateway:
        connections = [http_connection(gateway.port) for _ in range(2)]
        clients = [RawClient(gateway.port).listen("room", LISTENER) for _ in range(30)]
        os.kill(gateway.pid, signal.SIGTERM)
        for client in clients:
            client.socket.settimeout(0.2)
        wait_until(lambda: any(map(is_closed, clients)), "the first one is closed", 5)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", gateway.port))
        with connections[0] as late:
            head = late.upgrade("/ws/room", {"Authorization": f"Bearer {LISTENER}"})
            assert head.startswith(b"HTTP/1.1 101 ")
            code, reason = late.read_close()
            assert (code, reason.partition("retry_ms=")[0]) == (1012, "this replica restarts; ")
        with connections[1] as late:
            late.send(
                b"GET /sse/room HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n"
                % LISTENER.encode()
            )
            head = late.read_head()
            assert head.startswith(b"HTTP/1.1 503 ")
            assert b"retry-after: " in head
        for client in clients:
            client.close()
        assert ended(gateway, 5) == 0


def is_closed(client: RawClient) -> bool:
    try:
        return client.read_close()[0] == 1012
    except TimeoutError:
        return False


@pytest.mark.parametrize("door", ["native", pytest.param("asgi", marks=pytest.mark.long)])
def test_nobody_is_waited_for_for_ever(directory: Path, door: str) -> None:
    """Not for who reads nothing, has sent half a request, or does not read an answer."""
    settings = {
        "drain_pause_seconds": 0.5,
        "drain_seconds": 1,
        "shutdown_seconds": 4,
        "outbox_bytes_max": 32_000_000,
        "socket_door": door,
    }
    with contextlib.ExitStack() as stack:
        gateway = stack.enter_context(GatewayProcess(directory, **settings))
        stuck = RawClient(gateway.port, receive_buffer=SMALL_BUFFER)
        stack.enter_context(stuck.listen("stuck", LISTENER))
        stack.enter_context(RawClient(gateway.port))  # says nothing
        half_head = stack.enter_context(RawClient(gateway.port))
        half_head.send(b"GET /livez HTTP/1.1\r\n")
        half_body = stack.enter_context(RawClient(gateway.port))
        half_body.send(
            b"POST /publish/room HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer %s\r\nContent-Length: 100\r\n\r\n{" % PUBLISHER.encode()
        )
        for _ in range(150):  # 9 MB: more than the kernel takes, less than the outbox
            publish_now(gateway.http, "stuck", "x" * 60_000, PUBLISHER)
        deaf = stack.enter_context(RawClient(gateway.port, receive_buffer=SMALL_BUFFER))
        deaf.send(
            b"GET /channels/stuck/history?limit=100 HTTP/1.1\r\nHost: x\r\n"
            b"Authorization: Bearer %s\r\n\r\n" % PUBLISHER.encode()
        )
        started = time.monotonic()
        os.kill(gateway.pid, signal.SIGTERM)
        assert ended(gateway, 12) == 0
        assert time.monotonic() - started < 0.5 + 1 + 4 + 2


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_it_at_once(
    directory: Path, first: signal.Signals, second: signal.Signals
) -> None:
    with (
        GatewayProcess(directory, drain_pause_seconds=30, drain_seconds=30) as gateway,
        RawClient(gateway.port).listen("room", LISTENER) as client,
    ):
        os.kill(gateway.pid, first)
        wait_until(lambda: status_of(gateway.http + "/readyz") == 503, "it is not ready", 3)
        started = time.monotonic()
        os.kill(gateway.pid, second)
        assert client.read_close()[0] == 1012
        assert ended(gateway, 3) == 1
        assert time.monotonic() - started < 2.5
        assert "Traceback" not in gateway.log


def test_what_a_client_has_said_before_it_is_closed_is_published(
    redis_server: RedisServer, directory: Path
) -> None:
    redis = RedisServer(directory)
    settings = {"redis_url": redis.url, "redis_timeout_seconds": 5}
    with redis, GatewayProcess(directory, **settings) as gateway:
        client = RawClient(gateway.port).listen("room", PUBLISHER)
        redis.freeze()
        for text in ("one", "two", "three"):
            client.say(text)
            time.sleep(0.05)  # or one publish would take them all
        os.kill(gateway.pid, signal.SIGTERM)
        code, _ = client.read_close()
        assert code == 1012
        client.send(client_frame(CLOSE, struct.pack("!H", code)))
        threading.Timer(0.5, redis.thaw).start()
        assert ended(gateway, 10) == 0
        client.close()
        gateway.start()
        history = call(gateway.http + "/channels/room/history", token=PUBLISHER).json
        assert [message["data"] for message in history["messages"]] == ["one", "two", "three"]


# Asked for by an administrator.


def test_only_an_administrator_may_ask(gateway: GatewayProcess) -> None:
    assert call(gateway.http + "/drain", method="POST").status == 401
    assert call(gateway.http + "/drain", method="POST", token=PUBLISHER).status == 403
    answer = call(gateway.http + "/drain?replica=nobody", method="POST", token=ADMIN)
    assert (answer.status, answer.json["code"]) == (404, "not_found")
    answer = call(gateway.http + "/drain?replica=" + "x" * 201, method="POST", token=ADMIN)
    assert answer.status == 422
    assert status_of(gateway.http + "/readyz") == 200


def test_a_call_drains_as_a_signal_does_and_twice_is_once(directory: Path) -> None:
    with (
        GatewayProcess(directory, replica="this", drain_pause_seconds=1) as gateway,
        RawClient(gateway.port).listen("room", LISTENER) as client,
    ):
        answer = call(gateway.http + "/drain", method="POST", token=ADMIN)
        again = call(gateway.http + "/drain?replica=this", method="POST", token=ADMIN)
        assert (answer.status, again.status) == (202, 202)
        assert answer.json == again.json
        assert answer.json == {
            "status": "draining",
            "replica": "this",
            "sockets": 1,
            "pause_seconds": 1,
            "closing_seconds": 1,
            "ends_within_seconds": 14,
        }
        assert status_of(gateway.http + "/readyz") == 503
        code, reason = client.read_close()
        assert (code, reason.partition("retry_ms=")[0]) == (1012, "this replica restarts; ")
        client.send(client_frame(CLOSE, struct.pack("!H", code)))
        assert ended(gateway, 5) == 0
        assert gateway.log.count("'root' asks replica 'this' to drain") == 2


async def test_a_call_reaches_another_replica_by_its_name(
    redis_server: RedisServer, directory: Path
) -> None:
    shared = {"redis_url": redis_server.url, "redis_prefix": "drain-by-name"}
    with (
        GatewayProcess(directory, replica="one", **shared) as one,
        GatewayProcess(directory, replica="two", **shared) as two,
    ):
        stays = await listen(one.ws, "room", LISTENER)
        goes = await listen(two.ws, "room", LISTENER)
        answer = await asyncio.to_thread(
            call, one.http + "/drain?replica=two", method="POST", token=ADMIN
        )
        assert (answer.status, answer.json["replica"], answer.json["sockets"]) == (202, "two", 1)
        assert (await closing_of(goes))[0] == 1012
        assert await asyncio.to_thread(ended, two, 5) == 0
        assert status_of(one.http + "/readyz") == 200
        assert stays.close_code is None
        await stays.close()
        gone = await asyncio.to_thread(
            call, one.http + "/drain?replica=two", method="POST", token=ADMIN
        )
        assert gone.status == 404
