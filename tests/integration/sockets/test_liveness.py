"""Sockets that vanish, stop reading or outstay their token are ended in time; the others stay."""

import base64
import contextlib
import json
import select
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import RawClient, call, client_frame, make_token, publish_now
from tests.support.servers import GatewayProcess, wait_until

PING, PONG, CLOSE = 9, 10, 8
INTERVAL = TIMEOUT = 1
OUTBOX_BYTES = 262_144
SMALL_BUFFER = 4096  # of the kernel, at a client that does not read


@pytest.fixture(scope="module")
def brisk(door: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    settings = {
        "ping_interval_seconds": INTERVAL,
        "ping_timeout_seconds": TIMEOUT,
        "close_timeout_seconds": 1,
        "socket_door": door,
    }
    with GatewayProcess(tmp_path_factory.mktemp("brisk"), **settings) as process:
        yield process


@pytest.fixture(scope="module")
def patient(door: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway whose pings never matter, with a small outbox, and that remembers nothing."""
    settings = {
        "outbox_bytes_max": OUTBOX_BYTES,
        "close_timeout_seconds": 1,
        "history_messages": 0,
        "socket_door": door,
    }
    with GatewayProcess(tmp_path_factory.mktemp("patient"), **settings) as process:
        yield process


def connected(gateway: GatewayProcess) -> list[str]:
    table = call(f"{gateway.http}/users/connected", token=make_token("root", "admin")).json
    return [line["user"] for line in table["users"]]


def health(gateway: GatewayProcess) -> dict[str, Any]:
    answer: dict[str, Any] = call(f"{gateway.http}/health").json
    return answer


def memory_bytes(gateway: GatewayProcess) -> int:
    for line in Path(f"/proc/{gateway.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the process has ended")


# Pings.


def test_a_client_that_answers_pings_stays(
    brisk: GatewayProcess, channel: str, publisher: str
) -> None:
    with RawClient(brisk.port).listen(channel, make_token("nora")) as client:
        joined = time.monotonic()
        for _ in range(3):
            opcode, payload = client.read_frame()
            assert opcode == PING
            client.send(client_frame(PONG, payload))
        assert time.monotonic() - joined > 2 * INTERVAL
        publish_now(brisk.http, channel, "still here", publisher)
        assert client.read_json()["data"] == "still here"
        assert "nora" in connected(brisk)


def test_whatever_a_client_says_is_a_sign_of_life(
    brisk: GatewayProcess, channel: str, publisher: str
) -> None:
    with RawClient(brisk.port).listen(channel, publisher) as client:
        started = time.monotonic()
        while time.monotonic() - started < INTERVAL + TIMEOUT + 1:
            client.say("hello")
            assert client.read_json()["data"] == "hello"  # pings are read past, unanswered
            select.select([client.socket], [], [], 0.2)


def test_a_client_that_does_not_answer_is_gone_in_time(brisk: GatewayProcess, channel: str) -> None:
    with RawClient(brisk.port).listen(channel, make_token("vera")) as client:
        joined = time.monotonic()
        assert "vera" in connected(brisk)
        assert client.read_frame()[0] == PING
        assert client.read_to_end() == b""
        assert TIMEOUT <= time.monotonic() - joined < INTERVAL + TIMEOUT + 1
        wait_until(lambda: "vera" not in connected(brisk), "vera is forgotten", 1)


def test_a_ping_is_answered_with_its_own_payload(brisk: GatewayProcess, channel: str) -> None:
    with RawClient(brisk.port).listen(channel, make_token("nora")) as client:
        client.send(client_frame(PING, b"one") + client_frame(PING, b"p" * 125))
        assert client.read_frame() == (PONG, b"one")
        assert client.read_frame() == (PONG, b"p" * 125)


# The end of a token.


def test_a_socket_ends_with_its_token_and_not_before(brisk: GatewayProcess, channel: str) -> None:
    """S11: and is told so before, as a token of two seconds is near its end from the beginning."""
    token = make_token("tina", ttl=2)
    expires_at = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))["exp"]
    notices: list[Any] = []
    with RawClient(brisk.port).listen(channel, token) as client:
        opcode, payload = client.read_frame()
        while opcode != CLOSE:
            if opcode == PING:
                client.send(client_frame(PONG, payload))
            else:
                assert time.time() < expires_at
                notices.append(json.loads(payload))
            opcode, payload = client.read_frame()
        assert notices == [{"type": "expires", "channel": channel, "expires_at": expires_at}]
        assert expires_at <= time.time() < expires_at + 1.5
        assert struct.unpack("!H", payload[:2])[0] == 1008
        assert payload[2:] == b"the token has expired"
        assert "tina" not in connected(brisk)


# Leaving.


def test_a_client_that_shuts_down_its_side_is_let_go(
    brisk: GatewayProcess, channel: str, publisher: str
) -> None:
    with (
        RawClient(brisk.port).listen(channel, publisher) as stays,
        RawClient(brisk.port).listen(channel, make_token("hanna", "publisher")) as leaves,
    ):
        leaves.say("last words")
        leaves.finish()
        assert stays.read_json()["data"] == "last words"
        wait_until(lambda: "hanna" not in connected(brisk), "hanna has left", 1)


# Reading too slowly.


def test_a_slow_reader_is_closed_and_a_fast_one_gets_everything(
    patient: GatewayProcess, channel: str, publisher: str, listener: str
) -> None:
    count, text = 500, "x" * 60_000
    received: list[str] = []

    def read_all(client: RawClient) -> None:
        for _ in range(count):
            received.append(client.read_json()["data"])

    before = health(patient)["sockets_slow_closed"]
    with (
        RawClient(patient.port, receive_buffer=SMALL_BUFFER).listen(channel, listener) as slow,
        RawClient(patient.port).listen(channel, listener) as fast,
    ):
        memory_before = memory_bytes(patient)
        reading = threading.Thread(target=read_all, args=(fast,))
        reading.start()
        for n in range(count):
            assert publish_now(patient.http, channel, f"{n} {text}", publisher).status == 200
        reading.join(timeout=20)
        assert [int(data.split()[0]) for data in received] == list(range(count))
        assert health(patient)["sockets_slow_closed"] == before + 1
        assert memory_bytes(patient) - memory_before < 16_000_000

        # It is cut off even though it never reads, and what it can still read ends.
        wait_until(lambda: health(patient)["sockets_open"] == 1, "only the fast one is left", 4)
        read = slow.read_to_end()
        assert b"499 xxx" not in read


def test_a_slow_reader_that_catches_up_misses_nothing(
    patient: GatewayProcess, channel: str, publisher: str, listener: str
) -> None:
    text = "x" * 60_000
    with RawClient(patient.port, receive_buffer=SMALL_BUFFER).listen(channel, listener) as client:
        for start in range(0, 60, 3):  # each round waits in the outbox for a while
            for n in range(start, start + 3):
                publish_now(patient.http, channel, f"{n} {text}", publisher)
            for n in range(start, start + 3):
                assert client.read_json()["data"].startswith(f"{n} ")


def test_pings_from_a_client_that_never_reads_cost_a_bounded_outbox(
    patient: GatewayProcess, channel: str, publisher: str, listener: str
) -> None:
    before = memory_bytes(patient)
    pings = client_frame(PING, b"p" * 125) * 500
    with (
        RawClient(patient.port).listen(channel, listener) as bystander,
        RawClient(patient.port, receive_buffer=SMALL_BUFFER).listen("rude", listener) as rude,
    ):
        started = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - started < 20:
                rude.send(pings)
        assert time.monotonic() - started < 15
        publish_now(patient.http, channel, "undisturbed", publisher)
        assert bystander.read_json()["data"] == "undisturbed"
    assert memory_bytes(patient) - before < 16_000_000


# Stopping.


def test_a_stopping_replica_says_when_to_come_back_and_waits_for_nobody_for_ever(
    door: str, tmp_path: Path, channel: str, publisher: str, listener: str
) -> None:
    shutdown_seconds = 5
    settings = {
        "shutdown_seconds": shutdown_seconds,
        "outbox_bytes_max": 32_000_000,
        "socket_door": door,
    }
    with GatewayProcess(tmp_path, **settings) as process:
        stuck = RawClient(process.port, receive_buffer=SMALL_BUFFER).listen("stuck", listener)
        silent = RawClient(process.port)
        half = RawClient(process.port)
        half.send(b"GET /livez HTTP/1.1\r\n")
        with stuck, silent, half, RawClient(process.port).listen(channel, listener) as client:
            for _ in range(150):  # 9 MB: more than the kernel takes, less than the outbox
                publish_now(process.http, "stuck", "x" * 60_000, publisher)
            assert health(process)["sockets_open"] == 2

            started = time.monotonic()
            ended: list[int] = []
            stopping = threading.Thread(target=lambda: ended.append(process.terminate()))
            stopping.start()
            code, reason = client.read_close()
            client.send(client_frame(CLOSE, struct.pack("!H", code)))
            stopping.join()

        assert code == 1012
        assert int(reason.partition("retry_ms=")[2]) > 0
        assert ended in ([0], [-15])
        assert time.monotonic() - started < shutdown_seconds + 2
        assert "Traceback" not in process.log
