"""A login in a cookie, for pages of our own: hidden from scripts, and useless to other pages."""

import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.support.accounts import PASSWORD, TRUSTED, Person, assert_problem, member
from tests.support.clients import Answer, RawClient
from tests.support.servers import GatewayProcess

OWN = "http://gateway.test"
LISTED = "https://app.example"
FOREIGN = "https://elsewhere.example"
HOST = {"Host": "gateway.test"}


@pytest.fixture(scope="module", params=["native", "asgi"])
def shop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway that lists the origins of its pages."""
    settings = {"allowed_origins": LISTED, "socket_door": request.param, **TRUSTED}
    with GatewayProcess(tmp_path_factory.mktemp("shop"), **settings) as process:
        yield process


class Page:
    """A request as a browser's page makes it; ``lines`` are the cookies that were set, by name."""

    def __init__(
        self,
        person: Person,
        path: str,
        fields: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        method: str = "POST",
    ) -> None:
        all_headers = {"X-Forwarded-For": person.address, **HOST, **(headers or {})}
        body = urlencode(fields or {}).encode()
        if body:
            all_headers["Content-Type"] = "application/x-www-form-urlencoded"
        request = urllib.request.Request(person.http + path, body or None, all_headers)
        request.method = method
        try:
            response = urllib.request.urlopen(request, timeout=10)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            set_cookies = response.headers.get_all("set-cookie", [])
            self.answer = Answer(response.status, dict(response.headers), response.read())
        self.lines = {line.partition("=")[0]: line for line in set_cookies}

    @property
    def cookies(self) -> dict[str, str]:
        return {name: SimpleCookie(line)[name].value for name, line in self.lines.items()}


def log_in_with_cookie(person: Person, headers: Mapping[str, str] | None = None) -> Page:
    fields = {"username": person.name, "password": PASSWORD}
    return Page(person, "/login?cookie=1", fields, headers)


def cookie_header(cookies: Mapping[str, str]) -> dict[str, str]:
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}


@pytest.fixture
def person(shop: GatewayProcess) -> Person:
    return member(shop.http)


@pytest.fixture
def cookies(person: Person) -> dict[str, str]:
    return log_in_with_cookie(person).cookies


def socket_status(shop: GatewayProcess, headers: dict[str, str]) -> tuple[int, str]:
    """The status of the handshake, and the reason of a close that follows it at once."""
    with RawClient(shop.port) as client:
        head = client.upgrade("/ws/room", headers | HOST)
        status = int(head.split()[1])
        if status != 101:
            return status, ""
        client.socket.settimeout(0.3)
        try:
            return status, client.read_close()[1]
        except TimeoutError:
            return status, ""


def test_the_cookie_is_hidden_from_scripts_and_from_other_sites(person: Person) -> None:
    """S25"""
    page = log_in_with_cookie(person)
    assert page.answer.status == 200
    assert page.lines.keys() == {"gateway_token", "gateway_csrf"}
    for name, line in page.lines.items():
        attributes = {part.strip().lower() for part in line.split(";")[1:]}
        assert {"secure", "samesite=strict", "path=/", "max-age=900"} <= attributes
        assert ("httponly" in attributes) == (name == "gateway_token")
    assert page.cookies["gateway_token"] == page.answer.json["access_token"]
    assert page.cookies["gateway_csrf"] == page.answer.json["csrf_token"]


def test_who_does_not_ask_gets_none(person: Person) -> None:
    for query in ("", "?cookie=0", "?cookie=false"):
        page = Page(person, f"/login{query}", {"username": person.name, "password": PASSWORD})
        assert (page.answer.status, page.lines) == (200, {})
    assert_problem(person.log_in(path="/login?cookie=maybe"), 422, "invalid_request")


def test_a_refresh_renews_the_cookie(person: Person) -> None:
    page = Page(person, "/refresh?cookie=1", {"refresh_token": person.refresh_token})
    assert page.cookies["gateway_token"] == page.answer.json["access_token"]


