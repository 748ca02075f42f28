"""Who gets in, where the token may stand, and what those are told who do not get in."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from gateway.domain.principal import Action
from tests.support.clients import RawClient, call, client_frame, make_token, publish_now
from tests.support.servers import SECRET, GatewayProcess, wait_until

OWN = "http://gateway.test"  # the origin of a page that the gateway's own address served
LISTED = "https://app.example"
FOREIGN = "https://elsewhere.example"


@pytest.fixture(scope="module")
def strict(door: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway that knows its pages and wants no token in a URL."""
    settings = {"allowed_origins": LISTED, "token_in_url": False, "socket_door": door}
    with GatewayProcess(tmp_path_factory.mktemp("strict"), **settings) as process:
        yield process


def in_place(place: str, token: str) -> tuple[str, dict[str, str]]:
    """A query and headers that carry the token in one of the four places."""
    if place == "query":
        return f"?token={token}", {}
    return "", {
        "header": {"Authorization": f"Bearer {token}"},
        "subprotocol": {"Sec-WebSocket-Protocol": f"bearer, {token}"},
        "cookie": {"Cookie": f"theme=dark; gateway_token={token}", "Origin": OWN},
    }[place]


def handshake(
    gateway: GatewayProcess, target: str, headers: Mapping[str, str | None]
) -> tuple[bytes, RawClient]:
    client = RawClient(gateway.port)
    return client.upgrade(target, {"Host": "gateway.test", **headers}), client


def refusal(
    gateway: GatewayProcess, target: str, headers: Mapping[str, str | None]
) -> tuple[int, str]:
    """The close code and the reason of a client that is let in first and then refused."""
    head, client = handshake(gateway, target, headers)
    with client:
        assert head.startswith(b"HTTP/1.1 101 "), head
        code, reason = client.read_close()
    assert reason
    return code, reason


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def with_claims(token: str, **claims: object) -> str:
    """The same token with other claims, signed as the gateway signs."""
    header, payload, _ = token.split(".")
    known = json.loads(base64.urlsafe_b64decode(payload + "=="))
    payload = _base64(json.dumps(known | claims).encode())
    signature = hmac.digest(SECRET.encode(), f"{header}.{payload}".encode(), hashlib.sha256)
    return f"{header}.{payload}.{_base64(signature)}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


# What a listener sees.


def test_json_is_one_object_on_one_line(
    gateway: GatewayProcess, channel: str, publisher: str, listener: str
) -> None:
    with RawClient(gateway.port).listen(channel, listener) as client:
        receipt = publish_now(gateway.http, channel, {"n": [1, None], "s": "é\n"}, publisher).json
        text = client.read_text()

    assert "\n" not in text
    message = json.loads(text)
    assert set(message) == {"channel", "data", "offset", "epoch", "id", "user", "time"}
    assert message["data"] == {"n": [1, None], "s": "é\n"}
    assert (message["channel"], message["user"]) == (channel, "paula")
    assert message["offset"] == receipt["offset"]
    assert abs(message["time"] - time.time()) < 5


@pytest.mark.parametrize(
    ("query", "data", "expected"),
    [
        ("?format=text", "Hola canal", "[{channel}] Hola canal"),
        ("?format=text", {"a": 1}, '[{channel}] {"a":1}'),
        ("?format=raw", "Hola canal", "Hola canal"),
        ("?format=raw", [1, 2.5, None], "[1,2.5,null]"),
        ("?format=raw", "", ""),
    ],
)
def test_the_other_formats_show_the_data_as_it_is(
    gateway: GatewayProcess,
    channel: str,
    publisher: str,
    listener: str,
    query: str,
    data: object,
    expected: str,
) -> None:
    with RawClient(gateway.port).listen(channel, listener, query) as client:
        publish_now(gateway.http, channel, data, publisher)
        assert client.read_text() == expected.replace("{channel}", channel)


