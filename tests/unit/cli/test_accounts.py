"""Accounts made and changed on the command line."""

import sqlite3
import stat
from pathlib import Path

import pytest

from gateway.cli.common import run as wait
from gateway.cli.wiring import opened_store
from gateway.configuration import load
from gateway.core.passwords import Passwords
from tests.unit.cli.running import data, refusal, run

PASSWORD = "correct horse battery"
DELAY = "gateway: without Redis a gateway that is running learns of this within a minute"


def add(name: str, *arguments: str, password: str = PASSWORD) -> None:
    result = run("users", "add", name, *arguments, "--password-stdin", stdin=password)
    assert (result.exit_code, result.stdout) == (0, "")


def user(name: str) -> dict[str, object]:
    (found,) = [each for each in data("users", "list") if each["username"] == name]
    assert isinstance(found, dict)
    return found


def opens(name: str, password: str) -> bool:
    """Whether the password is the right one."""

    async def verify() -> bool:
        async with opened_store(load()) as store:
            credentials = await store.users.credentials(name)
            assert credentials is not None
            with Passwords() as passwords:
                return (await passwords.verify(password, credentials.password_hash)).is_right

    return wait(verify())


def test_nobody_is_there_before_somebody_is_added() -> None:
    """S50: with nothing set there is no user, and so no password that everybody knows."""
    assert data("users", "list") == []
    assert run("users", "list").stdout.split() == ["NAME", "ROLES", "E-MAIL", "CREATED"]


def test_a_password_that_is_made_up_is_printed_once() -> None:
    """S50"""
    result = run("users", "add", "alice", "--role", "admin", "--role", "user")
    (password,) = result.stdout.splitlines()
    assert len(password) == 26
    assert result.stderr == "gateway: added alice (roles: admin, user)\n"
    assert opens("alice", password)
    assert not opens("alice", password[:-1])
    assert run("users", "add", "bob").stdout.strip() != password


def test_a_password_from_stdin_is_not_printed() -> None:
    result = run(
        "users", "add", "alice", "--email", "a@example.com", "--password-stdin", stdin=PASSWORD
    )
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "gateway: added alice (roles: none)\n"
    assert opens("alice", PASSWORD)
    assert user("alice")["email"] == "a@example.com"


def test_the_database_keeps_no_password_and_is_readable_for_its_owner_alone(
    tmp_path: Path,
) -> None:
    add("alice")
    path = tmp_path / "gateway.db"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert PASSWORD.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["ALICE"], "this name is taken"),
        (["bob", "--email", "a@example.com"], "this e-mail address is taken"),
        (["bob", "--email", "nowhere"], "an e-mail address looks like"),
        (["bob", "--role", "a\nb"], "a role has 1 to 64 characters"),
        ([""], "a name has 1 to 150 characters"),
    ],
    ids=["name", "address", "no address", "role", "nobody"],
)
def test_what_cannot_be_added_is_refused_in_one_line(arguments: list[str], told: str) -> None:
    add("alice", "--email", "a@example.com")
    assert told in refusal(run("users", "add", *arguments), 1)
    assert [each["username"] for each in data("users", "list")] == ["alice"]


def test_a_password_that_is_too_short_is_refused() -> None:
    result = run("users", "add", "alice", "--password-stdin", stdin="short")
    assert "a password has 8 to 1024 characters" in refusal(result, 1)


def test_the_list_shows_who_is_there_and_nothing_of_their_passwords() -> None:
    add("alice", "--role", "user")
    add("bob")
    run("users", "disable", "bob")
    _, alice, bob = run("users", "list").stdout.splitlines()
    assert alice.split()[:3] == ["alice", "user", "-"]
    assert bob.split()[0] == "bob"
    assert bob.split()[-1] == "disabled"
    assert set(data("users", "list")[0]) == {
        "user_id",
        "username",
        "email",
        "roles",
        "disabled",
        "created_at",
    }


