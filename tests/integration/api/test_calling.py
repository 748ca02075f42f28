"""How one calls: who may, what an error looks like, and what is refused."""

import asyncio
import json
from typing import Any

import pytest

from tests.integration.api.conftest import KEY, SHOP_KEY, WATCH_KEY, ask, error
from tests.support.clients import Answer, call, make_token
from tests.support.servers import GatewayProcess
from tests.support.servers import GatewayProcess as Gateway

ADMIN = make_token("root", "admin")
PAULA = make_token("paula", "publisher")


def ask_with(gateway: Gateway, headers: dict[str, str], query: str = "") -> Answer:
    return call(f"{gateway.http}/api/info{query}", json_body={}, headers=headers)


@pytest.mark.parametrize("headers", [{"X-API-Key": KEY}, {"Authorization": f"apikey {KEY}"}])
def test_a_key_comes_in_a_header(gateway: Gateway, headers: dict[str, str]) -> None:
    assert ask_with(gateway, headers).status == 200


def test_a_key_comes_in_the_url_where_that_is_set(gateway: Gateway) -> None:
    assert ask_with(gateway, {}, f"?api_key={KEY}").status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": "wrong"},
        {"X-API-Key": ""},
        {"Authorization": f"apikey {KEY}x"},
        {"Authorization": "Bearer nonsense"},
        {"X-API-Key": KEY, "Authorization": "apikey another"},
    ],
)
def test_who_is_not_known_gets_an_empty_401(gateway: Gateway, headers: dict[str, str]) -> None:
    answer = ask_with(gateway, headers)
    assert (answer.status, answer.body) == (401, b"")