def test_every_character_of_the_grammar_can_be_part_of_a_channel(
    gateway: GatewayProcess, publisher: str, listener: str
) -> None:
    for channel in ("aZ09_-.:@~#$", "c" * 200):
        with RawClient(gateway.port).listen(channel, listener) as client:
            assert publish_now(gateway.http, channel, "x", publisher).status == 200
            assert client.read_json()["channel"] == channel


# Where the token may stand.


@pytest.mark.parametrize("place", ["header", "subprotocol", "query", "cookie"])
def test_a_token_counts_in_each_of_its_four_places(
    gateway: GatewayProcess, channel: str, publisher: str, listener: str, place: str
) -> None:
    query, headers = in_place(place, listener)
    head, client = handshake(gateway, f"/ws/{channel}{query}", headers)
    with client:
        assert head.startswith(b"HTTP/1.1 101 ")
        publish_now(gateway.http, channel, "in", publisher)
        assert client.read_json()["data"] == "in"


def test_of_the_offered_subprotocols_only_the_word_bearer_comes_back(
    gateway: GatewayProcess, channel: str, listener: str
) -> None:
    query, headers = in_place("subprotocol", listener)
    head, client = handshake(gateway, f"/ws/{channel}{query}", headers)
    client.close()
    lines = head.decode().lower().split("\r\n")
    assert [line for line in lines if "protocol:" in line] == ["sec-websocket-protocol: bearer"]
    assert listener.lower() not in head.decode().lower()


def test_an_empty_list_of_subprotocols_is_no_list(
    gateway: GatewayProcess, channel: str, listener: str
) -> None:
    headers = bearer(listener) | {"Sec-WebSocket-Protocol": ""}
    head, client = handshake(gateway, f"/ws/{channel}", headers)
    client.close()
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"protocol:" not in head.lower()


def test_the_same_token_in_every_place_is_one_token(
    gateway: GatewayProcess, channel: str, publisher: str, listener: str
) -> None:
    headers = bearer(listener) | {"Sec-WebSocket-Protocol": f"bearer, {listener}"}
    target = f"/ws/{channel}?token={listener}&token={listener}"
    head, client = handshake(gateway, target, headers)
    with client:
        assert head.startswith(b"HTTP/1.1 101 ")
        publish_now(gateway.http, channel, "in", publisher)
        assert client.read_json()["data"] == "in"


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("?token={a}&token={b}", {}),
        ("?token={a}", {"Authorization": "Bearer {b}"}),
        ("", {"Authorization": "Bearer {a}", "Sec-WebSocket-Protocol": "bearer, {b}"}),
        ("?token=", {"Authorization": "Bearer {a}"}),
    ],
)
def test_two_different_tokens_are_refused(
    gateway: GatewayProcess, channel: str, query: str, headers: dict[str, str]
) -> None:
    tokens = {"a": make_token("alice"), "b": make_token("alice")}
    filled = {name: value.format(**tokens) for name, value in headers.items()}
    code, reason = refusal(gateway, f"/ws/{channel}{query.format(**tokens)}", filled)
    assert code == 1008
    assert "two different tokens" in reason


@pytest.mark.parametrize("origin", [FOREIGN, None, "null", "", "http://gateway.test.evil"])
def test_a_cookie_counts_only_for_pages_of_our_own(
    gateway: GatewayProcess, channel: str, listener: str, origin: str | None
) -> None:
    headers = {"Cookie": f"gateway_token={listener}", "Origin": origin}
    code, reason = refusal(gateway, f"/ws/{channel}", headers)
    assert code == 1008
    assert reason.startswith("origin: ")


def test_a_page_from_anywhere_may_come_with_a_token_of_its_own(
    gateway: GatewayProcess, channel: str, listener: str
) -> None:
    head, client = handshake(gateway, f"/ws/{channel}", bearer(listener) | {"Origin": FOREIGN})
    client.close()
    assert head.startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize(
    "origin",
    [
        FOREIGN,
        "https://app.example.evil",
        "https://evil.app.example",
        "http://app.example",
        "https://app.example:8443",
        "null",
    ],
)
def test_where_pages_are_listed_a_foreign_one_learns_nothing_but_403(
    strict: GatewayProcess, channel: str, listener: str, origin: str
) -> None:
    head, client = handshake(strict, f"/ws/{channel}", bearer(listener) | {"Origin": origin})
    with client:
        assert head.startswith(b"HTTP/1.1 403 ")
        assert client.read_to_end().endswith(b"}")


