"""Making an account and using it."""

from pathlib import Path

import pytest

from tests.support.accounts import PASSWORD, Person, as_admin, assert_problem, member
from tests.support.clients import call, make_token
from tests.support.servers import GatewayProcess


def test_an_account_is_made_and_says_its_number(desk: GatewayProcess) -> None:
    person = Person(desk.http)
    answer = person.register(email=f"{person.name}@example.com")
    assert answer.status == 201, answer.body
    assert list(answer.json) == ["message", "user_id"]
    assert answer.json["message"] == "User registered successfully"
    assert type(answer.json["user_id"]) is int
    person.log_in()
    assert person.authorized("/me", method="GET").json["user_id"] == answer.json["user_id"]


def test_a_form_registers_as_json_does(desk: GatewayProcess) -> None:
    person = Person(desk.http)
    answer = person.call("/register", form={"username": person.name, "password": PASSWORD})
    assert answer.status == 201
    assert person.log_in().status == 200


def test_a_name_and_an_address_are_taken_once(desk: GatewayProcess) -> None:
    """S29"""
    person = Person(desk.http)
    email = f"{person.name}@example.com"
    assert person.register(email=email).status == 201
    for name in (person.name, person.name.upper(), person.name + "\u200b"):
        assert_problem(person.register(username=name), 409, "conflict")
    other = Person(desk.http)
    assert_problem(other.register(email=email.upper()), 409, "conflict")


@pytest.mark.parametrize(
    "fields",
    [
        {"role": "admin"},
        {"roles": ["admin"]},
        {"is_admin": True},
        {"is_disabled": False},
        {"id": 1},
        {"user_id": 1},
        {"tokens_valid_from": 0},
        {"password_hash": "x"},
        {"grants": {}},
        {"a\nb": 1},
        {"__class__": "x"},
    ],
)
def test_nobody_gives_oneself_what_was_not_asked_for(
    desk: GatewayProcess, fields: dict[str, object]
) -> None:
    """S49"""
    person = Person(desk.http)
    assert_problem(person.register(**fields), 422, "invalid_request")
    assert person.log_in().status == 401


def test_roles_are_those_that_the_operator_chose(alice: Person) -> None:
    """S32, S49"""
    assert alice.authorized("/me", method="GET").json["roles"] == ["user"]
    for path, method in (("/users", "GET"), ("/users/connected", "GET")):
        assert_problem(alice.authorized(path, method=method), 403, "denied")
    denied = alice.authorized("/publish/x", json_body={"data": 1})
    assert "role" in assert_problem(denied, 403, "denied")["detail"]


def test_a_user_sees_the_own_account(desk: GatewayProcess) -> None:
    person = Person(desk.http)
    person.register(email="somebody@example.com")
    person.log_in()
    me = person.authorized("/me", method="GET").json
    assert me.keys() == {
        "user_id",
        "username",
        "email",
        "roles",
        "disabled",
        "created_at",
        "grants",
        "expires_at",
    }
    assert (me["username"], me["email"]) == (person.name, "somebody@example.com")


def test_a_token_for_somebody_without_an_account_is_good_enough(desk: GatewayProcess) -> None:
    token = make_token("machine", "publisher")
    me = call(desk.http + "/me", token=token).json
    assert (me["username"], me["roles"]) == ("machine", ["publisher"])
    assert "user_id" not in me
    protected = call(desk.http + "/protected", token=token).json
    assert protected["user_id"] is None


def test_the_protected_endpoint_answers_to_a_valid_token_alone(alice: Person) -> None:
    answer = alice.authorized("/protected", method="GET")
    assert answer.json == {
        "message": "This is a protected endpoint",
        "user_id": alice.authorized("/me", method="GET").json["user_id"],
        "data": "Secret data only for authenticated users",
    }
    for token in (None, "x", alice.refresh_token, make_token("a", ttl=1)[:-2] + "xx"):
        answer = alice.call("/protected", method="GET", token=token)
        assert_problem(answer, 401, "invalid_token")
        assert answer.headers["www-authenticate"] == "Bearer"


