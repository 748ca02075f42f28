"""Readers that lag behind, by the policy of their namespace, through a real process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clients import RawClient, call, make_token
from tests.support.servers import GatewayProcess, wait_until

CONFIG = """
outbox_bytes_max = 200000
[namespaces.logs]
slow_consumer = "drop_oldest"
[namespaces.prices]
slow_consumer = "latest_only"
"""
COUNT = 400
PUBLISHER = make_token("paula", "publisher")


@pytest.fixture
def gateway(door: str, directory: Path) -> Iterator[GatewayProcess]:
    config = directory / "gateway.toml"
    config.write_text(CONFIG)
    with GatewayProcess(directory, config=config, socket_door=door) as process:
        yield process


def flood(gateway: GatewayProcess, channel: str) -> None:
    """More than the kernel, the transport and the outbox hold together for a small receiver."""
    for start in range(0, COUNT, 10):
        entries = [
            {"channel": channel, "data": {"n": n, "fill": "x" * 20_000}}
            for n in range(start, start + 10)
        ]
        answer = call(gateway.http + "/publish", token=PUBLISHER, json_body={"messages": entries})
        assert answer.status == 200, answer.body
    delivered = 0

    def is_delivered() -> bool:
        nonlocal delivered
        delivered = int(call(gateway.http + "/health").json["messages_received"])
        return delivered >= COUNT

    wait_until(is_delivered, "everything was handed to the sockets")


def read_until_last(client: RawClient) -> list[dict[str, object]]:
    seen: list[dict[str, object]] = []
    while not seen or offset_of(seen[-1]) != COUNT:
        seen.append(client.read_json())
    return seen


def offset_of(message: dict[str, object]) -> int:
    offset = message.get("offset", 0)
    assert isinstance(offset, int)
    return offset


def test_a_reader_of_logs_is_told_where_messages_are_missing(gateway: GatewayProcess) -> None:
    with RawClient(gateway.port, receive_buffer=4096).listen("logs:a", make_token()) as client:
        flood(gateway, "logs:a")
        seen = read_until_last(client)

    expected = 1
    gaps = 0
    for message in seen:
        if message.get("type") == "gap":
            assert message["reason"] == "slow_consumer"
            dropped = message["dropped"]
            assert isinstance(dropped, int)
            expected += dropped
            gaps += 1
        else:
            assert offset_of(message) == expected
            expected += 1
    assert gaps > 0


def test_a_reader_of_prices_gets_the_latest_and_no_notices(gateway: GatewayProcess) -> None:
    with RawClient(gateway.port, receive_buffer=4096).listen("prices:a", make_token()) as client:
        flood(gateway, "prices:a")
        seen = read_until_last(client)

    offsets = [offset_of(message) for message in seen]
    assert offsets == sorted(set(offsets))
    assert len(offsets) < COUNT
    assert all("type" not in message for message in seen)


def test_any_other_reader_is_closed(gateway: GatewayProcess) -> None:
    with RawClient(gateway.port, receive_buffer=4096).listen("news:a", make_token()):
        flood(gateway, "news:a")
        wait_until(
            lambda: call(gateway.http + "/health").json["sockets_slow_closed"] == 1, "it is closed"
        )