@pytest.mark.parametrize("origin", [LISTED, OWN, None])
def test_where_pages_are_listed_they_and_programs_come_in(
    strict: GatewayProcess, channel: str, listener: str, origin: str | None
) -> None:
    head, client = handshake(strict, f"/ws/{channel}", bearer(listener) | {"Origin": origin})
    client.close()
    assert head.startswith(b"HTTP/1.1 101 ")


def test_a_listed_page_may_use_the_cookie(
    strict: GatewayProcess, channel: str, listener: str
) -> None:
    headers = {"Cookie": f"gateway_token={listener}", "Origin": LISTED}
    head, client = handshake(strict, f"/ws/{channel}", headers)
    client.close()
    assert head.startswith(b"HTTP/1.1 101 ")


def test_a_token_in_the_url_can_be_turned_off(
    strict: GatewayProcess, channel: str, listener: str
) -> None:
    code, reason = refusal(strict, f"/ws/{channel}?token={listener}", {})
    assert code == 1008
    assert "URL" in reason


# Who does not get in.


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("", {}),
        ("?token=", {}),
        ("?token=nonsense", {}),
        ("?token=a.b.c", {}),
        ("", {"Authorization": "Bearer"}),
        ("", {"Authorization": "Basic YWxpY2U6c2VjcmV0"}),
        ("", {"Authorization": "Bearer {token}x"}),
        ("", {"Authorization": "Bearer {token}, Bearer {token}"}),
        ("", {"Sec-WebSocket-Protocol": "bearer"}),
        ("", {"Sec-WebSocket-Protocol": "bearer, {token}, chat"}),
        ("", {"Sec-WebSocket-Protocol": "{token}"}),
        ("", {"Cookie": "gateway_token=", "Origin": OWN}),
    ],
)
def test_without_a_usable_token_the_socket_is_closed_with_1008(
    gateway: GatewayProcess, channel: str, query: str, headers: dict[str, str]
) -> None:
    token = make_token("alice", "admin")
    filled = {name: value.replace("{token}", token) for name, value in headers.items()}
    code, reason = refusal(gateway, f"/ws/{channel}{query}", filled)
    assert code == 1008
    assert token not in reason


def test_an_expired_token_is_told_apart(gateway: GatewayProcess, channel: str) -> None:
    now = int(time.time())
    token = with_claims(make_token(), iat=now - 100, exp=now - 10)
    assert refusal(gateway, f"/ws/{channel}", bearer(token)) == (1008, "the token has expired")


@pytest.mark.parametrize(
    "path",
    [
        "/ws/",
        "/ws/a%20b",
        "/ws/%2a",
        "/ws/news.*",
        "/ws/a/b",
        "/ws/a%2Fb",
        "/ws/a%00b",
        "/ws/a%0Ab",
        "/ws/a%0D%0Ab",
        "/ws/a%0A",
        "/ws/caf%C3%A9",
        "/ws/%ff",
        "/ws/%7Btag%7D",
        "/ws/" + "c" * 201,
    ],
)
def test_a_name_outside_the_grammar_is_no_channel(
    gateway: GatewayProcess, publisher: str, path: str
) -> None:
    code, reason = refusal(gateway, path, bearer(publisher))
    assert code == 1008
    assert "channel name" in reason


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?format=xml", "format is json, text or raw"),
        ("?format=", "format is json, text or raw"),
        ("?format=json&format=json", "format was given twice"),
        ("?formt=json", "unknown parameter: formt"),
        ("?__proto__", "unknown parameter: __proto__"),
    ],
)
def test_a_wrong_parameter_is_named(
    gateway: GatewayProcess, channel: str, listener: str, query: str, expected: str
) -> None:
    assert refusal(gateway, f"/ws/{channel}{query}", bearer(listener)) == (1008, expected)