def test_the_list_goes_on_after_its_first_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.cli.accounts._PAGE", 2)
    names = ["a1", "a2", "a3", "a4", "a5"]
    for name in names:
        add(name)
    assert [each["username"] for each in data("users", "list")] == names


@pytest.mark.parametrize(
    ("arguments", "roles"),
    [
        (["publisher"], ["publisher"]),
        (["publisher", "admin"], ["admin", "publisher"]),
        (["--add", "admin"], ["admin", "user"]),
        (["--remove", "user"], []),
        (["--add", "admin", "--add", "publisher", "--remove", "user"], ["admin", "publisher"]),
    ],
    ids=" ".join,
)
def test_roles_are_replaced_or_changed(arguments: list[str], roles: list[str]) -> None:
    add("alice", "--role", "user")
    result = run("users", "role", "alice", *arguments)
    described = f"gateway: alice (roles: {', '.join(roles) or 'none'})"
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.splitlines() == [described, DELAY]
    assert user("alice")["roles"] == roles


@pytest.mark.parametrize("arguments", [[], ["admin", "--add", "user"]], ids=["none", "both"])
def test_roles_are_replaced_or_changed_and_not_both(arguments: list[str]) -> None:
    add("alice")
    assert run("users", "role", "alice", *arguments).exit_code == 2


def test_a_disabled_user_can_be_enabled_again() -> None:
    add("alice")
    disabled = run("users", "disable", "Alice")
    assert disabled.stderr.splitlines() == ["gateway: alice (disabled, roles: none)", DELAY]
    assert user("alice")["disabled"] is True
    enabled = run("users", "enable", "alice")
    assert enabled.stderr.splitlines() == ["gateway: alice (roles: none)"]
    assert user("alice")["disabled"] is False


def test_a_new_password_takes_the_place_of_the_old_one() -> None:
    add("alice")
    result = run("users", "password", "alice")
    (password,) = result.stdout.splitlines()
    assert opens("alice", password)
    assert not opens("alice", PASSWORD)
    given = run("users", "password", "alice", "--password-stdin", stdin="another horse\n")
    assert (given.exit_code, given.stdout) == (0, "")
    assert opens("alice", "another horse")


def test_a_logout_tells_users_without_an_account_apart() -> None:
    add("alice")
    here, elsewhere = run("users", "logout", "alice"), run("users", "logout", "alcie")
    assert here.stderr.splitlines() == ["gateway: alice is logged out", DELAY]
    told = "gateway: alcie has no account here; the tokens that others gave are revoked"
    assert elsewhere.stderr.splitlines() == [told, DELAY]


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["disable"], "disabled"),
        (["password"], "password"),
        (["role", "--add", "admin"], "roles"),
        (["logout"], "admin"),
    ],
    ids=["disable", "password", "role", "logout"],
)
def test_what_takes_something_away_is_a_revocation_in_the_database(
    tmp_path: Path, command: list[str], reason: str
) -> None:
    add("alice")
    first, *rest = command
    assert run("users", first, "alice", *rest).exit_code == 0
    with sqlite3.connect(tmp_path / "gateway.db") as database:
        rows = list(database.execute("SELECT kind, subject, reason FROM revocations"))
    database.close()
    assert rows == [("user", "alice", reason)]


@pytest.mark.parametrize("command", ["disable", "enable", "password", "role"])
def test_nobody_cannot_be_changed(command: str) -> None:
    roles = ["admin"] if command == "role" else []
    assert refusal(run("users", command, "nobody", *roles), 1) == "gateway: there is no such user"


def test_while_redis_is_away_the_change_holds_and_the_delay_is_told() -> None:
    add("alice")
    away = {"redis_url": "redis://127.0.0.1:1/0"}
    result = run("users", "disable", "alice", **away)
    assert result.exit_code == 0
    told, _ = result.stderr.splitlines()
    assert told.startswith("gateway: other replicas learn of a revocation later: Redis")
    assert user("alice")["disabled"] is True