def test_without_the_setting_a_key_in_the_url_is_none(
    gateway: Gateway, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("plain")
    with GatewayProcess(directory, api_key=KEY) as plain:
        assert ask_with(plain, {}, f"?api_key={KEY}").status == 401
        assert ask_with(plain, {"X-API-Key": KEY}).status == 200
        assert KEY not in plain.log


def test_without_any_key_a_gateway_takes_tokens_alone(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with GatewayProcess(tmp_path_factory.mktemp("keyless")) as keyless:
        assert ask_with(keyless, {"X-API-Key": ""}).status == 401
        assert ask_with(keyless, {"Authorization": f"Bearer {ADMIN}"}).status == 200


def test_a_publisher_s_token_publishes_by_the_same_rules(gateway: Gateway, channel: str) -> None:
    params = {"channel": channel, "data": 1}
    assert ask(gateway, "publish", params, key=None, token=PAULA).json["result"]["offset"] == 1
    code, message = error(gateway, "publish", params, key=None, token=make_token("ann"))
    assert code == 103
    assert "role" in message
    closed = {"channel": "closed:room", "data": 1}
    assert error(gateway, "publish", closed, key=None, token=PAULA)[0] == 103
    # What a namespace says is about users; the operator's own server is none.
    assert ask(gateway, "publish", closed).json["result"]["offset"] >= 1


def test_only_an_administrator_s_token_may_do_the_rest(gateway: Gateway, channel: str) -> None:
    params = {"channel": channel}
    assert ask(gateway, "history", params, key=None, token=ADMIN).status == 200
    for method in ("history", "disconnect", "info"):
        answer = ask(gateway, method, params, key=None, token=PAULA)
        assert answer.status == 403
        assert answer.json["error"]["code"] == 103


def test_a_key_for_channels_is_good_for_those_alone(gateway: Gateway, channel: str) -> None:
    def refusal(method: str, name: str, **params: object) -> int:
        return error(gateway, method, {"channel": name, **params}, key=SHOP_KEY)[0]

    assert ask(gateway, "publish", {"channel": "shop:1", "data": 1}, key=SHOP_KEY).json["result"]
    assert ask(gateway, "history", {"channel": "shop:1"}, key=SHOP_KEY).json["result"]
    assert refusal("publish", channel, data=1) == 103
    assert refusal("history", channel) == 103
    assert refusal("history_remove", channel) == 103
    assert refusal("presence", channel) == 103
    assert refusal("presence_stats", channel) == 103
    assert refusal("subscribe", channel, user="u") == 103
    assert refusal("unsubscribe", channel, user="u") == 103
    for method in ("disconnect", "refresh", "info", "channels"):
        assert ask(gateway, method, {"user": "u"}, key=SHOP_KEY).status == 403


def test_a_key_for_methods_is_good_for_those_alone_also_in_a_batch(
    gateway: Gateway, channel: str
) -> None:
    assert ask(gateway, "info", key=WATCH_KEY).status == 200
    answer = ask(gateway, "publish", {"channel": channel, "data": 1}, key=WATCH_KEY)
    assert (answer.status, answer.json["error"]["code"]) == (403, 103)
    commands = [{"publish": {"channel": channel, "data": 1}}, {"channels": {}}]
    replies = ask(gateway, "batch", {"commands": commands}, key=WATCH_KEY).json["replies"]
    assert replies[0]["error"]["code"] == 103
    assert "channels" in replies[1]
    assert ask(gateway, "history", {"channel": channel}).json["result"]["offset"] == 0


def test_a_denial_is_logged_with_the_name_of_the_key(gateway: Gateway) -> None:
    ask(gateway, "disconnect", {"user": "u"}, key=WATCH_KEY)
    assert "watcher may not call disconnect" in gateway.log
    for key in (KEY, SHOP_KEY, WATCH_KEY):
        assert key not in gateway.log


def test_errors_of_the_transport_mode_are_statuses(gateway: Gateway, channel: str) -> None:
    def status(method: str, params: object) -> tuple[int, Any]:
        headers = {"X-Centrifugo-Error-Mode": "transport"}
        answer = ask(gateway, method, params, headers=headers)
        return answer.status, answer.json["code"]

    assert status("publish", {"channel": "nowhere:1", "data": 1}) == (404, 102)
    assert status("publish", {"data": 1}) == (400, 107)
    assert status("history", {"channel": "bare:1"}) == (400, 108)
    ask(gateway, "publish", {"channel": channel, "data": 1})
    since = {"epoch": "another", "offset": 1}
    assert status("history", {"channel": channel, "limit": 1, "since": since}) == (416, 112)
    assert status("nonsense", {}) == (404, 104)


def test_a_method_that_there_is_not_is_not_found(gateway: Gateway) -> None:
    for method in ("nonsense", "publish/room", "map_publish"):
        answer = ask(gateway, method)
        assert answer.status == 404
        assert answer.json == {"error": {"code": 104, "message": "method not found"}}
    assert error(gateway, "rpc", {"method": "x", "params": {}})[0] == 108


def test_a_body_that_is_no_json_is_a_bad_request(gateway: Gateway) -> None:
    headers = {"X-API-Key": KEY}
    for body in (b"{", b"\xff", b"[" * 100_000):
        answer = call(f"{gateway.http}/api/info", body=body, headers=headers)
        assert answer.status == 400
        assert answer.headers["content-type"].startswith("text/plain")
    answer = call(f"{gateway.http}/api/info", body=b"[1]", headers=headers)
    assert (answer.status, answer.json["error"]["code"]) == (200, 107)


def test_a_body_is_limited(gateway: Gateway) -> None:
    body = json.dumps({"channel": "room", "data": "x" * 1_100_000}).encode()
    answer = call(f"{gateway.http}/api/publish", body=body, headers={"X-API-Key": KEY})
    assert answer.status == 413


def test_too_much_at_once_is_refused_as_a_whole(gateway: Gateway, channel: str) -> None:
    channels = [f"{channel}-{n}" for n in range(1001)]
    assert error(gateway, "broadcast", {"channels": channels, "data": 1})[0] == 106
    commands = [{"broadcast": {"channels": channels[:501], "data": 1}}] * 2
    assert error(gateway, "batch", {"commands": commands})[0] == 106
    assert ask(gateway, "history", {"channel": channels[0]}).json["result"]["offset"] == 0
    data = "x" * 200_000
    assert error(gateway, "publish", {"channel": channel, "data": data})[0] == 106


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("publish", {"channel": "no/room", "data": 1}),
        ("publish", {"channel": "room", "data": 1, "idempotencykey": "k"}),
        ("publish", {"channel": 5, "data": 1}),
        ("publish", {"channel": "room", "data": 1, "tags": {"n": 1}}),
        ("broadcast", {"channels": [], "data": 1}),
        ("history", {"channel": "room", "limit": "10"}),
        ("disconnect", {}),
        ("disconnect", {"user": "u", "disconnect": {"code": 1000}}),
        ("channels", {"pattern": "a b"}),
        ("batch", {"commands": []}),
        ("batch", {"commands": [{"batch": {}}, 5]}),
    ],
)
def test_what_cannot_be_understood_is_said(
    gateway: Gateway, method: str, params: dict[str, object]
) -> None:
    code, message = error(gateway, method, params)
    assert code == 107
    assert message.startswith("bad request: ")


