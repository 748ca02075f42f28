"""Hostile names and hostile words, at every way in, with a real Redis behind and a look at it."""

import json
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from redis import Redis

from tests.support.clients import RawClient, call, client_frame, make_token
from tests.support.servers import REDIS_PASSWORD, GatewayProcess, RedisServer, wait_until

MARK = "Qq9"
TOKEN = make_token("paula", "publisher", "admin")
KEY = "an-api-key-for-tests-only-0123456789-abcdefghijkl"
API: list[tuple[str, dict[str, object]]] = [
    ("publish", {"data": 1}),
    ("subscribe", {"user": "u"}),
    ("unsubscribe", {"user": "u"}),
    ("presence", {}),
    ("presence_stats", {}),
    ("history", {"limit": 1}),
    ("history_remove", {}),
]
CLIENT = ["subscribe", "publish", "history", "presence", "presence_stats", "unsubscribe"]


@pytest.fixture(scope="module")
def server(
    door: str, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    process = GatewayProcess(
        tmp_path_factory.mktemp("doors"),
        socket_door=door,
        redis_url=redis_server.url,
        redis_prefix=f"doors-{door}-{secrets.token_hex(4)}",
        api_key=KEY,
    )
    with process:
        yield process
        assert "Traceback" not in process.log


class Client:
    """A client of the Centrifuge protocol that asks one thing after the other."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self.raw = RawClient(gateway.port)
        self._id = 0
        head = self.raw.upgrade("/connection/websocket")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert "connect" in self.ask("connect", token=TOKEN)

    def ask(self, method: str, **params: object) -> dict[str, Any]:
        self._id += 1
        self.raw.say(json.dumps({"id": self._id, method: params}))
        while True:
            for line in self.raw.read_text().splitlines():
                reply: dict[str, Any] = json.loads(line)
                if reply.get("id") == self._id:
                    return reply

    def close(self) -> None:
        self.raw.close()


@pytest.fixture(scope="module")
def client(server: GatewayProcess) -> Iterator[Client]:
    asking = Client(server)
    yield asking
    asking.close()


@contextmanager
def what_redis_is_asked(redis: RedisServer) -> Iterator[list[str]]:
    """Every command that Redis carried out inside of the block, whoever sent it."""
    seen: list[str] = []
    end = f"end-{secrets.token_hex(8)}"
    with Redis(port=redis.port, password=REDIS_PASSWORD) as one, one.monitor() as monitor:
        yield seen
        with Redis(port=redis.port, password=REDIS_PASSWORD) as other:
            other.execute_command("PING", end)
        while not seen or end not in seen[-1]:
            seen.append(str(monitor.next_command()["command"]))


# Names (S34).


def is_name(text: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9_\-.:@~#$]{1,200}", text) is not None


letters = st.characters(blacklist_categories=["Cs"])
bad_names = st.one_of(
    st.text(letters | st.sampled_from(list("*?[]{}\\^\r\n\0 /%'\"")), max_size=30).map(
        lambda tail: MARK + tail
    ),
    st.sampled_from(["*", "?", "[a]", "{x}", "\r\n", "\0", "\\", "\u2028", " ", "é", "/../x"]).map(
        lambda bad: MARK + bad + "x"
    ),
    st.just(MARK + "x" * 198),
).filter(lambda name: not is_name(name))


def refused_by_http(server: GatewayProcess, name: str) -> dict[str, object]:
    http, path, key = server.http, quote(name, safe=""), {"X-API-Key": KEY}
    message = {"channel": name, "data": 1}
    results: list[Any] = []
    for many in ({"messages": [message]}, {"channels": [name], "data": 1}):
        results += call(f"{http}/publish", token=TOKEN, json_body=many).json["results"]
    batch = call(
        f"{http}/api/batch", json_body={"commands": [{"publish": message}]}, headers=key
    ).json["replies"]
    answers = {
        "publish": call(f"{http}/publish/{path}", token=TOKEN, json_body={"data": 1}).status,
        "messages": results[0]["error"]["code"],
        "channels": results[1]["error"]["code"],
        "api batch": batch[0]["error"]["code"],
        "history": call(f"{http}/channels/{path}/history", token=TOKEN).status,
        "presence": call(f"{http}/channels/{path}/presence", token=TOKEN).status,
        "sse": call(f"{http}/sse/{path}", token=TOKEN).status,
    }
    for method, rest in API:
        asked: dict[str, Any] = {"channel": name, **rest}
        body = call(f"{http}/api/{method}", json_body=asked, headers=key).json
        answers[f"api {method}"] = body["error"]["code"]
    both = {"channels": ["room", name], "data": 1}
    for answer in call(f"{http}/api/broadcast", json_body=both, headers=key).json["result"][
        "responses"
    ][1:]:
        answers["api broadcast"] = answer["error"]["code"]
    return answers


# 404: with a line break in it, it is not even a path.
REFUSALS = {422, 404, 107, "invalid_channel"}
DOORS = {"publish", "messages", "channels", "history", "presence", "sse"}
DOORS |= {f"api {method}" for method in ("broadcast", "batch", *(name for name, _ in API))}


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],  # a name that gets in opens a stream, and waits: nothing to shrink
)
@given(name=bad_names)
def test_a_name_outside_the_grammar_is_refused_in_front_of_redis(
    server: GatewayProcess, client: Client, redis_server: RedisServer, name: str
) -> None:
    """S34: nothing that means something to Redis, to a log or to a URL ever gets there."""
    with what_redis_is_asked(redis_server) as asked:
        with RawClient(server.port) as raw:
            head = raw.upgrade(f"/ws/{quote(name, safe='')}", {"Authorization": f"Bearer {TOKEN}"})
            assert head.startswith(b"HTTP/1.1 101 ")
            assert raw.read_close()[0] == 1008
        answers = refused_by_http(server, name)
        assert {door: what for door, what in answers.items() if what not in REFUSALS} == {}
        assert answers.keys() == DOORS
        for method in CLIENT:
            extra = {"data": 1} if method == "publish" else {}
            reply = client.ask(method, channel=name, **extra)
            assert method == "unsubscribe" or reply["error"]["code"] == 107, (method, reply)
    assert [command for command in asked if MARK in command] == []


def test_a_name_of_the_grammar_gets_there(
    server: GatewayProcess, client: Client, redis_server: RedisServer
) -> None:
    """The test above would pass for a gateway that says nothing to Redis at all."""
    name = f"{MARK}-{secrets.token_hex(4)}"
    with what_redis_is_asked(redis_server) as asked:
        assert "subscribe" in client.ask("subscribe", channel=name)
        url = f"{server.http}/publish/{name}"
        assert call(url, token=TOKEN, json_body={"data": 1}).status == 200
    assert [command for command in asked if name in command]


# Words (S42).

BAD_JSON = {
    "cut off": b'{"data":',
    "not a number": b'{"data":NaN}',
    "infinite": b'{"data":-Infinity}',
    "3000 nested": b'{"data":' + b"[" * 3000 + b"]" * 3000 + b"}",
    "3000 objects": b'{"data":' * 3000 + b"1" + b"}" * 3000,
    "lone surrogate": b'{"data":"\\ud800"}',
    "two values": b'{"data":1}{"data":2}',
    "a control character": b'{"data":"\x01"}',
    "a number that is none": b'{"data":01}',
}


@pytest.mark.parametrize("body", BAD_JSON.values(), ids=BAD_JSON.keys())
def test_what_is_no_json_is_refused_at_every_door(server: GatewayProcess, body: bytes) -> None:
    """S42"""
    http, kind = server.http, {"Content-Type": "application/json"}
    for path in ("/publish/room", "/publish", "/login", "/register", "/refresh"):
        answer = call(http + path, token=TOKEN, body=body, headers=kind)
        told = answer.status, answer.json["code"]
        assert told in ((422, "invalid_request"), (413, "too_big")), path
    answer = call(f"{http}/api/publish", body=body, headers=kind | {"X-API-Key": KEY})
    assert answer.status == 400
    assert answer.body.startswith(b"not JSON: ")
    assert call(f"{http}/emulation", body=body, method="POST").status == 422
    said_on_a_plain_socket(server, body)
    assert said_as_a_client(server, body) == 3501


def test_what_is_no_text_is_refused_and_costs_no_traceback(server: GatewayProcess) -> None:
    """S42: as text, and as a binary frame."""
    words = b"\xff\xfe\x00"
    for path in ("/ws/room", "/connection/websocket"):
        with RawClient(server.port) as raw:
            raw.upgrade(path, {"Authorization": f"Bearer {TOKEN}"})
            raw.send(client_frame(1, words))
            assert raw.read_close()[0] == 1007
    said_on_a_plain_socket(server, words, opcode=2)
    assert said_as_a_client(server, words, opcode=2) == 3501


def test_of_a_name_that_comes_twice_the_last_one_counts_at_every_door(
    server: GatewayProcess, channel: str
) -> None:
    """S42: and what is checked is what is published."""
    twice = b'{"data":"first","data":"last"}'
    kind = {"Content-Type": "application/json"}
    with RawClient(server.port).listen(channel, TOKEN) as listener:
        answer = call(f"{server.http}/publish/{channel}", token=TOKEN, body=twice, headers=kind)
        assert answer.status == 200
        listener.say(twice.decode())
        assert [listener.read_json()["data"] for _ in range(2)] == ["last"] * 2
        # A channel that is none in front of one that is, and the reverse.
        body = b'{"channel":"%b","channel":"%b","data":"api"}'
        for first, last, outcome in ((b"a b", channel.encode(), "result"), (b"a", b"a b", "error")):
            key = kind | {"X-API-Key": KEY}
            api = call(f"{server.http}/api/publish", body=body % (first, last), headers=key)
            assert outcome in api.json
        assert listener.read_json()["data"] == "api"


def said_on_a_plain_socket(server: GatewayProcess, words: bytes, opcode: int = 1) -> None:
    """It is answered with a notice, and goes on."""
    with RawClient(server.port).listen("words", TOKEN) as raw:
        raw.send(client_frame(opcode, words))
        notice = raw.read_json()
        assert (notice["type"], notice["error"]) == ("error", "invalid_request")
        raw.say("still here")
        assert raw.read_json()["data"] == "still here"


def said_as_a_client(server: GatewayProcess, words: bytes, opcode: int = 1) -> int:
    """The code of the close frame that follows."""
    with RawClient(server.port) as raw:
        raw.upgrade("/connection/websocket")
        raw.send(client_frame(opcode, words))
        return raw.read_close()[0]


# Sizes and numbers (S39, S40, S46).


def test_too_much_at_once_is_refused_at_every_door(server: GatewayProcess) -> None:
    """S39: a message over message_bytes_max, and a request over request_bytes_max."""
    http, kind = server.http, {"Content-Type": "application/json"}
    message = b'{"data":"' + b"x" * 70_000 + b'"}'
    for path, body in {
        "/publish/room": message,
        "/connection/http_stream": message,
        "/emulation": b"x" * 200_000,
        "/login": b'{"username":"' + b"x" * 20_000 + b'"}',
        "/publish": b'{"messages":[' + b" " * 1_048_576 + b"]}",
    }.items():
        answer = call(http + path, token=TOKEN, body=body, headers=kind, method="POST")
        assert (path, answer.status) == (path, 413)
    api = {"X-API-Key": KEY, **kind}
    answer = call(f"{http}/api/publish", body=b" " * 1_048_577, headers=api)
    assert answer.status == 413
    for path in ("/ws/room", "/connection/websocket"):
        with RawClient(server.port) as raw:
            raw.upgrade(path, {"Authorization": f"Bearer {TOKEN}"})
            raw.send(client_frame(1, b"x" * 65_537))
            assert raw.read_close()[0] == 1009


@pytest.fixture
def small(door: str, directory: Path) -> Iterator[GatewayProcess]:
    settings = {"socket_door": door, "sockets_max": 3, "publish_rate_max": 5}
    with GatewayProcess(directory, **settings) as process:
        yield process


def test_a_full_replica_and_a_flood_are_told_so_and_health_is_still_asked(
    small: GatewayProcess, channel: str
) -> None:
    """S40, S46"""
    with (
        RawClient(small.port).listen(channel, make_token("bob")) as listener,
        RawClient(small.port).listen(channel, TOKEN) as talker,
        RawClient(small.port).listen(channel, TOKEN, "?format=raw") as raw,
    ):
        for path in (f"/ws/{channel}", "/connection/websocket"):
            with RawClient(small.port) as one_more:
                one_more.upgrade(path, {"Authorization": f"Bearer {TOKEN}"})
                assert one_more.read_close()[0] in (1013, 3004)
        for path in ("/health", "/readyz", "/livez"):
            assert call(small.http + path).status == 200

        flood = 200
        talker.send(client_frame(1, b"x") * flood)
        told = [talker.read_json() for _ in range(flood)]
        refused = [notice for notice in told if notice.get("error") == "limit_reached"]
        published = [message for message in told if "data" in message]
        assert len(refused) + len(published) == flood
        assert len(published) < flood / 2, "one batch out of a quiet time, and then its debt"
        assert [listener.read_json()["data"] for _ in published] == ["x"] * len(published)

        # The same user has no more of it elsewhere; a format without notices has to end.
        answer = call(f"{small.http}/publish/{channel}", token=TOKEN, json_body={"data": 1})
        assert answer.status == 429
        assert "retry-after" in {name.lower() for name in answer.headers}
        raw.say("one more")
        code, reason = raw.read_close()
        assert code == 1008
        assert "messages per second" in reason
    wait_until(lambda: call(small.http + "/health").json["sockets_open"] == 0, "all have left", 10)
