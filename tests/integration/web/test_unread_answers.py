"""An answer that nobody reads does not keep its connection, and what is behind it, for ever."""

import time
from collections.abc import Iterator

import pytest

from tests.integration.web.test_sse_slow import connections
from tests.support.clients import RawClient, make_token, publish_now
from tests.support.servers import GatewayProcess, wait_until

PUBLISHER = make_token("paula", "publisher")
TIMEOUT_SECONDS = 2
HISTORY = (
    b"GET /channels/large/history?limit=100 HTTP/1.1\r\nHost: x\r\nConnection: %b\r\n"
    b"Authorization: Bearer " + PUBLISHER.encode() + b"\r\n\r\n"
)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    directory = tmp_path_factory.mktemp("unread")
    with GatewayProcess(directory, ping_timeout_seconds=TIMEOUT_SECONDS) as process:
        for _ in range(100):  # 6 MB: more than the kernel takes
            publish_now(process.http, "large", "x" * 60_000, PUBLISHER)
        yield process


@pytest.mark.parametrize("connection", [b"keep-alive", b"close"])
def test_who_does_not_read_its_answer_is_cut_off(
    gateway: GatewayProcess, connection: bytes
) -> None:
    wait_until(lambda: connections(gateway) == 0, "the setup's connections are over", 10)
    with RawClient(gateway.port, receive_buffer=4096) as client:
        client.send(HISTORY % connection)
        wait_until(lambda: connections(gateway) == 1, "the request is there", 2)
        time.sleep(TIMEOUT_SECONDS / 2)
        assert connections(gateway) == 1
        wait_until(lambda: connections(gateway) == 0, "it is cut off", TIMEOUT_SECONDS + 2)
        assert "Traceback" not in gateway.log


def test_who_reads_slowly_gets_the_whole_answer(gateway: GatewayProcess) -> None:
    with RawClient(gateway.port, receive_buffer=65_536) as client:
        client.send(HISTORY % b"close")
        received, started = 0, time.monotonic()
        while chunk := client.socket.recv(65_536):
            received += len(chunk)
            time.sleep(0.04)
        assert received > 6_000_000
        assert time.monotonic() - started > TIMEOUT_SECONDS


@pytest.mark.long
def test_a_connection_whose_small_answer_stays_unread_ends_as_any_idle_one(
    gateway: GatewayProcess,
) -> None:
    wait_until(lambda: connections(gateway) == 0, "the others are over", 10)
    with RawClient(gateway.port) as client:
        client.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: connections(gateway) == 1, "the request is there", 2)
        wait_until(lambda: connections(gateway) == 0, "the keep-alive is over", 8)
