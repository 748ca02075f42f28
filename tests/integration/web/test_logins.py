"""Logging in, refreshing and logging out over HTTP, in every form that clients know."""

import base64
import http.client
import json
from typing import Any

import pytest

from tests.support.accounts import PASSWORD, Person, assert_problem, member
from tests.support.clients import Answer, call, make_token
from tests.support.servers import GatewayProcess

FIELDS = ["access_token", "refresh_token", "token_type", "expires_in", "message"]


def claims_of(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return claims


def assert_tokens(answer: Answer, token_type: str, message: str) -> None:
    assert answer.status == 200, answer.body
    body = answer.json
    assert list(body) == FIELDS
    assert (body["token_type"], body["expires_in"], body["message"]) == (token_type, 900, message)
    assert answer.headers["cache-control"] == "no-store"
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("kind", ["json_body", "form"])
def test_a_login_comes_as_json_or_as_a_form(alice: Person, kind: str) -> None:
    given: dict[str, Any] = {kind: {"username": alice.name, "password": PASSWORD}}
    answer = alice.call("/login", **given)
    assert_tokens(answer, "Bearer", "Login successful")
    assert alice.is_accepted(answer.json["access_token"])


def test_the_token_says_who_and_with_which_roles(desk: GatewayProcess) -> None:
    admin = member(desk.http, "admin")
    claims = claims_of(admin.access_token)
    assert (claims["sub"], claims["role"]) == (admin.name, "admin")
    assert claims["exp"] - claims["iat"] == 900
    assert {"iss", "aud", "jti", "sid"} <= claims.keys()


def test_oauth2_clients_log_in_with_their_form(alice: Person) -> None:
    fields = {"username": alice.name, "password": PASSWORD}
    for extra in (
        {},
        {"grant_type": "password", "scope": "", "client_id": "", "client_secret": ""},
    ):
        assert_tokens(alice.call("/token", form=fields | extra), "bearer", "Login successful")
    refreshed = alice.call(
        "/token", form={"grant_type": "refresh_token", "refresh_token": alice.refresh_token}
    )
    assert_tokens(refreshed, "bearer", "Token refreshed successfully")
    other = alice.call("/token", form=fields | {"grant_type": "client_credentials"})
    assert_problem(other, 422, "invalid_request")


def test_swagger_knows_where_to_log_in_and_what_needs_it(desk: GatewayProcess) -> None:
    document = call(desk.http + "/openapi.json").json
    (name, scheme), *others = document["components"]["securitySchemes"].items()
    assert [other for other, _ in others] == ["ApiKey"]  # for the server API
    assert scheme["type"] == "oauth2"
    assert scheme["flows"]["password"]["tokenUrl"] == "token"
    for path, method in (
        ("/me", "get"),
        ("/protected", "get"),
        ("/logout", "post"),
        ("/ticket", "post"),
        ("/users", "get"),
        ("/users/{name}", "get"),
        ("/users/{name}/disable", "post"),
        ("/authz/explain", "post"),
    ):
        assert name in document["paths"][path][method]["security"][0], path
    for path in ("/login", "/token", "/register"):
        operation = document["paths"][path]["post"]
        form = operation["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]
        assert {"username", "password"} <= set(form["required"])
        assert form["properties"]["password"]["format"] == "password"


@pytest.mark.parametrize("path", ["/refresh", "/token/refresh"])
@pytest.mark.parametrize("place", ["json_body", "form", "token"])
def test_a_refresh_token_comes_in_three_places(alice: Person, path: str, place: str) -> None:
    token = alice.refresh_token
    given: dict[str, Any] = {place: token if place == "token" else {"refresh_token": token}}
    answer = alice.call(path, **given)
    assert_tokens(answer, "Bearer", "Token refreshed successfully")
    assert answer.json["refresh_token"] != token
    assert alice.is_accepted(answer.json["access_token"])


def test_a_repeated_refresh_has_the_same_answer_for_a_while(alice: Person) -> None:
    """S16"""
    answers = [alice.refresh().json["refresh_token"] for _ in range(3)]
    assert len(set(answers)) == 1


def test_an_old_refresh_token_ends_the_login(alice: Person) -> None:
    """S15"""
    first = alice.refresh_token
    second = alice.refresh(first).json
    third = alice.refresh(second["refresh_token"]).json
    problem = assert_problem(alice.refresh(first), 401, "invalid_token")
    assert "used before" in problem["detail"]
    assert_problem(alice.refresh(third["refresh_token"]), 401, "invalid_token")
    for tokens in (alice.tokens, second, third):
        assert not alice.is_accepted(tokens["access_token"])
    assert alice.log_in().status == 200


@pytest.mark.parametrize("path", ["/refresh", "/token/refresh"])
def test_without_a_usable_refresh_token_there_is_no_new_one(alice: Person, path: str) -> None:
    """S01, S06"""
    places: list[dict[str, Any]] = [
        {},
        {"json_body": {}},
        {"json_body": {"refresh_token": ""}},
        {"json_body": {"refresh_token": "a.b.c"}},
        {"json_body": {"refresh_token": alice.access_token}},
        {"token": alice.access_token},
        {"headers": {"Authorization": "Basic YTpi"}},
    ]
    for given in places:
        answer = alice.call(path, **given)
        assert_problem(answer, 401, "invalid_token")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert_problem(alice.call(path, json_body={"refresh_token": 1}), 422, "invalid_request")


def test_a_refresh_token_opens_nothing(alice: Person) -> None:
    """S06"""
    for path, method in (("/me", "GET"), ("/protected", "GET"), ("/ticket", "POST")):
        answer = alice.call(path, method=method, token=alice.refresh_token)
        assert_problem(answer, 401, "invalid_token")


def test_an_unknown_user_and_a_wrong_password_look_the_same(alice: Person) -> None:
    """S27"""
    stranger = Person(alice.http)
    answers = [
        stranger.log_in("not the password"),
        alice.log_in("not the password"),
        alice.call("/token", form={"username": alice.name, "password": "not the password"}),
    ]
    for answer in answers:
        problem = assert_problem(answer, 401, "invalid_credentials")
        assert problem["detail"] == "Incorrect username or password"
        told = [{**answer.json, "request_id": "of each its own"} for answer in answers]
    assert told[0] == told[1] == told[2]
    assert len({tuple(sorted({*answer.headers} - {"date"})) for answer in answers}) == 1


def test_logging_out_ends_this_login_alone(alice: Person) -> None:
    """S12"""
    other = Person(alice.http, alice.name)
    other.log_in()

    answer = alice.authorized("/logout")

    assert answer.json == {"message": "Logged out successfully"}
    assert not alice.is_accepted()
    assert_problem(alice.refresh(), 401, "invalid_token")
    assert_problem(alice.authorized("/logout"), 401, "invalid_token")
    assert other.is_accepted()
    assert other.refresh().status == 200


def test_logging_out_everywhere_ends_all_logins(alice: Person) -> None:
    """S12"""
    other = Person(alice.http, alice.name)
    other.log_in()
    assert alice.authorized("/logout?all=true").status == 200
    for person in (alice, other):
        assert not person.is_accepted()
        assert_problem(person.refresh(), 401, "invalid_token")
    assert alice.log_in().status == 200
    assert alice.is_accepted()
    assert_problem(alice.authorized("/logout?all=maybe"), 422, "invalid_request")
    assert alice.is_accepted()


def test_a_token_that_no_login_gave_can_be_logged_out(desk: GatewayProcess) -> None:
    """S04: by its jti, however it is spelled afterwards."""
    person = Person(desk.http)
    one, two = make_token("machine"), make_token("machine")
    assert person.call("/logout", token=one).status == 200
    assert not person.is_accepted(one)
    assert not person.is_accepted(one + "=")
    assert person.is_accepted(two)


def test_two_authorization_headers_are_refused(alice: Person) -> None:
    """S20"""
    connection = http.client.HTTPConnection(alice.http.removeprefix("http://"))
    try:
        connection.putrequest("GET", "/me")
        for _ in range(2):
            connection.putheader("Authorization", f"Bearer {alice.access_token}")
        connection.endheaders()
        response = connection.getresponse()
        assert (response.status, json.loads(response.read())["code"]) == (422, "invalid_request")
    finally:
        connection.close()


def test_over_the_limit_a_login_says_when_to_come_back(alice: Person) -> None:
    """S28"""
    stranger = Person(alice.http, alice.name)
    answers = [stranger.log_in("a guess") for _ in range(11)]
    assert {answer.status for answer in answers[:10]} == {401}
    assert_problem(answers[10], 429, "limit_reached")
    assert 1 <= int(answers[10].headers["retry-after"]) <= 60
    # From where the user has logged in before, the right password still counts.
    assert alice.log_in().status == 200


def test_an_address_may_not_try_one_name_after_the_other(desk: GatewayProcess) -> None:
    """S28"""
    address = Person(desk.http).address
    for _ in range(29):
        assert Person(desk.http, address=address).log_in("a guess").status == 401
    spent = [Person(desk.http, address=address).log_in("a guess") for _ in range(10)]
    assert_problem(spent[-1], 429, "limit_reached")
    assert Person(desk.http).log_in("a guess").status == 401


@pytest.mark.parametrize("spelling", [str.upper, lambda name: name + "\u200b"])
def test_a_spelling_is_no_way_around_the_limit(alice: Person, spelling: Any) -> None:
    """S29"""
    for _ in range(10):
        assert Person(alice.http, spelling(alice.name)).log_in("a guess").status == 401
    assert_problem(Person(alice.http, alice.name).log_in("a guess"), 429, "limit_reached")
