"""A client that reads too slowly, by what its namespace says; and limits of what waits."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.centrifuge import PATH
from tests.support.clients import RawClient, call, make_token, publish_now
from tests.support.servers import GatewayProcess, wait_until

CONFIG = """
[namespaces.dropping]
slow_consumer = "drop_oldest"

[namespaces.latest]
slow_consumer = "latest_only"
"""
BLOCK = "x" * 60_000


@pytest.fixture(scope="module")
def gateway(door: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    directory = tmp_path_factory.mktemp("slow")
    config = directory / "gateway.toml"
    config.write_text(CONFIG)
    settings = {"config": config, "outbox_bytes_max": 200_000, "socket_door": door}
    with GatewayProcess(directory, **settings) as process:
        yield process


def join(gateway: GatewayProcess, channel: str) -> RawClient:
    client = RawClient(gateway.port, receive_buffer=4096)
    client.upgrade(PATH)
    commands: list[Any] = [
        {"id": 1, "connect": {"token": make_token()}},
        {"id": 2, "subscribe": {"channel": channel}},
    ]
    for command in commands:
        client.say(json.dumps(command))
        assert client.read_json()["id"] == command["id"]
    return client


def flood(gateway: GatewayProcess, channel: str, count: int) -> int:
    token = make_token("paula", "publisher")
    for number in range(count):
        answer = publish_now(gateway.http, channel, [number, BLOCK], token)
        assert answer.status == 200, answer.body
    return int(answer.json["offset"])


def read_all(client: RawClient) -> list[Any]:
    """Everything until the server has been silent for a moment."""
    client.socket.settimeout(1.0)
    lines: list[Any] = []
    try:
        while True:
            opcode, payload = client.read_frame()
            if opcode == 8:
                return [*lines, (int.from_bytes(payload[:2]), payload[2:].decode())]
            lines += [json.loads(line) for line in payload.split(b"\n")]
    except (TimeoutError, EOFError):
        return lines


def test_by_default_a_slow_reader_is_sent_away_to_come_back(gateway: GatewayProcess) -> None:
    with join(gateway, "room") as client:
        flood(gateway, "room", 100)
        *received, closing = read_all(client)
        assert closing == (3008, "slow")
        offsets = [each["push"]["pub"]["offset"] for each in received]
        assert offsets == [*range(1, len(offsets) + 1)]
        assert len(offsets) < 100


def test_who_may_lose_messages_is_told_to_come_back_for_them(gateway: GatewayProcess) -> None:
    with join(gateway, "dropping:a") as client:
        last = flood(gateway, "dropping:a", 100)
        *received, end = read_all(client)
        offsets = [each["push"]["pub"]["offset"] for each in received]
        assert offsets == [*range(1, len(offsets) + 1)]
        assert len(offsets) < last
        assert end["push"]["unsubscribe"] == {"code": 2500, "reason": "insufficient state"}
        # The connection lives on, and so does everything else on it.
        client.socket.settimeout(5)
        where = {"channel": "dropping:a", "recover": True, "epoch": "", "offset": offsets[-1]}
        client.say(json.dumps({"id": 3, "subscribe": where}))
        assert client.read_json()["subscribe"]["was_recovering"] is True


def test_where_only_the_latest_counts_the_latest_comes(gateway: GatewayProcess) -> None:
    with join(gateway, "latest:a") as client:
        last = flood(gateway, "latest:a", 100)
        offsets = [each["push"]["pub"]["offset"] for each in read_all(client)]
        assert offsets[-1] == last
        assert len(offsets) < 100
        assert offsets == sorted(set(offsets))


def test_answers_that_nobody_reads_end_the_client(gateway: GatewayProcess) -> None:
    token = make_token("paula", "publisher")
    for number in range(20):
        publish_now(gateway.http, "read", [number, BLOCK], token)
    before = slow_count(gateway)
    with join(gateway, "other") as client:
        for number in range(3, 40):
            question = {"channel": "read", "limit": -1}
            client.say(json.dumps({"id": number, "history": question}))
        wait_until(lambda: slow_count(gateway) > before, "it is closed", 10)
        assert read_all(client)[-1] == (3008, "slow")


def slow_count(gateway: GatewayProcess) -> int:
    return int(call(gateway.http + "/health").json["sockets_slow_closed"])
