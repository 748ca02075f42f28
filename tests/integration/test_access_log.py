"""The lines of requests and of sockets, and the id by which a request is found again."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import RawClient, call, make_token, publish_now
from tests.support.servers import GatewayProcess, wait_until

PUBLISHER = make_token("alice", "publisher")
MADE_UP = re.compile(r"[0-9a-f]{16}")


@pytest.fixture(scope="module", params=["native", "asgi"])
def talkative(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    settings = {"socket_log": True, "socket_door": request.param}
    with GatewayProcess(tmp_path_factory.mktemp("talkative"), **settings) as process:
        yield process


def lines(gateway: GatewayProcess, **wanted: object) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in gateway.log.splitlines()]
    return [line for line in found if all(line.get(key) == wanted[key] for key in wanted)]


def one_line(gateway: GatewayProcess, **wanted: object) -> dict[str, Any]:
    wait_until(lambda: lines(gateway, **wanted), f"a line with {wanted}", 5)
    (line,) = lines(gateway, **wanted)
    return line


def test_a_request_has_one_line_without_its_query(talkative: GatewayProcess) -> None:
    """S21"""
    answer = call(f"{talkative.http}/publish/room?message=hello&token={PUBLISHER}", method="POST")
    line = one_line(talkative, event="request", request_id=answer.headers["x-request-id"])
    assert (line["level"], line["method"], line["path"]) == ("info", "POST", "/publish/room")
    assert line["status"] == 200
    assert 0 < line["duration_ms"] < 10_000
    assert MADE_UP.fullmatch(line["request_id"])
    assert "hello" not in talkative.log


def test_an_id_of_the_caller_is_in_the_answer_the_problem_and_every_line(
    talkative: GatewayProcess,
) -> None:
    given = f"balancer-{time.monotonic_ns()}/1:a.b+c=@"
    answer = call(talkative.http + "/users", headers={"X-Request-ID": given})
    assert answer.status == 401
    assert answer.headers["x-request-id"] == answer.json["request_id"] == given
    wait_until(lambda: len(lines(talkative, request_id=given)) == 2, "both lines", 5)
    refusal, request = lines(talkative, request_id=given)
    assert "was refused" in refusal["event"]
    assert request["status"] == 401


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "{}", 'a"b', "señal", "a;b"])
def test_an_id_that_is_none_is_replaced(talkative: GatewayProcess, given: str) -> None:
    """S37"""
    with RawClient(talkative.port) as client:
        client.send(
            f"GET /nowhere HTTP/1.1\r\nHost: x\r\nX-Request-ID: {given}\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        head = client.read_head().decode()
    (id,) = re.findall(r"(?im)^x-request-id: (.*?)\r?$", head)
    assert MADE_UP.fullmatch(id)


def test_two_ids_are_none(talkative: GatewayProcess) -> None:
    with RawClient(talkative.port) as client:
        client.send(
            b"GET /nowhere HTTP/1.1\r\nHost: x\r\nX-Request-ID: first\r\nX-Request-ID: second\r\n"
            b"Connection: close\r\n\r\n"
        )
        head = client.read_head().decode()
    assert "first" not in head
    assert "second" not in head


def test_an_id_belongs_to_one_request_of_a_connection(talkative: GatewayProcess) -> None:
    with RawClient(talkative.port) as client:
        ids = []
        for _ in range(2):
            client.send(b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
            head = client.read_head().decode()
            ids += re.findall(r"(?im)^x-request-id: (\w+)", head)
            (length,) = re.findall(r"(?im)^content-length: (\d+)", head)
            client._exactly(int(length))
    assert len(set(ids)) == 2


def test_what_asks_every_second_is_not_logged(talkative: GatewayProcess) -> None:
    for path in ("/livez", "/readyz", "/health", "/metrics"):
        call(talkative.http + path)
    done = call(talkative.http + "/nowhere").headers["x-request-id"]
    one_line(talkative, event="request", request_id=done)
    assert not [line for line in lines(talkative, event="request") if line["path"] == "/readyz"]


def test_a_name_cannot_forge_a_line(talkative: GatewayProcess) -> None:
    """S37"""
    call(talkative.http + "/publish/%0A%7B%22event%22:%22forged%22%7D%E2%80%A8%1B%5B2J?x=1")
    call(talkative.http + "/forged%0D%0A%E2%80%A9line")
    with RawClient(talkative.port) as client:
        client.upgrade("/ws/forged%0Aline%1B%5B2J?token=x", {"Origin": "http://a\u2028b"})
    done = call(talkative.http + "/nowhere").headers["x-request-id"]
    one_line(talkative, event="request", request_id=done)
    for line in talkative.log.splitlines():
        assert json.loads(line)["event"] != "forged"
        assert line.isascii()
        assert line.isprintable()


def test_a_socket_has_a_line_when_it_comes_and_one_when_it_goes(
    talkative: GatewayProcess,
) -> None:
    user = f"listener-{time.monotonic_ns()}"
    with RawClient(talkative.port).listen("room", make_token(user)) as client:
        opened = one_line(talkative, event="connection opened", user=user)
        assert opened["channel"] == "room"
        client.send(b"\x88\x82\x00\x00\x00\x00\x03\xe9")  # a close frame with 1001
        client.read_close()
    closed = one_line(talkative, event="connection closed", user=user)
    assert closed["connection"] == opened["connection"]
    assert (closed["channel"], closed["code"]) == ("room", 1001)
    assert 0 <= closed["duration_seconds"] < 60


def test_who_is_cut_off_or_vanishes_has_the_code_that_says_so(talkative: GatewayProcess) -> None:
    raw = f"raw-{time.monotonic_ns()}"
    with RawClient(talkative.port).listen("room", make_token(raw), "?format=raw") as client:
        client.say("I may not publish")
        client.read_close()
    assert one_line(talkative, event="connection closed", user=raw)["code"] == 1008
    gone = f"gone-{time.monotonic_ns()}"
    RawClient(talkative.port).listen("room", make_token(gone)).close()
    code = one_line(talkative, event="connection closed", user=gone)["code"]
    assert code in (1005, 1006)  # some servers take the one for the other


def test_an_event_stream_is_a_connection_and_a_request(talkative: GatewayProcess) -> None:
    user = f"reader-{time.monotonic_ns()}"
    with RawClient(talkative.port) as client:
        client.send(
            f"GET /sse/room HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {make_token(user)}\r\n"
            f"X-Request-ID: {user}\r\n\r\n".encode()
        )
        assert b" 200 " in client.read_head()
        one_line(talkative, event="connection opened", user=user)
        assert not lines(talkative, event="request", request_id=user)
    assert one_line(talkative, event="connection closed", user=user)["code"] is None
    assert one_line(talkative, event="request", request_id=user)["path"] == "/sse/room"


def test_without_the_settings_there_are_no_such_lines(directory: Path) -> None:
    with GatewayProcess(directory, access_log=False) as quiet:
        answer = publish_now(quiet.http, "room", 1, PUBLISHER)
        assert MADE_UP.fullmatch(answer.headers["x-request-id"])
        RawClient(quiet.port).listen("room", PUBLISHER).close()
        assert call(quiet.http + "/users").status == 401
        wait_until(lambda: lines(quiet, logger="gateway.web.problems"), "the refusal", 5)
        assert not lines(quiet, logger="gateway.access")


def test_on_request_the_log_is_for_people(directory: Path) -> None:
    with GatewayProcess(directory, log_format="console") as plain:
        call(plain.http + "/users")
        wait_until(lambda: "method=GET  path=/users  status=401" in plain.log, "its line", 5)
