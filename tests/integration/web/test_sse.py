"""Listening over plain HTTP: who gets in, what arrives, and who is refused, in HTTP."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.accounts import TRUSTED, assert_problem, member
from tests.support.clients import call, listen, make_token, publish
from tests.support.event_source import EventSource
from tests.support.servers import GatewayProcess, wait_until

PUBLISHER, LISTENER = make_token("paula", "publisher"), make_token("lucas")
LISTED, FOREIGN = "https://app.example", "https://elsewhere.example"


@pytest.fixture
def channel() -> str:
    return f"room-{secrets.token_hex(4)}"


async def test_a_listener_hears_what_is_published(gateway: GatewayProcess, channel: str) -> None:
    async with EventSource(gateway.http, channel, LISTENER) as source:
        assert source.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert source.headers["cache-control"] == "no-store"
        assert source.headers["x-accel-buffering"] == "no"
        assert "content-encoding" not in source.headers
        assert source.parser.retry is not None
        assert 1000 <= source.parser.retry <= 3000
        for data in ("Hola", {"a": [1, "two\r\nlines"]}, None, ""):
            await publish(gateway.http, channel, data, PUBLISHER)
            message = await source.message()
            assert (message["channel"], message["data"]) == (channel, data)


@pytest.mark.parametrize(
    ("query", "data"),
    [
        ("?format=text", "[{channel}] one\ntwo\n\nfour"),
        ("?format=raw", "one\ntwo\n\nfour"),
    ],
)
async def test_lines_stay_lines_in_the_formats_for_people(
    gateway: GatewayProcess, channel: str, query: str, data: str
) -> None:
    async with EventSource(gateway.http, channel, LISTENER, query) as source:
        await publish(gateway.http, channel, "one\ntwo\r\n\rfour", PUBLISHER)
        event = await source.next()
        assert (event.type, event.data) == ("message", data.format(channel=channel))


async def test_it_hears_its_socket_neighbours(gateway: GatewayProcess, channel: str) -> None:
    async with (
        EventSource(gateway.http, channel, LISTENER) as source,
        listen(gateway.ws, channel, PUBLISHER) as socket,
    ):
        await socket.send("from a socket")
        assert (await source.message())["data"] == "from a socket"


async def test_history_comes_first_where_it_is_asked_for(
    gateway: GatewayProcess, channel: str
) -> None:
    for n in range(1, 4):
        await publish(gateway.http, channel, n, PUBLISHER)
    async with EventSource(gateway.http, channel, LISTENER, "?history=2") as source:
        assert [(await source.message())["data"] for _ in range(2)] == [2, 3]
        caught_up = await source.next()
        assert (caught_up.type, caught_up.json["offset"]) == ("caught_up", 3)
    query = "?history=2&format=raw"
    async with EventSource(gateway.http, channel, LISTENER, query) as source:
        await publish(gateway.http, channel, 4, PUBLISHER)
        assert [(await source.next()).data for _ in range(3)] == ["2", "3", "4"]


async def test_a_listener_is_connected_and_counted(gateway: GatewayProcess, channel: str) -> None:
    user = f"u-{secrets.token_hex(4)}"
    before = call(gateway.http + "/health").json["sockets_open"]
    async with EventSource(gateway.http, channel, make_token(user)):
        assert call(gateway.http + "/health").json["sockets_open"] == before + 1
        assert user in connected(gateway)
    wait_until(lambda: user not in connected(gateway), "it is seen to be gone", 1)
    assert call(gateway.http + "/health").json["sockets_open"] == before


def connected(gateway: GatewayProcess) -> list[str]:
    users = call(gateway.http + "/users/connected", token=make_token("root", "admin")).json
    return [line["user"] for line in users["users"]]


@pytest.mark.parametrize("query", ["?token={}", "?token={}&format=raw"])
async def test_a_page_may_put_its_token_into_the_url_and_nobody_logs_it(
    directory: Path, query: str
) -> None:
    with GatewayProcess(directory, log_level="debug") as gateway:
        async with EventSource(gateway.http, "room", query=query.format(LISTENER)) as source:
            await publish(gateway.http, "room", "hi", PUBLISHER)
            await source.next()
        bad = call(f"{gateway.http}/sse/room{query.format(LISTENER + 'x')}")
        assert_problem(bad, 401, "invalid_token")
        assert LISTENER not in gateway.log
        assert "'/sse/room' was refused" in gateway.log


async def test_a_ticket_opens_one_stream(directory: Path) -> None:
    with GatewayProcess(directory, **TRUSTED) as gateway:
        person = member(gateway.http)
        ticket = person.authorized("/ticket").json["ticket"]
        query = f"?ticket={ticket}"
        async with EventSource(gateway.http, f"user:{person.name}", query=query) as source:
            await publish(gateway.http, f"user:{person.name}", 1, PUBLISHER)
            assert (await source.message())["data"] == 1
        again = call(f"{gateway.http}/sse/room?ticket={ticket}")
        assert assert_problem(again, 401, "invalid_token")["detail"].startswith("the ticket")
        assert ticket not in gateway.log


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/sse/room", 401, "invalid_token"),
        ("/sse/room?token=x", 401, "invalid_token"),
        ("/sse/user:bob?token={}", 403, "denied"),
        ("/sse/a%20b?token={}", 422, "invalid_channel"),
        ("/sse/?token={}", 422, "invalid_channel"),
        ("/sse/room?token={}&format=xml", 422, "invalid_request"),
        ("/sse/room?token={}&format=raw&format=raw", 422, "invalid_request"),
        ("/sse/room?token={}&since=x", 422, "invalid_request"),
        ("/sse/room?token={}&since=a:1&history=1", 422, "invalid_request"),
        ("/sse/room?token={}&history=0", 422, "invalid_request"),
        ("/sse/room?token={}&other=1", 422, "invalid_request"),
        ("/sse/room?token={}&ticket=x", 422, "invalid_request"),
    ],
)
def test_whoever_is_refused_gets_a_problem(
    gateway: GatewayProcess, path: str, status: int, code: str
) -> None:
    before = call(gateway.http + "/health").json["sockets_refused"]
    assert_problem(call(gateway.http + path.format(LISTENER)), status, code)
    assert call(gateway.http + "/health").json["sockets_refused"] == before + 1


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "OPTIONS"])
def test_only_get_listens(gateway: GatewayProcess, method: str) -> None:
    answer = call(f"{gateway.http}/sse/room", token=LISTENER, method=method)
    assert (answer.status, answer.headers["allow"]) == (405, "GET")


@pytest.mark.parametrize(
    ("limit", "status", "code"),
    [
        ("sockets_max", 503, "unavailable"),
        ("sockets_per_user_max", 429, "limit_reached"),
        ("sockets_per_address_max", 429, "limit_reached"),
    ],
)
async def test_listeners_count_among_the_sockets(
    directory: Path, limit: str, status: int, code: str
) -> None:
    settings: dict[str, Any] = {limit: 1}
    with GatewayProcess(directory, **settings) as gateway:
        url = f"{gateway.http}/sse/room"
        async with EventSource(gateway.http, "room", LISTENER):
            answer = call(url, token=LISTENER)
            assert_problem(answer, status, code)
            assert int(answer.headers["retry-after"]) > 0
        async with EventSource(gateway.http, "room", LISTENER):
            pass


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A gateway that lists the origins of its pages."""
    settings = {"allowed_origins": LISTED, **TRUSTED}
    with GatewayProcess(tmp_path_factory.mktemp("shop"), **settings) as process:
        yield process