@pytest.mark.parametrize(
    ("target", "grants", "rule"),
    [
        ("weather.today", {Action.SUBSCRIBE: ["news.*"]}, "grant: "),
        ("weather.today", {Action.SUBSCRIBE: []}, "grant: "),
        ("user:bob", None, "personal: "),
        ("user:bob", {Action.SUBSCRIBE: ["*"]}, "personal: "),
    ],
)
def test_a_channel_that_is_not_allowed_is_closed_with_the_rule_that_decided(
    gateway: GatewayProcess, target: str, grants: dict[Action, list[str]] | None, rule: str
) -> None:
    token = make_token("alice", "admin", grants=grants)
    code, reason = refusal(gateway, f"/ws/{target}", bearer(token))
    assert code == 1008
    assert reason.startswith(rule)


def test_a_personal_channel_is_open_to_its_owner(gateway: GatewayProcess, publisher: str) -> None:
    with RawClient(gateway.port).listen("user:olga", make_token("olga")) as client:
        publish_now(gateway.http, "user:olga", "mail", publisher)
        assert client.read_json()["data"] == "mail"


def test_a_full_replica_says_when_to_come_back(
    door: str, directory: Path, channel: str, listener: str
) -> None:
    with GatewayProcess(directory, sockets_max=2, socket_door=door) as small:
        first = RawClient(small.port).listen(channel, listener)
        with first, RawClient(small.port).listen("another", listener):
            code, reason = refusal(small, f"/ws/{channel}", bearer(listener))
            assert code == 1013
            assert "retry_ms=" in reason
            assert call(f"{small.http}/readyz").status == 200

        def is_let_in() -> bool:
            _, client = handshake(small, f"/ws/{channel}", bearer(listener))
            with client:
                client.send(client_frame(9, b""))
                return client.read_frame()[0] == 10

        wait_until(is_let_in, "a place that one has left is given to another", 5)


# Nothing of this is written down.


def test_no_token_is_ever_logged(door: str, directory: Path) -> None:
    canaries = []

    def canary(claims: Mapping[str, object] | None = None) -> str:
        canaries.append(with_claims(make_token("canary", "publisher"), **(claims or {})))
        return canaries[-1]

    settings = {"log_level": "debug", "request_timeout_seconds": 1, "socket_door": door}
    with GatewayProcess(directory, **settings) as noisy:
        for place in ("header", "subprotocol", "query", "cookie"):
            for path, claims in (
                ("/ws/room", {}),
                ("/ws/room", {"exp": 1}),
                ("/ws/bad%20name", {}),
                ("/ws/user:bob", {}),
                ("/nope", {}),
            ):
                query, headers = in_place(place, canary(claims))
                head, client = handshake(noisy, path + query, headers)
                with client:
                    if path == "/ws/room" and not claims:
                        client.say("a canary: 7b19c4e2")
                        client.read_text()
                        client.send(b"\xff\xff\xff")  # breaks the protocol
                    if head.startswith(b"HTTP/1.1 101 "):
                        client.read_close()
            for extra in (
                {"Sec-WebSocket-Key": "short"},
                {"Sec-WebSocket-Version": "8"},
                {"Padding": "x" * 9000},
                {"Content-Length": "10"},
                {"Bad header": "x"},
            ):
                for path in ("/ws/room", "/nope"):
                    query, headers = in_place(place, canary())
                    _, client = handshake(noisy, path + query, headers | extra)
                    client.close()
            query, headers = in_place(place, canary())
            call(f"{noisy.http}/publish/room{query}", json_body={"data": "x"}, headers=headers)
            call(f"{noisy.http}/nowhere{query}", headers=headers)
        noisy.terminate()

        assert "replica" in noisy.log
        assert "Traceback" not in noisy.log
        assert "7b19c4e2" not in noisy.log
        for token in canaries:
            for secret in (token, *token.split(".")[1:]):
                assert secret not in noisy.log