def test_what_is_not_done_is_refused_and_not_left_out(gateway: Gateway, channel: str) -> None:
    params = {"channel": channel, "data": 1}
    assert error(gateway, "publish", {**params, "version": 3})[0] == 108
    assert ask(gateway, "history", {"channel": channel}).json["result"]["offset"] == 0


def test_a_key_used_for_another_message_is_an_error(gateway: Gateway, channel: str) -> None:
    params = {"channel": channel, "data": 1, "idempotency_key": "k"}
    assert ask(gateway, "publish", params).json["result"]["offset"] == 1
    assert error(gateway, "publish", {**params, "data": 2})[0] == 107


def test_a_message_in_base64_is_json(gateway: Gateway, channel: str) -> None:
    params = {"channel": channel, "b64data": "eyJuIjogMX0="}
    assert ask(gateway, "publish", params).json["result"]["offset"] == 1
    assert error(gateway, "publish", {"channel": channel, "b64data": "/w=="})[0] == 107
    found = ask(gateway, "history", {"channel": channel, "limit": -1}).json["result"]
    assert [each["data"] for each in found["publications"]] == [{"n": 1}]


def test_what_is_not_kept_has_its_place_but_is_not_in_the_history(
    gateway: Gateway, channel: str
) -> None:
    commands = [
        {"publish": {"channel": channel, "data": n, "skip_history": n == 1}} for n in range(3)
    ]
    replies = ask(gateway, "batch", {"commands": commands}).json["replies"]
    assert [reply["publish"]["offset"] for reply in replies] == [1, 2, 3]
    found = ask(gateway, "history", {"channel": channel, "limit": 10}).json["result"]
    assert [(each["data"], each["offset"]) for each in found["publications"]] == [(0, 1), (2, 3)]


async def test_a_flood_is_slowed_down_like_any_publisher(
    tmp_path_factory: pytest.TempPathFactory, channel: str
) -> None:
    directory = tmp_path_factory.mktemp("slow")
    with GatewayProcess(directory, api_key=KEY, publish_rate_max=5) as gateway:
        params = {"channel": channel, "data": 1}
        headers = {"X-Centrifugo-Error-Mode": "transport"}
        answers = [
            await asyncio.to_thread(ask, gateway, "publish", params, headers=headers)
            for _ in range(20)
        ]
        refused = [answer for answer in answers if answer.status == 429]
        assert refused
        assert refused[0].json["code"] == 111


def test_the_methods_are_described(gateway: Gateway) -> None:
    paths = call(f"{gateway.http}/openapi.json").json["paths"]
    described = {path.removeprefix("/api/") for path in paths if path.startswith("/api/")}
    assert described == {
        *("publish", "broadcast", "subscribe", "unsubscribe", "disconnect", "refresh"),
        *("presence", "presence_stats", "history", "history_remove", "channels", "info"),
        *("rpc", "batch"),
    }
    body = paths["/api/publish"]["post"]["requestBody"]["content"]["application/json"]
    assert body["example"]["channel"] == "noticias"