COOKIE = {"Cookie": f"gateway_token={LISTENER}"}


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "same-origin"}, {"Origin": LISTED}],
)
async def test_a_page_of_ours_listens_with_its_cookie(
    shop: GatewayProcess, headers: Mapping[str, str]
) -> None:
    async with EventSource(shop.http, "room", headers={**COOKIE, **headers}) as source:
        allowed = source.headers.get("access-control-allow-origin")
        assert allowed == headers.get("Origin")
        credentials = source.headers.get("access-control-allow-credentials")
        assert credentials == ("true" if allowed else None)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": FOREIGN},
        {"Origin": FOREIGN, "Authorization": f"Bearer {LISTENER}"},
    ],
)
def test_a_foreign_page_does_not(shop: GatewayProcess, headers: Mapping[str, str]) -> None:
    answer = call(f"{shop.http}/sse/room", headers={**COOKIE, **headers})
    assert_problem(answer, 403, "denied")
    assert "access-control-allow-origin" not in answer.headers


async def test_without_a_list_any_page_may_listen_with_a_token_but_not_with_a_cookie(
    gateway: GatewayProcess,
) -> None:
    origin = {"Origin": FOREIGN}
    async with EventSource(gateway.http, "room", LISTENER, headers=origin) as source:
        assert source.headers["access-control-allow-origin"] == FOREIGN
        assert "access-control-allow-credentials" not in source.headers
    answer = call(f"{gateway.http}/sse/room", headers={**COOKIE, **origin})
    assert_problem(answer, 403, "denied")
