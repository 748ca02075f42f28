"""Reading a channel's history over HTTP, against real processes: in memory and over Redis."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.domain.principal import Action
from tests.support.clients import (
    Answer,
    call,
    listen,
    make_token,
    publish_now,
    receive_json,
)
from tests.support.servers import GatewayProcess, RedisServer

PUBLISHER = make_token("alice", "publisher")
READER = make_token("bob")

CONFIG = """
history_messages = 5
history_page_max = 20

[namespaces.none]
history_messages = 0

[namespaces.long]
history_messages = 50

[namespaces.prices]
slow_consumer = "latest_only"
"""


@pytest.fixture(scope="module", params=["memory", "redis"])
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    directory = tmp_path_factory.mktemp("channels")
    config = directory / "gateway.toml"
    config.write_text(CONFIG)
    url = None
    if request.param == "redis":
        redis: RedisServer = request.getfixturevalue("redis_server")
        url = redis.url
    prefix = f"test-{secrets.token_hex(4)}"
    with GatewayProcess(directory, config=config, redis_url=url, redis_prefix=prefix) as process:
        yield process


@pytest.fixture
def channel() -> str:
    return f"c-{secrets.token_hex(4)}"


def history(
    gateway: GatewayProcess, channel: str, query: str = "", token: str | None = READER
) -> Answer:
    return call(f"{gateway.http}/channels/{channel}/history{query}", token=token)


def publish(gateway: GatewayProcess, channel: str, count: int = 1) -> list[Any]:
    return [publish_now(gateway.http, channel, n, PUBLISHER).json for n in range(count)]


def offsets(answer: Answer) -> list[int]:
    assert answer.status == 200, answer.body
    return [message["offset"] for message in answer.json["messages"]]


async def test_the_messages_are_those_that_a_socket_got(
    gateway: GatewayProcess, channel: str
) -> None:
    async with listen(gateway.ws, channel, READER) as socket:
        for data in ("Hola ñ", {"n": [1, 2.5, None]}, None):
            publish_now(gateway.http, channel, data, PUBLISHER)
        received = [await receive_json(socket) for _ in range(3)]
    answer = history(gateway, channel)

    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json == {
        "channel": channel,
        "epoch": received[-1]["epoch"],
        "offset": 3,
        "complete": True,
        "messages": received,
    }


def test_a_channel_that_was_never_used_has_an_empty_history(
    gateway: GatewayProcess, channel: str
) -> None:
    for query in ("", "?since=:0", "?limit=0", "?reverse=true"):
        assert history(gateway, channel, query).json == {
            "channel": channel,
            "epoch": "",
            "offset": 0,
            "complete": True,
            "messages": [],
        }


def test_page_by_page_everything_is_read_in_both_directions(
    gateway: GatewayProcess, channel: str
) -> None:
    channel = f"long:{channel}"
    epoch = publish(gateway, channel, 7)[0]["epoch"]
    pages, since = [], ":0"
    while page := offsets(history(gateway, channel, f"?limit=3&since={since}")):
        pages.append(page)
        since = f"{epoch}:{page[-1]}"
    assert pages == [[1, 2, 3], [4, 5, 6], [7]]

    pages, query = [], "?limit=3&reverse=true"
    while page := offsets(history(gateway, channel, query)):
        pages.append(page)
        query = f"?limit=3&reverse=true&since={epoch}:{page[-1]}"
    assert pages == [[7, 6, 5], [4, 3, 2], [1]]


def test_what_is_missing_is_said(gateway: GatewayProcess, channel: str) -> None:
    epoch = publish(gateway, channel, 8)[0]["epoch"]
    for since, kept, is_complete in [
        (f"{epoch}:3", [4, 5, 6, 7, 8], True),
        (f"{epoch}:2", [4, 5, 6, 7, 8], False),
        (f"{epoch}:8", [], True),
        (f"{epoch}:9", [], False),
        ("other:3", [4, 5, 6, 7, 8], False),
        (":0", [4, 5, 6, 7, 8], False),
    ]:
        answer = history(gateway, channel, f"?since={since}")
        assert (offsets(answer), answer.json["complete"]) == (kept, is_complete), since
        assert (answer.json["epoch"], answer.json["offset"]) == (epoch, 8)


def test_a_namespace_keeps_what_it_says_or_what_all_keep(
    gateway: GatewayProcess, channel: str
) -> None:
    for namespace, kept in [("none:", 0), ("prices:", 5), ("other:", 5), ("long:", 12), ("", 5)]:
        publish(gateway, namespace + channel, 12)
        answer = history(gateway, namespace + channel)
        assert offsets(answer) == list(range(13 - kept, 13))
        assert answer.json["offset"] == 12


def test_without_a_limit_a_page_is_as_long_as_allowed(
    gateway: GatewayProcess, channel: str
) -> None:
    publish(gateway, f"long:{channel}", 25)
    assert offsets(history(gateway, f"long:{channel}")) == list(range(6, 26))
    assert offsets(history(gateway, f"long:{channel}", "?limit=20")) == list(range(6, 26))


@pytest.mark.parametrize(
    ("query", "code", "detail"),
    [
        ("?limit=21", "invalid_request", "query.limit: Input should be less than or equal to 20"),
        ("?limit=-1", "invalid_request", "query.limit"),
        ("?limit=many", "invalid_request", "query.limit"),
        ("?reverse=perhaps", "invalid_request", "query.reverse"),
        ("?since=", "invalid_request", "EPOCH:OFFSET"),
        ("?since=5", "invalid_request", "EPOCH:OFFSET"),
        ("?since=a:-1", "invalid_request", "EPOCH:OFFSET"),
        ("?since=a:" + "9" * 30, "invalid_request", "EPOCH:OFFSET"),
        ("?since=a:1%0d%0aX:1", "invalid_request", "EPOCH:OFFSET"),
    ],
)
def test_a_question_that_cannot_be_understood_is_refused_with_the_reason(
    gateway: GatewayProcess, query: str, code: str, detail: str
) -> None:
    answer = history(gateway, "room", query)
    assert answer.status == 422, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["code"] == code
    assert detail in answer.json["detail"]


@pytest.mark.parametrize("channel", ["a%20b", "a*", "a/b", "x" * 201, "a%7Bb%7D"])
def test_a_name_that_is_none_is_refused(gateway: GatewayProcess, channel: str) -> None:
    answer = history(gateway, channel)
    assert (answer.status, answer.json["code"]) == (422, "invalid_channel")


def test_without_a_valid_token_nothing_is_read(gateway: GatewayProcess) -> None:
    """S47"""
    for token in (None, "junk", READER + "=="):
        answer = history(gateway, "room", token=token)
        assert (answer.status, answer.json["code"]) == (401, "invalid_token")
    assert history(gateway, "room", f"?token={READER}", None).status == 200


@pytest.mark.parametrize(
    ("channel", "token", "rule"),
    [
        ("user:alice", READER, "personal"),
        ("user:alice", make_token("root", "admin", "publisher"), "personal"),
        ("sports", make_token("eve", grants={Action.SUBSCRIBE: ["news.*"]}), "grant"),
        ("room", make_token("eve", "admin", grants={Action.SUBSCRIBE: []}), "grant"),
    ],
)
def test_who_may_not_subscribe_may_not_read(
    gateway: GatewayProcess, channel: str, token: str, rule: str
) -> None:
    """S47"""
    answer = history(gateway, channel, token=token)
    assert (answer.status, answer.json["code"]) == (403, "denied")
    assert answer.json["detail"].startswith(rule)


def test_the_openapi_document_says_what_can_be_asked(gateway: GatewayProcess) -> None:
    document = json.loads(call(gateway.http + "/openapi.json").body)
    operation = document["paths"]["/channels/{channel}/history"]["get"]
    parameters = {each["name"]: each for each in operation["parameters"]}
    assert set(parameters) == {"channel", "limit", "since", "reverse"}
    assert parameters["limit"]["schema"]["maximum"] == 20
    assert all(parameters[name]["description"] for name in ("limit", "since", "reverse"))
    assert "complete" in operation["responses"]["200"]["content"]["application/json"]["example"]


def test_while_redis_is_away_reading_answers_503(directory: Path) -> None:
    with (
        RedisServer(directory) as redis,
        GatewayProcess(directory, redis_url=redis.url, redis_timeout_seconds=0.5) as gateway,
    ):
        publish(gateway, "room", 2)
        assert offsets(history(gateway, "room")) == [1, 2]
        redis.freeze()
        answer = history(gateway, "room")
        assert (answer.status, answer.json["code"]) == (503, "unavailable")
        assert answer.json["outcome_unknown"] is False
        assert answer.headers["retry-after"] == "1"
        redis.thaw()
        assert offsets(history(gateway, "room")) == [1, 2]
