"""What every answer tells a browser, which pages may read it, and under which names it is given."""

from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.types import Message

from gateway.core.metrics import HttpCounts
from gateway.web import problems
from gateway.web.access import Access
from tests.support.accounts import assert_problem
from tests.support.clients import Answer, RawClient, call, make_token
from tests.support.servers import GatewayProcess

NAME = "api.example"
LISTED, FOREIGN = "https://app.example", "https://evil.example"
YEAR = "max-age=31536000"
ADMIN = make_token("root", "admin", "publisher")
SAFE = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
PATHS = [
    "/",
    "/page/app.js",
    "/docs",
    "/openapi.json",
    "/asyncapi.json",
    "/livez",
    "/readyz",
    "/health",
    "/metrics",
    "/me",
    "/nope",
    "/ws/room",
    "/sse/room",
    "/channels",
    "/channels/room/history",
    "/.well-known/jwks.json",
    "/connection/websocket",
    "/users/connected",
]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """As in production, with everything turned on that could be asked; its proxy is 127.0.0.1."""
    settings = {
        "env": "production",
        "docs": True,
        "page": True,
        "metrics": True,
        "allowed_hosts": f"{NAME},*.chat.example",
        "allowed_origins": LISTED,
        "trusted_proxies": "127.0.0.1",
        "drain_pause_seconds": 0,
        "drain_seconds": 0,
    }
    with GatewayProcess(tmp_path_factory.mktemp("guarded"), **settings) as process:
        yield process
        assert "Traceback" not in process.log


