"""Whatever a body holds, the answer is a problem in words, and never a 500."""

import json
import unicodedata
from typing import Any

import pytest

from tests.support.accounts import PASSWORD, Person, assert_problem
from tests.support.clients import RawClient, make_token
from tests.support.servers import GatewayProcess

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}
DOORS = ["/register", "/login", "/token", "/refresh", "/token/refresh"]

CREDENTIALS: list[dict[str, Any]] = [
    {},
    {"username": "alice"},
    {"password": PASSWORD},
    {"username": None, "password": PASSWORD},
    {"username": "alice", "password": None},
    {"username": 1, "password": PASSWORD},
    {"username": "alice", "password": 12345678},
    {"username": ["alice"], "password": PASSWORD},
    {"username": "alice", "password": [PASSWORD]},
    {"username": {"$ne": ""}, "password": {"$ne": ""}},
    {"username": True, "password": False},
    {"username": "x" * 5000, "password": PASSWORD},
    {"username": "alice", "password": "x" * 5000},
]


@pytest.mark.parametrize("path", ["/register", "/login", "/token"])
@pytest.mark.parametrize("fields", CREDENTIALS, ids=lambda fields: json.dumps(fields)[:40])
def test_credentials_are_two_texts(desk: GatewayProcess, path: str, fields: dict[str, Any]) -> None:
    """S31"""
    answer = Person(desk.http).call(path, json_body=fields)
    problem = assert_problem(answer, 422, "invalid_request")
    assert problem["detail"].startswith(("username:", "password:"))


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"username": "a\0b"}, "control"),
        ({"username": "a\nb"}, "control"),
        ({"username": "a\u2028b"}, "control"),
        ({"username": ""}, "1 to 150"),
        ({"username": "x" * 151}, "1 to 150"),
        ({"username": " a "}, "blank"),
        ({"username": "\u200b\u200d"}, "visible"),
        ({"password": "1234567"}, "8 to 1024"),
        ({"password": "x" * 1025}, "8 to 1024"),
        ({"password": "eight or more\0"}, "NUL"),
        ({"email": "nobody"}, "e-mail"),
        ({"email": "a@b@c"}, "e-mail"),
        ({"email": "a@b\n.c"}, "e-mail"),
        ({"email": "x" * 250 + "@example.com"}, "e-mail"),
        ({"email": 1}, "email"),
    ],
    ids=str,
)
def test_what_an_account_cannot_have_is_named(
    desk: GatewayProcess, fields: dict[str, Any], word: str
) -> None:
    """S31, S37"""
    problem = assert_problem(Person(desk.http).register(**fields), 422, "invalid_request")
    assert word in problem["detail"]


@pytest.mark.parametrize("password", ["a\0b", "x" * 4000, "\U0010ffff" * 1000, "", " "])
def test_a_password_that_nobody_can_have_is_a_wrong_one(alice: Person, password: str) -> None:
    """S31"""
    assert_problem(alice.log_in(password), 401, "invalid_credentials")


def test_a_password_and_a_name_are_the_same_in_every_spelling(desk: GatewayProcess) -> None:
    """S29, S31: keyboards differ in how they write an accent."""
    person = Person(desk.http, f"ren\u00e9e-{Person('').name}")
    assert person.register(password="caf\u00e9 au lait").status == 201
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        name = unicodedata.normalize(form, person.name)
        password = unicodedata.normalize(form, "caf\u00e9 au lait")
        body = {"username": name, "password": password}
        assert person.call("/login", json_body=body).status == 200
        assert person.call("/login", form=body).status == 200
    assert person.log_in("cafe au lait").status == 401


@pytest.mark.parametrize("path", DOORS)
@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"{", JSON),
        (b"[]", JSON),
        (b'"text"', JSON),
        (b"null", JSON),
        (b"{}x", JSON),
        (b"[" * 10_000, JSON),
        (b'{"a":' * 2000 + b"1" + b"}" * 2000, JSON),
        (b'{"username": NaN}', JSON),
        (b'{"username": "\\ud800", "password": "12345678"}', JSON),
        (b'{"username": "\xff"}', JSON),
        (b"\x1f\x8b\x08\x00", JSON),
        (b"\xff=\xff", FORM),
        (b"username=%ff&password=%ff", FORM),
        (b"username=%ed%a0%80&password=12345678", FORM),
        (b"username=a&username=b&password=12345678", FORM),
        (b"refresh_token=a&refresh_token=b", FORM),
        (b"&".join(b"f%d=1" % n for n in range(100)), FORM),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_body_that_cannot_be_read_is_refused(
    desk: GatewayProcess, path: str, body: bytes, headers: dict[str, str]
) -> None:
    """S20, S31, S42"""
    answer = Person(desk.http).call(path, body=body, headers=headers)
    assert_problem(answer, 422, "invalid_request")


@pytest.mark.parametrize("path", DOORS)
@pytest.mark.parametrize("kind", ["", "text/plain", "multipart/form-data; boundary=x", "a/b", "/"])
def test_a_body_in_another_form_is_refused_with_the_forms_that_are_read(
    desk: GatewayProcess, path: str, kind: str
) -> None:
    answer = Person(desk.http).call(path, body=b"username=a", headers={"Content-Type": kind})
    problem = assert_problem(answer, 415, "unsupported_media_type")
    assert "application/json" in problem["detail"]
    assert "application/x-www-form-urlencoded" in problem["detail"]


@pytest.mark.parametrize("path", [*DOORS, "/me/password", "/authz/explain", "/users/a/roles"])
def test_a_huge_body_is_refused_before_it_is_read(desk: GatewayProcess, path: str) -> None:
    """S39"""
    body = json.dumps({"username": "a", "password": "x" * 20_000}).encode()
    token = make_token("root", "admin")
    method = "PUT" if path.endswith("/roles") else "POST"
    answer = Person(desk.http).call(path, body=body, headers=JSON, token=token, method=method)
    assert_problem(answer, 413, "too_big")


def test_a_length_that_only_claims_to_be_huge_takes_no_memory(desk: GatewayProcess) -> None:
    """S39: chunks are counted as they come."""
    with RawClient(desk.port) as client:
        client.send(
            b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for _ in range(20):
            client.send(b"400\r\n" + b" " * 1024 + b"\r\n")
        assert b" 413 " in client.read_head().splitlines()[0]


def test_of_a_field_that_json_has_twice_one_counts(desk: GatewayProcess) -> None:
    """S49: and it is the one that is checked, too."""
    person = Person(desk.http)
    body = f'{{"username": "{person.name}", "password": "short", "password": "{PASSWORD}"}}'
    assert person.call("/register", body=body.encode(), headers=JSON).status == 201
    assert person.log_in().status == 200


def test_fields_that_a_login_does_not_know_change_nothing(alice: Person) -> None:
    """S49"""
    body = {"username": alice.name, "password": PASSWORD, "role": "admin", "roles": ["admin"]}
    answer = alice.call("/login", json_body=body)
    assert answer.status == 200
    me = alice.call("/me", method="GET", token=answer.json["access_token"]).json
    assert me["roles"] == ["user"]
