"""Publishing over HTTP, against a real process: forms, refusals, limits and retries."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.domain.principal import Action
from tests.support.clients import Answer, call, listen, make_token, receive_json
from tests.support.servers import GatewayProcess, RedisServer, replicas, status_of, wait_until

PUBLISHER = make_token("alice", "publisher")
READER = make_token("bob")


@pytest.fixture
def channel() -> str:
    return f"c-{secrets.token_hex(4)}"


def post(
    gateway: GatewayProcess, path: str, token: str | None = PUBLISHER, **kwargs: Any
) -> Answer:
    return call(gateway.http + path, token=token, method="POST", **kwargs)


def assert_problem(answer: Answer, status: int, code: str) -> dict[str, Any]:
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["title"]
    assert problem["detail"]
    assert "Traceback" not in answer.body.decode()
    return problem


@pytest.mark.parametrize(
    ("kwargs", "query", "expected"),
    [
        ({"json_body": {"data": "Hola canal"}}, "", "Hola canal"),
        ({"json_body": {"data": {"n": [1, 2.5, None, True]}}}, "", {"n": [1, 2.5, None, True]}),
        ({"json_body": {"data": None}}, "", None),
        ({"body": "Hola ñ\n".encode(), "headers": {"Content-Type": "text/plain"}}, "", "Hola ñ\n"),
        (
            {"body": b"{}", "headers": {"Content-Type": "text/plain; charset=utf-8"}},
            "",
            "{}",
        ),
        ({}, "?message=Hola+canal", "Hola canal"),
        ({}, "?message=", ""),
    ],
)
async def test_each_body_form_arrives_as_it_was_said(
    gateway: GatewayProcess, channel: str, kwargs: Any, query: str, expected: object
) -> None:
    async with listen(gateway.ws, channel, READER) as socket:
        answer = post(gateway, f"/publish/{channel}{query}", **kwargs)
        message = await receive_json(socket)

    assert answer.status == 200, answer.body
    assert message["data"] == expected
    assert answer.json == {
        "status": "published",
        "channel": channel,
        "id": message["id"],
        "offset": message["offset"],
        "epoch": message["epoch"],
    }


@pytest.mark.parametrize(
    ("status", "code", "path", "kwargs"),
    [
        (422, "invalid_request", "/publish/x", {}),
        (422, "invalid_request", "/publish/x", {"json_body": {"text": "no data"}}),
        (422, "invalid_request", "/publish/x", {"json_body": {"data": 1, "other": 2}}),
        (422, "invalid_request", "/publish/x", {"json_body": [1]}),
        (422, "invalid_request", "/publish/x?message=a", {"json_body": {"data": 1}}),
        (422, "invalid_request", "/publish/x?message=a&message=b", {}),
        (
            422,
            "invalid_request",
            "/publish/x",
            {"body": b'{"data": ', "headers": {"Content-Type": "application/json"}},
        ),
        (
            422,
            "invalid_request",
            "/publish/x",
            {"body": b'{"data": NaN}', "headers": {"Content-Type": "application/json"}},
        ),
        (
            422,
            "invalid_request",
            "/publish/x",
            {"body": b"[" * 5000, "headers": {"Content-Type": "application/json"}},
        ),
        (
            422,
            "invalid_request",
            "/publish/x",
            {"body": b"\xff\xfe", "headers": {"Content-Type": "text/plain"}},
        ),
        (
            422,
            "invalid_request",
            "/publish/x",
            {"json_body": {"data": 1}, "headers": {"Idempotency-Key": "a b"}},
        ),
        (
            422,
            "invalid_request",
            "/publish/x",
            {
                "body": b'{"data": ' + b"[" * 500 + b"]" * 500 + b"}",
                "headers": {"Content-Type": "application/json"},
            },
        ),
        (415, "unsupported_media_type", "/publish/x", {"body": b"a=b"}),
        (422, "invalid_channel", "/publish/a%20b", {"json_body": {"data": 1}}),
        (422, "invalid_channel", "/publish/a*", {"json_body": {"data": 1}}),
        (422, "invalid_channel", "/publish/a/b", {"json_body": {"data": 1}}),
        (404, "not_found", "/publish/a%0Ab", {"json_body": {"data": 1}}),
        (422, "invalid_channel", "/publish/" + "x" * 201, {"json_body": {"data": 1}}),
        (413, "too_big", "/publish/x", {"json_body": {"data": "x" * 65_537}}),
        (413, "too_big", "/publish/x", {"json_body": {"data": "x" * 1_100_000}}),
        (422, "invalid_request", "/publish", {"json_body": {}}),
        (422, "invalid_request", "/publish", {"json_body": {"messages": []}}),
        (422, "invalid_request", "/publish", {"json_body": {"channels": []}}),
        (422, "invalid_request", "/publish", {"json_body": {"channels": [], "data": 1}}),
        (422, "invalid_request", "/publish", {"json_body": {"channels": [1], "data": 1}}),
        (422, "invalid_request", "/publish", {"json_body": {"messages": [{"channel": "a"}]}}),
        (
            413,
            "too_big",
            "/publish",
            {"json_body": {"channels": ["a"] * 1001, "data": 1}},
        ),
    ],
)
def test_what_cannot_be_published_is_refused_with_the_reason(
    gateway: GatewayProcess, status: int, code: str, path: str, kwargs: Any
) -> None:
    assert_problem(post(gateway, path, **kwargs), status, code)


def test_a_message_of_exactly_the_limit_is_published(gateway: GatewayProcess) -> None:
    assert post(gateway, "/publish/x", json_body={"data": "x" * 65_536}).status == 200


@pytest.mark.parametrize("path", ["/publish/x", "/publish"])
def test_without_a_valid_token_nothing_is_published(gateway: GatewayProcess, path: str) -> None:
    body = {"data": 1} if path != "/publish" else {"channels": ["x"], "data": 1}
    for token in (None, "junk", PUBLISHER + "=="):
        answer = post(gateway, path, token, json_body=body)
        assert_problem(answer, 401, "invalid_token")
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (READER, "role"),
        (make_token("eve", "notadmin"), "role"),
        (make_token("eve", "publisher", grants={Action.PUBLISH: ["news.*"]}), "grant"),
        (make_token("eve", "publisher", grants={Action.PUBLISH: []}), "grant"),
    ],
)
def test_a_missing_right_is_refused_with_the_rule_that_decided(
    gateway: GatewayProcess, token: str, reason: str
) -> None:
    problem = assert_problem(
        post(gateway, "/publish/x", token, json_body={"data": 1}), 403, "denied"
    )
    assert problem["detail"].startswith(reason)


def test_the_admin_role_and_a_list_of_roles_may_publish(gateway: GatewayProcess) -> None:
    for token in (make_token("a", "admin"), make_token("a", "reader", "publisher")):
        assert post(gateway, "/publish/x", token, json_body={"data": 1}).status == 200


def test_a_token_may_come_in_the_url(gateway: GatewayProcess) -> None:
    assert post(gateway, f"/publish/x?message=a&token={PUBLISHER}", None).status == 200


async def test_a_batch_is_published_in_order_and_answered_in_order(
    gateway: GatewayProcess, channel: str
) -> None:
    entries = [{"channel": channel, "data": n} for n in range(100)]
    entries[50] = {"channel": "not a channel", "data": 0}
    async with listen(gateway.ws, channel, READER) as socket:
        answer = post(gateway, "/publish", json_body={"messages": entries})
        received = [await receive_json(socket) for _ in range(99)]

    assert answer.status == 200
    results = answer.json["results"]
    assert len(results) == 100
    assert results[50]["error"]["code"] == "invalid_channel"
    good = [result for result in results if "error" not in result]
    assert [result["offset"] for result in good] == list(range(1, 100))
    assert [message["id"] for message in received] == [result["id"] for result in good]
    assert [message["data"] for message in received] == [n for n in range(100) if n != 50]


async def test_one_message_goes_to_many_channels(gateway: GatewayProcess, channel: str) -> None:
    channels = [f"{channel}-{n}" for n in range(3)]
    sockets = [await listen(gateway.ws, name, READER) for name in channels]
    answer = post(gateway, "/publish", json_body={"channels": channels, "data": {"a": 1}})
    messages = [await receive_json(socket) for socket in sockets]
    for socket in sockets:
        await socket.close()

    assert [result["channel"] for result in answer.json["results"]] == channels
    assert [message["data"] for message in messages] == [{"a": 1}] * 3


def test_a_retry_with_the_same_key_publishes_nothing_new(
    gateway: GatewayProcess, channel: str
) -> None:
    def send(data: object, key: str) -> Answer:
        headers = {"Idempotency-Key": key}
        return post(gateway, f"/publish/{channel}", json_body={"data": data}, headers=headers)

    first, again, other = send("pay", "k1"), send("pay", "k1"), send("pay", "k2")
    assert first.json == again.json
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert other.json["offset"] == first.json["offset"] + 1
    assert_problem(send("another amount", "k1"), 422, "key_reused")


def test_a_retried_batch_publishes_nothing_new(gateway: GatewayProcess, channel: str) -> None:
    body = {"messages": [{"channel": channel, "data": n} for n in range(5)]}
    answers = [
        post(gateway, "/publish", json_body=body, headers={"Idempotency-Key": "b1"})
        for _ in range(2)
    ]

    assert answers[0].json == answers[1].json
    assert [result["offset"] for result in answers[0].json["results"]] == [1, 2, 3, 4, 5]


def test_over_the_rate_the_answer_says_when_to_come_back(directory: Path) -> None:
    with GatewayProcess(directory, publish_rate_max=5) as gateway:
        answers = [post(gateway, "/publish/x", json_body={"data": 1}) for _ in range(30)]
        refused = next(answer for answer in answers if answer.status != 200)
        assert_problem(refused, 429, "limit_reached")
        assert refused.headers["retry-after"] == "1"
        other = make_token("somebody-else", "publisher")
        assert post(gateway, "/publish/x", other, json_body={"data": 1}).status == 200


@pytest.fixture
def own_redis(directory: Path) -> Iterator[RedisServer]:
    with RedisServer(directory) as server:
        yield server


def test_while_redis_is_away_publishing_answers_503_and_readiness_is_red(
    own_redis: RedisServer, directory: Path
) -> None:
    with replicas(directory, 1, redis_url=own_redis.url, redis_timeout_seconds=1) as (gateway,):
        assert post(gateway, "/publish/x", json_body={"data": 1}).status == 200
        own_redis.freeze()
        answer = post(gateway, "/publish/x", json_body={"data": 1})
        problem = assert_problem(answer, 503, "unavailable")
        assert problem["outcome_unknown"] is True
        assert answer.headers["retry-after"] == "1"
        batch = post(gateway, "/publish", json_body={"channels": ["a", "b"], "data": 1})
        assert_problem(batch, 503, "unavailable")

        wait_until(lambda: status_of(gateway.http + "/readyz") == 503, "readiness is red", 5)
        assert status_of(gateway.http + "/livez") == 200
        health = call(gateway.http + "/health")
        assert (health.status, health.json["redis"]) == (503, "unreachable")
        assert own_redis.url not in health.body.decode()

        own_redis.thaw()
        wait_until(lambda: status_of(gateway.http + "/readyz") == 200, "readiness is green", 5)
        assert post(gateway, "/publish/x", json_body={"data": 1}).status == 200


def test_unknown_paths_and_methods_are_problems_too(gateway: GatewayProcess) -> None:
    nothing = call(gateway.http + "/nothing")
    assert_problem(nothing, 404, "not_found")
    assert nothing.json["detail"] == "there is nothing at this address"
    deleting = call(gateway.http + "/publish/x", method="DELETE")
    assert_problem(deleting, 405, "method_not_allowed")
    assert deleting.json["detail"] == "DELETE is not for this address; it takes POST"


def test_the_openapi_document_names_the_endpoints(gateway: GatewayProcess) -> None:
    paths = json.loads(call(gateway.http + "/openapi.json").body)["paths"]
    assert {"/publish", "/publish/{channel}", "/users/connected", "/readyz"} <= set(paths)


def test_production_hides_the_documentation(directory: Path) -> None:
    with GatewayProcess(directory, env="production") as gateway:
        assert call(gateway.http + "/docs").status == 404
        assert call(gateway.http + "/openapi.json").status == 404