@pytest.fixture(scope="module")
def open_to_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Nothing is listed, and nobody is a proxy."""
    with GatewayProcess(tmp_path_factory.mktemp("open"), hsts_seconds=60) as process:
        yield process


def ask(guarded: GatewayProcess, path: str, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return call(guarded.http + path, headers={"Host": NAME, **named})


def lower(answer: Answer) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.headers.items()}


# What a browser is told.


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_says_what_a_browser_may_not_do_with_it(
    guarded: GatewayProcess, path: str
) -> None:
    """S57"""
    headers = lower(ask(guarded, path))
    assert {name: headers.get(name) for name in SAFE} == SAFE
    policy = headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    if path != "/docs":
        assert policy.startswith("default-src 'none'")
    assert headers["cache-control"]
    assert "server" not in headers
    assert "strict-transport-security" not in headers, "this was no TLS"


def test_what_no_framework_has_seen_says_the_same(guarded: GatewayProcess) -> None:
    """S57: refusals of the parser and of the handshake."""
    with RawClient(guarded.port) as garbage, RawClient(guarded.port) as handshake:
        garbage.send(b"not HTTP\r\n\r\n")
        heads = [garbage.read_head(), handshake.upgrade("/ws/room", {"Host": "evil.example"})]
    for head in heads:
        assert head.startswith(b"HTTP/1.1 400 ")
        lines = head.lower().split(b"\r\n")
        for name, value in SAFE.items():
            assert f"{name}: {value}".lower().encode() in lines
        assert not any(line.startswith(b"server:") for line in lines)


def test_an_event_stream_says_the_same(guarded: GatewayProcess) -> None:
    """S57"""
    with RawClient(guarded.port) as client:
        head = f"GET /sse/room HTTP/1.1\r\nHost: {NAME}\r\nAuthorization: Bearer {ADMIN}\r\n\r\n"
        client.send(head.encode())
        answer = client.read_head()
    assert answer.startswith(b"HTTP/1.1 200 ")
    for name, value in SAFE.items():
        assert f"\r\n{name}: {value}".encode() in answer


def test_behind_our_proxy_with_tls_browsers_are_told_to_insist_on_it(
    guarded: GatewayProcess,
) -> None:
    """S57"""
    for path in ("/livez", "/nope", "/"):
        answer = lower(ask(guarded, path, X_Forwarded_Proto="https"))
        assert answer["strict-transport-security"] == YEAR
        assert "strict-transport-security" not in lower(
            ask(guarded, path, X_Forwarded_Proto="http")
        )


def test_nobody_else_is_believed_about_tls(open_to_all: GatewayProcess) -> None:
    """S57: or a page on plain HTTP could be made unreachable for a year."""
    answer = call(open_to_all.http + "/livez", headers={"X-Forwarded-Proto": "https"})
    assert "strict-transport-security" not in lower(answer)


async def test_our_own_mistakes_say_the_same() -> None:
    """S57: an answer that is made behind every middleware."""
    app, counts = FastAPI(), HttpCounts()
    problems.install(app, Counter())
    app.add_middleware(
        Access,
        counts=counts,
        is_logged=False,
        hsts_seconds=60,
        trusted_networks=[ip_network("127.0.0.1")],
    )

    @app.get("/")
    async def fail() -> None:
        raise RuntimeError("a mistake")

    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "scheme": "http",
        "query_string": b"",
        "headers": [(b"x-forwarded-proto", b"https")],
        "client": ("127.0.0.1", 1),
    }
    with pytest.raises(RuntimeError):  # for the server to log
        await app(scope, receive, send)
    assert sent[0]["status"] == 500
    headers = dict(sent[0]["headers"])
    assert (
        SAFE.items() <= {name.decode(): value.decode() for name, value in headers.items()}.items()
    )
    assert headers[b"strict-transport-security"] == b"max-age=60"


# Which pages may read it.

PREFLIGHT = {"Access_Control_Request_Method": "POST"}
READABLE = ["/publish/room", "/login", "/me", "/channels/room/history", "/ticket", "/sse/room"]


def cors_of(answer: Answer) -> dict[str, str]:
    return {name: v for name, v in lower(answer).items() if name.startswith("access-control-")}


@pytest.mark.parametrize("path", READABLE)
def test_a_listed_page_may_ask_and_read(guarded: GatewayProcess, path: str) -> None:
    """S58"""
    asked = {"Access_Control_Request_Headers": "authorization, content-type, x-csrf-token"}
    answer = call(
        guarded.http + path,
        method="OPTIONS",
        headers={
            "Host": NAME,
            "Origin": LISTED,
            **{k.replace("_", "-"): v for k, v in {**PREFLIGHT, **asked}.items()},
        },
    )
    assert answer.status == 200
    told = cors_of(answer)
    assert told["access-control-allow-origin"] == LISTED
    assert told["access-control-allow-credentials"] == "true"
    assert "POST" in told["access-control-allow-methods"]
    assert "*" not in "".join(told.values())

    answer = ask(guarded, path, Origin=LISTED)
    told = cors_of(answer)
    assert told["access-control-allow-origin"] == LISTED
    assert "origin" in lower(answer)["vary"].lower(), "or a cache would give it to another page"


@pytest.mark.parametrize(
    "origin",
    [
        FOREIGN,
        "null",
        LISTED + ".evil",
        LISTED + ":444",
        LISTED.upper(),
        "*",
        "https://xapp.example",
    ],
)
@pytest.mark.parametrize("path", ["/publish/room", "/login", "/me", "/sse/room", "/emulation"])
def test_no_other_page_may(guarded: GatewayProcess, origin: str, path: str) -> None:
    """S58"""
    for method in ("OPTIONS", "POST", "GET"):
        headers = {"Host": NAME, "Origin": origin, "Access-Control-Request-Method": "POST"}
        answer = call(guarded.http + path, method=method, headers=headers)
        assert cors_of(answer) == {}
        assert answer.status >= 400


def test_what_a_page_may_not_send_it_is_not_allowed(guarded: GatewayProcess) -> None:
    """S58: a server's key has no place in a browser, and pages change nothing by other verbs."""
    base = {"Host": NAME, "Origin": LISTED, "Access-Control-Request-Method": "POST"}
    for wrong in (
        {"Access-Control-Request-Headers": "x-api-key"},
        {"Access-Control-Request-Method": "TRACE"},
    ):
        answer = call(guarded.http + "/api/publish", method="OPTIONS", headers=base | wrong)
        assert answer.status == 400