@pytest.mark.parametrize("path", ["/login?cookie=1", "/refresh?cookie=1"])
def test_a_foreign_page_cannot_make_a_browser_log_in(person: Person, path: str) -> None:
    """S25: as somebody of its choice, who would then read what the user says."""
    fields = {
        "username": person.name,
        "password": PASSWORD,
        "refresh_token": person.refresh_token,
    }
    for origin in (FOREIGN, "null"):
        page = Page(person, path, fields, {"Origin": origin})
        assert "origin" in assert_problem(page.answer, 403, "denied")["detail"]
        assert page.lines == {}
    for origin in (LISTED, OWN):
        page = Page(person, path, fields, {"Origin": origin})
        assert page.answer.status == 200, page.answer.body


def test_a_socket_takes_the_cookie_from_our_pages(
    shop: GatewayProcess, cookies: dict[str, str]
) -> None:
    """S24, S25"""
    for origin in (LISTED, OWN):
        assert socket_status(shop, cookie_header(cookies) | {"Origin": origin}) == (101, "")


def test_a_socket_takes_no_cookie_from_others(
    shop: GatewayProcess, cookies: dict[str, str]
) -> None:
    """S23, S24: 403 for a foreign page; without an origin, the reason comes as a close frame."""
    for origin in (FOREIGN, "null", LISTED + ".evil", LISTED + ":444"):
        status, _ = socket_status(shop, cookie_header(cookies) | {"Origin": origin})
        assert status == 403, origin
    status, reason = socket_status(shop, cookie_header(cookies))
    assert status == 101
    assert reason.startswith("origin: ")


def test_http_takes_the_cookie_from_our_pages_alone(
    person: Person, cookies: dict[str, str]
) -> None:
    """S24"""
    headers = cookie_header(cookies)
    ours: list[dict[str, str]] = [
        {"Origin": LISTED},
        {"Origin": OWN},
        {"Sec-Fetch-Site": "same-origin"},
    ]
    others: list[dict[str, str]] = [
        {},
        {"Origin": FOREIGN},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ]
    for extra in ours:
        assert Page(person, "/me", None, headers | extra, "GET").answer.status == 200
    for extra in others:
        assert_problem(Page(person, "/me", None, headers | extra, "GET").answer, 403, "denied")


def test_what_changes_something_needs_the_second_half_as_well(
    person: Person, cookies: dict[str, str]
) -> None:
    """S25"""
    headers = cookie_header(cookies) | {"Origin": LISTED}
    alone = {"Cookie": f"gateway_token={cookies['gateway_token']}", "Origin": LISTED}
    for wrong in (
        headers,
        headers | {"X-CSRF-Token": ""},
        headers | {"X-CSRF-Token": "x"},
        headers | {"X-CSRF-Token": "\xf1"},
        alone,
        alone | {"X-CSRF-Token": cookies["gateway_csrf"]},
        alone | {"X-CSRF-Token": ""},
    ):
        for path in ("/ticket", "/logout", "/me/password"):
            answer = Page(person, path, None, wrong).answer
            assert "csrf" in assert_problem(answer, 403, "denied")["detail"]
    right = headers | {"X-CSRF-Token": cookies["gateway_csrf"]}
    assert Page(person, "/ticket", None, right).answer.status == 200


def test_logging_out_takes_the_cookies_back(person: Person, cookies: dict[str, str]) -> None:
    """S12, S25"""
    headers = cookie_header(cookies) | {"Origin": LISTED}
    page = Page(person, "/logout", None, headers | {"X-CSRF-Token": cookies["gateway_csrf"]})
    assert page.answer.status == 200
    assert page.lines.keys() == {"gateway_token", "gateway_csrf"}
    assert all("max-age=0" in line.lower() for line in page.lines.values())
    assert_problem(Page(person, "/me", None, headers, "GET").answer, 401, "invalid_token")
    assert person.is_accepted()


def test_without_a_list_only_our_own_page_may_use_the_cookie(directory: Path) -> None:
    """S24"""
    with GatewayProcess(directory, **TRUSTED) as gateway:
        person = member(gateway.http)
        cookies = cookie_header(log_in_with_cookie(person).cookies)
        assert socket_status(gateway, cookies | {"Origin": OWN}) == (101, "")
        for foreign in ({"Origin": FOREIGN}, {"Origin": "null"}, {}):
            _, reason = socket_status(gateway, cookies | foreign)
            assert reason.startswith("origin: ")
