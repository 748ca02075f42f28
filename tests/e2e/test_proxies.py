"""The HAProxy and the nginx of deploy/, for real: TLS, sockets, streams, faults and reloads."""

import asyncio
import contextlib
import json
import re
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.configuration import load
from tests.support.clients import (
    Answer,
    call,
    closing_of,
    listen,
    make_token,
    publish,
    receive_json,
)
from tests.support.proxies import DEPLOY, Haproxy, Nginx, Proxy, wait_answering
from tests.support.servers import (
    SECRET,
    GatewayProcess,
    RedisServer,
    replicas,
    required,
    wait_until,
)

PUBLISHER = make_token("alice", "publisher")
LISTENER = make_token("bob")
KINDS: dict[str, type[Haproxy] | type[Nginx]] = {"haproxy": Haproxy, "nginx": Nginx}
both = pytest.mark.parametrize("kind", KINDS)

Site = tuple[Proxy, list[GatewayProcess]]


@contextlib.contextmanager
def site(
    kind: str, directory: Path, redis: RedisServer, count: int = 2, **options: Any
) -> Iterator[Site]:
    settings = {
        "redis_url": redis.url,
        "redis_prefix": f"{kind}-{directory.name}".replace("_", "-")[:40],
        "database_url": f"sqlite:///{directory / 'accounts.db'}",
        "trusted_proxies": "127.0.0.1",
        **options.pop("settings", {}),
    }
    with (
        replicas(directory, count, **settings) as started,
        KINDS[kind](directory, started, **options) as proxy,
    ):
        wait_answering(proxy)
        yield proxy, started


@pytest.fixture(scope="module", params=KINDS)
def shared(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    redis_server: RedisServer,
) -> Iterator[Site]:
    """For tests that leave it as it was."""
    directory = tmp_path_factory.mktemp(request.param)
    with site(request.param, directory, redis_server) as made:
        yield made


def ask(proxy: Proxy, path: str, body: object = None) -> Answer:
    """One request over TLS, as a publisher."""
    request = urllib.request.Request(proxy.http + path)
    request.add_header("Authorization", f"Bearer {PUBLISHER}")
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=20, context=proxy.tls) as response:
            return Answer(response.status, dict(response.headers), response.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, dict(error.headers), error.read())


def over(proxy: Proxy, channel: str, query: str = "", **options: Any) -> Any:
    """A socket through the proxy."""
    return listen(proxy.ws, channel, LISTENER, query, ssl=proxy.tls, host="127.0.0.1", **options)


async def said(proxy: Proxy, channel: str, data: object) -> Answer:
    return await asyncio.to_thread(ask, proxy, f"/publish/{channel}", {"data": data})


def test_the_program_itself_finds_nothing_wrong_in_its_file(shared: Site) -> None:
    proxy, _ = shared
    assert proxy.check() == ""


@both
def test_a_mistake_in_the_file_would_be_found(kind: str, directory: Path) -> None:
    proxy = KINDS[kind](directory, [])
    file = directory / ("nginx.conf" if kind == "nginx" else "haproxy.cfg")
    file.write_text(file.read_text().replace("keep", "kepe"))
    assert "kepe" in proxy.check()


async def test_sockets_and_requests_go_through_with_tls(shared: Site) -> None:
    proxy, _ = shared
    async with over(proxy, "through") as one, over(proxy, "through") as two:
        answer = await said(proxy, "through", "Hola")
        assert answer.status == 200, answer.body
        assert answer.headers.get("Strict-Transport-Security") or answer.headers.get(
            "strict-transport-security"
        )
        for socket in (one, two):
            assert (await receive_json(socket))["data"] == "Hola"


async def test_a_certificate_that_nobody_vouches_for_is_refused(shared: Site) -> None:
    proxy, _ = shared
    with pytest.raises(ssl.SSLCertVerificationError):
        await listen(proxy.ws, "room", LISTENER, host="127.0.0.1")