def test_without_a_list_no_page_reads_what_is_not_a_stream(open_to_all: GatewayProcess) -> None:
    """S58"""
    for path in ("/publish/room", "/login", "/me"):
        for method in ("OPTIONS", "POST", "GET"):
            headers = {"Origin": FOREIGN, "Access-Control-Request-Method": "POST"}
            assert cors_of(call(open_to_all.http + path, method=method, headers=headers)) == {}


def test_no_cookie_counts_where_any_page_may_read(open_to_all: GatewayProcess) -> None:
    """S58: never anybody together with credentials."""
    cookie = {"Cookie": f"gateway_token={ADMIN}", "Origin": FOREIGN}
    answer = call(open_to_all.http + "/sse/room", headers=cookie)
    assert answer.status == 403
    headers = {"Origin": FOREIGN, "Access-Control-Request-Method": "POST"}
    answer = call(open_to_all.http + "/emulation", method="OPTIONS", headers=headers)
    told = cors_of(answer)
    assert told["access-control-allow-origin"] == FOREIGN
    assert "access-control-allow-credentials" not in told


# Under which names.


@pytest.mark.parametrize("host", [NAME, "API.EXAMPLE:8443", "eu.chat.example", NAME + "."])
def test_a_name_on_the_list_is_answered(guarded: GatewayProcess, host: str) -> None:
    """S60"""
    assert call(guarded.http + "/me", headers={"Host": host}, token=ADMIN).status == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "api.example.evil", "chat.example"])
@pytest.mark.parametrize("path", ["/me", "/publish/room", "/sse/room", "/emulation", "/", "/nope"])
def test_another_name_is_refused(guarded: GatewayProcess, host: str, path: str) -> None:
    """S60"""
    answer = call(guarded.http + path, headers={"Host": host}, token=ADMIN)
    assert_problem(answer, 400, "wrong_host")
    assert SAFE.items() <= lower(answer).items()


@pytest.mark.parametrize("hosts", ["", "Host: api.example\r\nHost: evil.example\r\n"])
def test_one_name_is_needed(guarded: GatewayProcess, hosts: str) -> None:
    """S60"""
    with RawClient(guarded.port) as client:
        client.send(f"GET /me HTTP/1.1\r\n{hosts}\r\n".encode())
        assert client.read_head().startswith(b"HTTP/1.1 400 ")


def test_balancers_need_no_name(guarded: GatewayProcess) -> None:
    for path in ("/livez", "/readyz", "/health", "/metrics"):
        assert call(guarded.http + path, headers={"Host": "10.1.2.3:8000"}).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/livez/",
        "/channels/",
        "//evil.example/",
        "//evil.example/%2e%2e",
        "/\\evil.example/",
        "/docs/",
        "/users/connected/",
        "/page/",
        "/page//evil.example/",
        "/login?next=https://evil.example",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nobody_is_sent_anywhere(open_to_all: GatewayProcess, path: str, method: str) -> None:
    """S60: no redirect, and no address of ours is made of what a request claims."""
    with RawClient(open_to_all.port) as client:
        head = f"{method} {path} HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n"
        client.send(f"{head}X-Forwarded-Host: evil.example\r\nConnection: close\r\n\r\n".encode())
        answer = client.read_head().lower()
        body = client.read_to_end().lower()
    assert b" 3" not in answer.split(b"\r\n")[0][8:10]
    assert b"\r\nlocation:" not in answer
    assert b"http://evil.example" not in body


def test_a_demo_answers_under_this_machines_names_alone(directory: Path) -> None:
    """S60: it asks for no password, and a page could make its own name point here."""
    with GatewayProcess(directory, demo=True) as gateway:
        for host in ("evil.example", "evil.example:8000", "localhost.evil.example"):
            answer = call(gateway.http + "/test-token", headers={"Host": host})
            assert_problem(answer, 400, "wrong_host")
        for host in ("localhost:8000", "127.0.0.1", "[::1]:80"):
            assert call(gateway.http + "/test-token", headers={"Host": host}).status == 200
