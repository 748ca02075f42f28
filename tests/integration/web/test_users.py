"""Everybody's accounts, in the hands of administrators."""

from typing import Any
from urllib.parse import quote

import pytest

from tests.support.accounts import Person, as_admin, assert_problem, member
from tests.support.clients import Answer, call, make_token
from tests.support.servers import GatewayProcess

ADMIN = make_token("root", "admin")


def ask(gateway: GatewayProcess, path: str, method: str = "GET", **kwargs: Any) -> Answer:
    return call(gateway.http + path, method=method, token=ADMIN, **kwargs)


def test_an_administrator_sees_an_account_without_its_password(alice: Person) -> None:
    account = as_admin(alice.http, f"/users/{alice.name}", "GET")
    assert account.json.keys() == {
        "user_id",
        "username",
        "email",
        "roles",
        "disabled",
        "created_at",
    }
    assert account.json["username"] == alice.name
    assert "argon2" not in account.body.decode()
    assert as_admin(alice.http, f"/users/{alice.name.upper()}", "GET").json == account.json


def test_accounts_come_in_pages(desk: GatewayProcess) -> None:
    """S47: whose size is limited."""
    names = [member(desk.http).name for _ in range(3)]
    seen: list[str] = []
    after = 0
    while page := as_admin(desk.http, f"/users?after={after}&limit=2", "GET").json["users"]:
        assert len(page) <= 2
        seen += [user["username"] for user in page]
        after = page[-1]["user_id"]
    assert set(names) <= set(seen)
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=501", "limit=x", "limit=-1", "after=-1", "after=x", f"after={10**30}"],
)
def test_a_page_that_cannot_be_is_refused(desk: GatewayProcess, query: str) -> None:
    assert_problem(ask(desk, f"/users?{query}"), 422, "invalid_request")
    assert ask(desk, f"/users?after={2**63 - 1}").json == {"users": []}


def test_new_roles_come_with_the_next_refresh(alice: Person) -> None:
    """S13, S32"""
    changed = as_admin(alice.http, f"/users/{alice.name}/roles", "PUT", {"roles": ["publisher"]})
    assert changed.json["roles"] == ["publisher"]
    assert not alice.is_accepted()
    alice.tokens = alice.refresh().json
    assert alice.authorized("/publish/x", json_body={"data": 1}).status == 200

    as_admin(alice.http, f"/users/{alice.name}/roles", "PUT", {"roles": []})
    assert alice.authorized("/publish/x", json_body={"data": 1}).status == 401
    alice.tokens = alice.refresh().json
    assert alice.authorized("/publish/x", json_body={"data": 1}).status == 403


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"roles": None},
        {"roles": "admin"},
        {"roles": {"admin": True}},
        {"roles": [1]},
        {"roles": [None]},
        {"roles": [["admin"]]},
        {"roles": [""]},
        {"roles": ["a\nb"]},
        {"roles": ["x" * 65]},
        {"roles": ["r"] * 33},
        ["admin"],
        "admin",
    ],
)
def test_roles_are_a_list_of_names(alice: Person, desk: GatewayProcess, body: object) -> None:
    """S32"""
    answer = ask(desk, f"/users/{alice.name}/roles", "PUT", json_body=body)
    assert_problem(answer, 422, "invalid_request")
    assert alice.is_accepted()


def test_roles_that_only_look_like_admin_are_none(desk: GatewayProcess) -> None:
    """S32"""
    person = member(desk.http, "notadmin", "Admin", "admin ", "administrator")
    assert_problem(person.authorized("/users", method="GET"), 403, "denied")
    assert_problem(person.authorized("/publish/x", json_body={"data": 1}), 403, "denied")


def test_a_disabled_user_is_out_until_enabled(alice: Person) -> None:
    """S13"""
    disabled = as_admin(alice.http, f"/users/{alice.name}/disable")
    assert disabled.json["disabled"] is True
    assert not alice.is_accepted()
    assert_problem(alice.refresh(), 401, "invalid_token")
    problem = assert_problem(alice.log_in(), 403, "denied")
    assert "disabled" in problem["detail"]
    assert_problem(alice.log_in("not the password"), 401, "invalid_credentials")

    assert as_admin(alice.http, f"/users/{alice.name}/enable").json["disabled"] is False
    assert not alice.is_accepted()
    assert_problem(alice.refresh(), 401, "invalid_token")
    assert alice.log_in().status == 200
    assert alice.is_accepted()


def test_a_user_who_was_thrown_out_may_come_back(alice: Person) -> None:
    answer = as_admin(alice.http, f"/users/{alice.name.upper()}/logout")
    assert answer.json == {"message": "Logged out successfully", "everywhere": True}
    assert not alice.is_accepted()
    assert_problem(alice.refresh(), 401, "invalid_token")
    assert alice.log_in().status == 200
    assert alice.is_accepted()


def test_a_user_of_another_issuer_can_be_thrown_out(desk: GatewayProcess) -> None:
    person, token = Person(desk.http), make_token("from-elsewhere")
    assert person.is_accepted(token)
    as_admin(desk.http, "/users/from-elsewhere/logout")
    assert not person.is_accepted(token)


@pytest.mark.parametrize("name", ["a/b", "x/disable", "/", "ñandú 💬", "a?b=c#d", "100%"])
def test_no_name_puts_a_user_out_of_reach(desk: GatewayProcess, name: str) -> None:
    """Who may register under a name has to be found under it."""
    person = member(desk.http, name=f"{name}{Person('').name}{name}")
    path = "/users/" + quote(person.name, safe="")
    assert as_admin(desk.http, path, "GET").json["username"] == person.name
    as_admin(desk.http, path + "/roles", "PUT", {"roles": ["user"]})
    as_admin(desk.http, path + "/logout")
    assert as_admin(desk.http, path + "/disable").json["disabled"] is True
    assert not person.is_accepted()
    assert as_admin(desk.http, path + "/enable").json["disabled"] is False


@pytest.mark.parametrize(
    ("path", "method"),
    [("", "GET"), ("/roles", "PUT"), ("/disable", "POST"), ("/enable", "POST")],
)
@pytest.mark.parametrize("name", ["nobody-at-all", "x" * 5000, "%00", "a%0Ab", "%E2%80%8B"])
def test_who_is_not_there_is_not_found(
    desk: GatewayProcess, path: str, method: str, name: str
) -> None:
    """S48"""
    answer = ask(desk, f"/users/{name}{path}", method, json_body={"roles": []})
    assert_problem(answer, 404, "not_found")


@pytest.mark.parametrize("name", ["x" * 5000, "%00", "a%0Ab"])
def test_nobody_is_thrown_out_whom_no_token_can_name(desk: GatewayProcess, name: str) -> None:
    assert_problem(ask(desk, f"/users/{name}/logout", "POST"), 404, "not_found")