def test_a_stream_of_events_is_not_held_back_nor_is_its_end(shared: Site, directory: Path) -> None:
    proxy, started = shared

    def count() -> int:
        return sum(int(call(f"{each.http}/health").json["sockets_open"]) for each in started)

    heard, before = directory / "heard", count()
    command = [required("curl"), "-sN", "--cacert", str(proxy.certificate)]
    command += ["-H", f"Authorization: Bearer {LISTENER}", f"{proxy.http}/sse/stream?since=:0"]
    with heard.open("wb") as output, subprocess.Popen(command, stdout=output) as curl:
        try:
            wait_until(lambda: "caught_up" in heard.read_text(), "the stream is live", 10)
            for n in range(3):
                # A small event at a time: one that waited for company would not come.
                call(
                    f"{started[0].http}/publish/stream",
                    token=PUBLISHER,
                    json_body={"data": f"n{n}"},
                )
                wait_until(lambda n=n: f'"n{n}"' in heard.read_text(), f"event {n}", 5)
            assert count() > before
        finally:
            curl.kill()
    # Long before the next ping, 25 s later, would tell.
    wait_until(lambda: count() <= before, "the replica knows that the stream has ended", 12)


@pytest.mark.long
@both
def test_a_reader_that_is_slow_is_found_behind_the_proxy(
    kind: str, directory: Path, redis_server: RedisServer
) -> None:
    """A proxy that buffers would take everything, and hide it."""
    with site(kind, directory, redis_server, 1) as (proxy, (only,)):
        command = [required("curl"), "-sN", "--cacert", str(proxy.certificate)]
        command += ["-H", f"Authorization: Bearer {LISTENER}", f"{proxy.http}/sse/slow"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as curl:
            try:
                wait_until(
                    lambda: call(only.http + "/health").json["channels"] == 1, "it listens", 10
                )
                batch = {"messages": [{"channel": "slow", "data": "x" * 60_000}] * 4}
                for _ in range(400):  # nobody reads what curl prints
                    answer = call(f"{only.http}/publish", token=PUBLISHER, json_body=batch)
                    assert answer.status == 200
                    if call(only.http + "/health").json["sockets_slow_closed"] == 1:
                        break
                else:
                    pytest.fail("96 MB went somewhere")
            finally:
                curl.kill()


@pytest.mark.parametrize(
    "path",
    [
        *["/metrics", "/metrics/", "//metrics", "/%6detrics", "/./metrics", "/x/../metrics"],
        *["/metrics?x=1", "/admin", "/admin/", "/admin/index.html", "/%61dmin"],
    ],
)
def test_what_is_for_operators_is_not_there(shared: Site, path: str) -> None:
    proxy, started = shared
    assert call(started[0].http + "/metrics").status == 200
    command = [required("curl"), "-s", "--path-as-is", "--cacert", str(proxy.certificate)]
    command += ["-w", "\n%{http_code}", proxy.http + path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    body, _, status = done.stdout.rpartition("\n")
    assert status == "404", done.stdout
    assert "gateway_" not in body


def test_what_is_for_clients_is_there(shared: Site) -> None:
    proxy, _ = shared
    for path in ("/health", "/readyz", "/metricsx", "/channels/room/history"):
        assert ask(proxy, path).status == (404 if path == "/metricsx" else 200)


def test_only_nginx_can_refuse_a_foreign_name(shared: Site) -> None:
    proxy, _ = shared
    if isinstance(proxy, Haproxy):
        command = [required("curl"), "-s", "--http2", "--cacert", str(proxy.certificate)]
        command += ["-w", "%{http_version}", "-o", "/dev/null", proxy.http + "/readyz"]
        assert subprocess.run(command, capture_output=True, timeout=10).stdout == b"2"
        return
    command = [required("curl"), "-sk", f"https://elsewhere.example:{proxy.port}/readyz"]
    command += ["--resolve", f"elsewhere.example:{proxy.port}:127.0.0.1"]
    done = subprocess.run(command, capture_output=True, timeout=10)
    assert (done.returncode, done.stdout) == (35, b"")  # the handshake failed


@both
async def test_a_client_is_who_it_is_and_not_who_it_says(
    kind: str, directory: Path, redis_server: RedisServer
) -> None:
    """S29: each address has one socket, and a header makes nobody somebody else."""
    settings = {"sockets_per_address_max": 1}
    with site(kind, directory, redis_server, 1, settings=settings) as (proxy, _):

        def come(address: str, said: str) -> Any:
            headers = {"Authorization": f"Bearer {LISTENER}", "X-Forwarded-For": said}
            headers["Forwarded"] = f"for={said}"
            socket = over(proxy, "room", local_addr=(address, 0))
            socket.additional_headers = headers
            return socket

        async with come("127.0.0.2", "9.9.9.1"), come("127.0.0.3", "9.9.9.1"):
            liar = await come("127.0.0.2", "9.9.9.2")
            code, reason = await closing_of(liar)
            assert (code, "address" in reason) == (1008, True), reason


@pytest.mark.long
@both
async def test_who_is_silent_stays_and_hears_what_comes(
    kind: str, directory: Path, redis_server: RedisServer
) -> None:
    """Every time-out is a tenth of what is shipped, and so about are the pings."""
    settings = {"ping_interval_seconds": 3, "ping_timeout_seconds": 2}
    with site(kind, directory, redis_server, 1, settings=settings, is_quick=True) as (proxy, one):
        async with over(proxy, "quiet") as socket:
            await asyncio.sleep(8)  # longer than any time-out there; pings are what keeps it
            await publish(one[0].http, "quiet", "still there", PUBLISHER)
            assert (await receive_json(socket))["data"] == "still there"


def test_the_shipped_times_leave_room_for_our_pings() -> None:
    settings = load(env_file=None, jwt_secret=SECRET)
    silence = settings.ping_interval_seconds + settings.ping_timeout_seconds
    haproxy = (DEPLOY / "haproxy/haproxy.cfg").read_text()
    nginx = (DEPLOY / "nginx/nginx.conf").read_text()
    times = re.findall(r"timeout tunnel (\d+)s", haproxy)
    times += re.findall(r"set-timeout server (\d+)s if \{ path_beg /sse/", haproxy)
    times += re.findall(r"proxy_(?:read|send)_timeout (\d+)s", nginx.partition("|sse/)")[2])
    assert len(times) == 4
    assert all(int(seconds) > silence for seconds in times)


@pytest.mark.long
@both
async def test_a_killed_replica_is_left_out_at_once(
    kind: str, directory: Path, redis_server: RedisServer
) -> None:
    with site(kind, directory, redis_server, 3) as (proxy, started):
        sockets: list[ClientConnection] = [await over(proxy, "room") for _ in range(6)]
        started[0].kill()
        # Connections that were kept for the next request are gone with it; let that arrive.
        await asyncio.sleep(0.1)
        for n in range(20):
            begun = time.monotonic()
            answer = await said(proxy, "room", n)
            assert answer.status == 200, answer.body
            assert time.monotonic() - begun < 3
        survivors = 0
        for socket in sockets:
            with contextlib.suppress(ConnectionClosed):
                assert [(await receive_json(socket))["data"] for _ in range(20)] == [*range(20)]
                survivors += 1
                await socket.close()
        assert survivors == 4
        async with over(proxy, "room", "?history=1") as again:
            assert (await receive_json(again))["data"] == 19


@pytest.mark.long
async def test_haproxy_leaves_out_a_replica_that_hangs(
    directory: Path, redis_server: RedisServer
) -> None:
    """Its checks ask for /readyz: 2 s for an answer, twice, and half a second in between."""
    with site("haproxy", directory, redis_server) as (proxy, started):
        started[0].freeze()
        begun = time.monotonic()
        wait_until(lambda: "is DOWN" in proxy.log, "the replica is left out", 10)
        assert time.monotonic() - begun < 7
        for n in range(10):
            assert (await said(proxy, "room", n)).status == 200
        started[0].thaw()
        wait_until(lambda: "is UP" in proxy.log, "it is back", 10)


@pytest.mark.long
@both
async def test_a_socket_of_a_replica_that_hangs_is_ended_by_the_proxy(
    kind: str, directory: Path, redis_server: RedisServer
) -> None:
    settings = {"ping_interval_seconds": 3, "ping_timeout_seconds": 2}
    with site(kind, directory, redis_server, 2, settings=settings, is_quick=True) as (proxy, both):
        socket = await over(proxy, "room", ping_interval=None)
        await publish(both[0].http, "room", "one", PUBLISHER)
        one = await receive_json(socket)
        hung = next(r for r in both if call(r.http + "/health").json["sockets_open"] == 1)
        other = both[1 - both.index(hung)]
        hung.freeze()
        await closing_of(socket, 12)
        await publish(other.http, "room", "two", PUBLISHER)
        deadline = time.monotonic() + 15
        while True:  # the proxy may try the one that hangs once more
            try:
                query = f"?since={one['epoch']}:{one['offset']}"
                async with over(proxy, "room", query, open_timeout=2) as again:
                    assert (await receive_json(again))["data"] == "two"
                    break
            except (OSError, InvalidStatus, ConnectionClosed):
                assert time.monotonic() < deadline
        hung.thaw()


class Resuming:
    """A client that comes back where it was, as the documentation says."""

    def __init__(self, proxy: Proxy, channel: str) -> None:
        self._proxy, self._channel = proxy, channel
        self._position = ":0"
        self.heard: list[Any] = []
        self.connects = 0
        self.refusals = 0

    async def run(self) -> None:
        while True:
            try:
                async with over(self._proxy, self._channel, f"?since={self._position}") as socket:
                    self.connects += 1
                    async for line in socket:
                        self._take(json.loads(line))
            except ConnectionClosed:
                pass
            except (OSError, InvalidStatus):
                self.refusals += 1
            await asyncio.sleep(0.05)

    def _take(self, message: dict[str, Any]) -> None:
        assert message.get("type") in (None, "caught_up"), message
        self._position = f"{message['epoch']}:{message['offset']}"
        if "data" in message:
            self.heard.append(message["data"])


@pytest.mark.long
@both
async def test_a_reload_is_a_clean_reconnect_that_loses_nothing(
    kind: str, directory: Path, redis_server: RedisServer
) -> None:
    """F33. Messages go on being published, past the proxy, all the time."""
    with site(kind, directory, redis_server, 2, shutdown_seconds=1) as (proxy, started):
        clients = [Resuming(proxy, "room") for _ in range(5)]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(client.run()) for client in clients]
            await until(lambda: all(client.connects == 1 for client in clients), 10)
            for n in range(80):
                if n == 20:
                    proxy.reload()
                answer = await publish(started[n % 2].http, "room", n, PUBLISHER)
                assert answer.status == 200
                await asyncio.sleep(0.04)
            await until(lambda: all(len(client.heard) == 80 for client in clients), 15)
            for task in tasks:
                task.cancel()
        for client in clients:
            assert client.heard == [*range(80)]
            assert (client.connects, client.refusals) == (2, 0)


async def until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


@both
async def test_no_token_gets_into_the_logs_of_the_proxy(
    kind: str, directory: Path, redis_server: RedisServer
) -> None:
    """S51: also where a replica is gone and the proxy complains."""
    token = make_token("canary")
    with site(kind, directory, redis_server, 1) as (proxy, (only,)):
        url = f"{proxy.ws}/ws/room?token={token}"
        from websockets.asyncio.client import connect

        async with connect(url, ssl=proxy.tls, host="127.0.0.1") as socket:
            await publish(only.http, "room", 1, PUBLISHER)
            assert (await receive_json(socket))["data"] == 1
        only.kill()
        with contextlib.suppress(OSError, InvalidStatus):
            await connect(url, ssl=proxy.tls, host="127.0.0.1")
        wait_until(lambda: proxy.access_log.read_text().count("/ws/room") == 2, "both logged", 5)
    for log in {proxy.access_log, directory / f"{kind}.log", directory / "nginx-errors.log"}:
        assert not log.exists() or token not in log.read_text(errors="replace"), log


async def test_haproxy_says_in_our_words_that_nobody_is_ready(
    directory: Path, redis_server: RedisServer
) -> None:
    with site("haproxy", directory, redis_server, 1) as (proxy, (only,)):
        only.kill()
        wait_until(lambda: ask(proxy, "/readyz").status == 503, "nobody is ready", 10)
        answer = await said(proxy, "room", 1)
    problem = answer.json
    assert (problem["code"], problem["outcome_unknown"]) == ("unavailable", False)
    assert {name.lower(): value for name, value in answer.headers.items()}["retry-after"] == "1"