def test_a_changed_password_ends_the_other_logins(alice: Person) -> None:
    """S13"""
    other = Person(alice.http, alice.name)
    other.log_in()
    fields = {"old_password": PASSWORD, "new_password": "a new password of mine"}

    assert alice.authorized("/me/password", json_body=fields).status == 200

    assert alice.is_accepted()
    assert alice.refresh().status == 200
    assert not other.is_accepted()
    assert alice.log_in().status == 401
    assert alice.log_in("a new password of mine").status == 200


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"old_password": "wrong", "new_password": "long enough"}, 401, "invalid_credentials"),
        ({"old_password": PASSWORD, "new_password": "short"}, 422, "invalid_request"),
        ({"old_password": PASSWORD}, 422, "invalid_request"),
        ({"old_password": PASSWORD, "new_password": None}, 422, "invalid_request"),
        ({"old_password": [PASSWORD], "new_password": "long enough"}, 422, "invalid_request"),
        ({}, 422, "invalid_request"),
    ],
)
def test_a_password_is_not_changed_by_accident(
    alice: Person, fields: dict[str, object], status: int, code: str
) -> None:
    assert_problem(alice.authorized("/me/password", json_body=fields), status, code)
    assert alice.is_accepted()
    assert alice.log_in().status == 200


def test_without_a_login_no_password_is_changed(alice: Person) -> None:
    fields = {"old_password": PASSWORD, "new_password": "long enough"}
    assert_problem(alice.call("/me/password", json_body=fields), 401, "invalid_token")


def test_making_accounts_is_limited_by_address(desk: GatewayProcess) -> None:
    """S28"""
    address = Person(desk.http).address
    answers = [Person(desk.http, address=address).register(password="short") for _ in range(40)]
    assert_problem(answers[0], 422, "invalid_request")
    assert_problem(answers[-1], 429, "limit_reached")
    assert int(answers[-1].headers["retry-after"]) >= 1


def test_an_address_is_believed_from_our_own_proxy_only(directory: Path) -> None:
    """S29"""
    with GatewayProcess(directory) as gateway:
        answers = [Person(gateway.http).register(password="short") for _ in range(40)]
    assert answers[-1].status == 429


def test_where_registration_is_off_the_operator_makes_the_accounts(directory: Path) -> None:
    with GatewayProcess(directory, registration="false") as gateway:
        problem = assert_problem(Person(gateway.http).register(), 403, "denied")
        assert "administrator" in problem["detail"]


def test_the_roles_of_new_accounts_are_a_setting(directory: Path) -> None:
    with GatewayProcess(directory, registration_roles="publisher,user") as gateway:
        person = member(gateway.http)
        assert person.authorized("/me", method="GET").json["roles"] == ["publisher", "user"]
        assert person.authorized("/publish/x", json_body={"data": 1}).status == 200


def test_nobody_reads_or_changes_the_account_of_another(
    alice: Person, desk: GatewayProcess
) -> None:
    """S48"""
    bob = member(desk.http)
    for path, method in (
        (f"/users/{bob.name}", "GET"),
        (f"/users/{alice.name}", "GET"),
        (f"/users/{bob.name}/roles", "PUT"),
        (f"/users/{bob.name}/disable", "POST"),
        (f"/users/{bob.name}/enable", "POST"),
        (f"/users/{bob.name}/logout", "POST"),
        ("/users/nobody-at-all", "GET"),
    ):
        answer = alice.authorized(path, method=method, json_body={"roles": ["admin"]})
        assert "role" in assert_problem(answer, 403, "denied")["detail"]
        assert_problem(alice.call(path, method=method), 401, "invalid_token")
    assert bob.is_accepted()


def test_there_is_no_account_that_nobody_made(directory: Path) -> None:
    """S50: no default administrator, with no default password."""
    with GatewayProcess(directory) as gateway:
        assert as_admin(gateway.http, "/users", "GET").json == {"users": []}
        for name in ("admin", "root", "user", "administrator"):
            for password in ("admin", "password", "secret", ""):
                answer = Person(gateway.http, name).log_in(password)
                assert answer.status in (401, 429)
