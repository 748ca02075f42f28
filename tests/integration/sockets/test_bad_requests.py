"""Requests that are too long, too slow, or no handshake: refused in time, and at nobody's cost."""

import contextlib
import time
from collections.abc import Iterator

import pytest

from tests.support.clients import RawClient, call, publish_now
from tests.support.servers import GatewayProcess

DEADLINE = 1  # request_timeout_seconds
HANDSHAKE = (
    b"GET /ws/room HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
)


@pytest.fixture(scope="module")
def hasty(door: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    settings = {"request_timeout_seconds": DEADLINE, "socket_door": door}
    with GatewayProcess(tmp_path_factory.mktemp("hasty"), **settings) as process:
        yield process


@pytest.fixture(autouse=True)
def bystander(
    hasty: GatewayProcess, channel: str, publisher: str, listener: str
) -> Iterator[RawClient]:
    """A socket that was there before, and is still served after everything that a test did."""
    with RawClient(hasty.port, timeout=2).listen(channel, listener) as client:
        yield client
        publish_now(hasty.http, channel, "undisturbed", publisher)
        assert client.read_json()["data"] == "undisturbed"
    assert "Traceback" not in hasty.log


@pytest.fixture
def client(hasty: GatewayProcess) -> Iterator[RawClient]:
    with RawClient(hasty.port, timeout=8) as client:
        yield client


def status_of(head: bytes) -> int:
    version, status, _ = head.split(b" ", 2)
    assert version == b"HTTP/1.1"
    return int(status)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


# Too long.


@pytest.mark.parametrize("target", ["/ws/room", "/nope", "/livez"])
@pytest.mark.parametrize(
    ("excess", "status"),
    [
        (f"?token={'x' * 8192}", 414),
        ({"Cookie": "x" * 8192}, 431),
        ({f"X-{n}": "y" for n in range(101)}, 431),
        ({f"X-{n}": "y" * 7000 for n in range(5)}, 431),
    ],
)
def test_a_head_over_a_limit_is_refused(
    client: RawClient, target: str, excess: str | dict[str, str], status: int
) -> None:
    path = target + excess if isinstance(excess, str) else target
    headers: dict[str, str | None] = {} if isinstance(excess, str) else {**excess}
    if target == "/livez":
        headers |= {"Upgrade": None, "Connection": None}
    assert status_of(client.upgrade(path, headers)) == status
    assert client.read_to_end().endswith(b"}")


def test_a_head_just_within_the_limits_is_read(client: RawClient, publisher: str) -> None:
    headers = bearer(publisher) | {f"X-{n}": "y" for n in range(94)}
    assert status_of(client.upgrade(f"/ws/{'c' * 200}", headers)) == 101


def test_24_megabytes_of_headers_are_refused_long_before_their_end(client: RawClient) -> None:
    client.send(b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Flood: " + b"y" * 40_000)
    assert status_of(client.read_head()) == 431  # while the rest has not been sent
    with contextlib.suppress(OSError):
        for _ in range(240):
            client.send(b"y" * 100_000)
    client.read_to_end()


def test_a_refused_client_that_does_not_leave_is_thrown_out(client: RawClient) -> None:
    client.send(b"not HTTP\r\n\r\n")
    assert status_of(client.read_head()) == 400
    assert client.is_thrown_out(seconds=4)


def test_a_client_that_is_still_sending_its_headers_reads_the_refusal(client: RawClient) -> None:
    for _ in range(80):
        client.send(b"GET /livez HTTP/1.1\r\nX-Flood: " + b"y" * 100_000)
    assert status_of(client.read_head()) == 431


# No handshake.


def test_without_an_upgrade_the_address_of_a_socket_says_what_it_is(hasty: GatewayProcess) -> None:
    answer = call(f"{hasty.http}/ws/room")
    assert answer.status == 426
    assert "WebSocket" in answer.json["detail"]


@pytest.mark.parametrize(
    ("headers", "method", "status"),
    [
        ({"Sec-WebSocket-Version": "8"}, "GET", 426),
        ({"Sec-WebSocket-Version": None}, "GET", 426),
        ({"Sec-WebSocket-Key": None}, "GET", 400),
        ({"Sec-WebSocket-Key": ""}, "GET", 400),
        ({"Sec-WebSocket-Key": "c2hvcnQ="}, "GET", 400),
        ({"Sec-WebSocket-Key": "not base64, though 24 ch"}, "GET", 400),
        ({"Upgrade": "h2c"}, "GET", 426),
        ({"Connection": "close"}, "GET", 426),
        ({}, "POST", 405),
        ({}, "HEAD", 405),
    ],
)
def test_a_handshake_that_is_none_is_answered_in_http(
    client: RawClient, publisher: str, headers: dict[str, str | None], method: str, status: int
) -> None:
    head = client.upgrade("/ws/room", bearer(publisher) | headers, method)
    assert status_of(head) == status
    if headers.get("Sec-WebSocket-Version", "") != "":
        assert b"\r\nSec-WebSocket-Version: 13" in head
    if status == 405:
        assert b"\r\nAllow: GET" in head


def test_a_path_that_nobody_serves_is_refused(client: RawClient, publisher: str) -> None:
    assert status_of(client.upgrade("/nope", bearer(publisher))) == 403


def test_too_many_parameters_are_refused(client: RawClient, publisher: str) -> None:
    assert status_of(client.upgrade("/ws/room?" + "a&" * 51, bearer(publisher))) == 400


def test_a_handshake_with_a_body_is_answered_wherever_it_goes(client: RawClient) -> None:
    assert status_of(client.upgrade("/nope", {"Content-Length": "3"})) == 400


@pytest.mark.parametrize("header", [{"Content-Length": "3"}, {"Transfer-Encoding": "chunked"}])
def test_a_handshake_has_no_body(client: RawClient, publisher: str, header: dict[str, str]) -> None:
    headers = {"Authorization": f"Bearer {publisher}", **header}
    assert status_of(client.upgrade("/ws/room", headers)) == 400


def test_a_handshake_does_not_overtake_the_answer_to_an_earlier_request(
    client: RawClient, publisher: str
) -> None:
    token = f"Authorization: Bearer {publisher}\r\n\r\n".encode()
    client.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" + HANDSHAKE + token)
    assert status_of(client.read_head()) == 400


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # the start of a TLS handshake
        b"hello?\r\n\r\n",
        b"GET /livez HTTP/9.9\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nA: \0\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n: x\r\n\r\n",
        b"POST /publish/room HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /publish/room HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_what_is_not_http_is_answered_400(client: RawClient, garbage: bytes) -> None:
    client.send(garbage)
    assert status_of(client.read_head()) == 400
    assert client.read_to_end().endswith(b"}")


def test_a_client_that_is_still_sending_garbage_reads_the_refusal(client: RawClient) -> None:
    for _ in range(80):
        client.send(b"\xff" * 100_000)
    assert status_of(client.read_head()) == 400


def test_garbage_behind_pipelined_requests_breaks_nothing_else(
    hasty: GatewayProcess, client: RawClient
) -> None:
    before = len(hasty.log)
    client.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" * 2 + b"garbage\r\n\r\n")
    client.read_to_end()
    assert call(f"{hasty.http}/livez").status == 200
    assert "Traceback" not in hasty.log[before:]


# Too slow.


@pytest.mark.parametrize(
    "beginning",
    [
        b"G",
        b"GET /livez HTTP/1.1",
        b"GET /livez HTTP/1.1\r\nHost: x\r\n",
        HANDSHAKE,
        b"POST /publish/room HTTP/1.1\r\nContent-Length: 100\r\nAuthorization: %b\r\n\r\n{",
        b"POST /publish/room HTTP/1.1\r\nTransfer-Encoding: chunked\r\nAuthorization: %b\r\n\r\n"
        b"1\r\n{\r\n",
    ],
)
def test_half_a_request_is_answered_408_in_time(
    client: RawClient, publisher: str, beginning: bytes
) -> None:
    started = time.monotonic()
    client.send(beginning.replace(b"%b", f"Bearer {publisher}".encode()))
    assert status_of(client.read_head()) == 408
    assert time.monotonic() - started < DEADLINE + 1


def test_a_request_that_was_answered_early_is_not_answered_twice(client: RawClient) -> None:
    client.send(b"POST /publish/room HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    assert status_of(client.read_head()) == 401
    assert b"HTTP/1.1" not in client.read_to_end()


def test_half_a_request_after_a_whole_one_is_answered_408_in_time(client: RawClient) -> None:
    client.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status_of(client.read_head()) == 200
    client.send(b"GET /livez HT")
    head = client.read_head()
    assert status_of(head[head.index(b"HTTP/1.1") :]) == 408


def test_a_request_that_trickles_in_has_no_longer_than_others(client: RawClient) -> None:
    started = time.monotonic()
    client.socket.settimeout(0.1)
    answer = b""
    client.send(b"GET /livez HTTP/1.1\r\n")
    while not answer and time.monotonic() - started < DEADLINE + 2:
        client.send(b"X: y\r\n")
        with contextlib.suppress(TimeoutError):
            answer = client.socket.recv(65536)
    assert status_of(answer) == 408
    assert DEADLINE - 0.1 < time.monotonic() - started < DEADLINE + 1


@pytest.mark.parametrize("greeting", [b"", b"\r\n"])
def test_a_silent_connection_is_closed_in_time(client: RawClient, greeting: bytes) -> None:
    started = time.monotonic()
    client.send(greeting)
    assert client.read_to_end() == b""
    assert time.monotonic() - started < DEADLINE + 1


def test_an_empty_line_does_not_keep_a_connection_open(client: RawClient) -> None:
    client.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status_of(client.read_head()) == 200
    client.send(b"\r\n")
    started = time.monotonic()
    client.read_to_end()
    assert time.monotonic() - started < DEADLINE + 1


def test_hundreds_of_silent_and_half_open_connections_keep_nobody_waiting(
    hasty: GatewayProcess, bystander: RawClient, channel: str, publisher: str, listener: str
) -> None:
    with contextlib.ExitStack() as stack:
        abusive = [stack.enter_context(RawClient(hasty.port, timeout=8)) for _ in range(200)]
        for index, client in enumerate(abusive):
            client.send(b"" if index % 2 else HANDSHAKE)
        started = time.monotonic()
        with RawClient(hasty.port).listen(channel, listener) as newcomer:
            publish_now(hasty.http, channel, "meanwhile", publisher)
            assert newcomer.read_json()["data"] == "meanwhile"
        assert bystander.read_json()["data"] == "meanwhile"
        assert time.monotonic() - started < 0.5
        for client in abusive:
            client.read_to_end()
        assert time.monotonic() - started < DEADLINE + 2
