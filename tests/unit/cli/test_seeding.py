"""Users to try things out with."""

import json
from pathlib import Path

import pytest

from gateway.core.accounts import Accounts
from gateway.domain.accounts import User
from gateway.domain.errors import Unavailable
from tests.unit.cli.running import CANARY, data, refusal, run
from tests.unit.cli.test_accounts import opens

TOML = """
[[users]]
name = "carol"
roles = ["user", "publisher"]
email = "carol@example.com"
password = "canary7531"

[[users]]
name = "dave"
"""


def names() -> list[str]:
    return [each["username"] for each in data("users", "list")]


def test_without_a_file_three_users_are_made_with_random_passwords() -> None:
    """S50"""
    head, *rows = run("users", "seed").stdout.splitlines()
    assert head.split() == ["NAME", "PASSWORD", "ROLES"]
    passwords = dict(row.split()[:2] for row in rows)
    assert list(passwords) == names() == ["johndoe", "alice", "admin"]
    assert len(set(passwords.values())) == 3
    assert all(opens(name, password) for name, password in passwords.items())
    roles = {each["username"]: each["roles"] for each in data("users", "list")}
    assert roles["admin"] == ["admin", "user"]
    assert roles["johndoe"] == ["user"]


def test_who_is_there_already_is_left_alone() -> None:
    run("users", "add", "Alice", "--password-stdin", stdin="correct horse")
    made = {each["username"]: each for each in data("users", "seed")}
    assert made["Alice"] == {"username": "Alice", "roles": [], "added": False, "password": None}
    assert made["admin"]["added"]
    assert opens("alice", "correct horse")
    assert "(was there already)" in run("users", "seed").stdout


@pytest.mark.parametrize("kind", ["toml", "json", "list"])
def test_a_file_names_other_users(tmp_path: Path, kind: str) -> None:
    users = [
        {
            "name": "carol",
            "roles": ["user", "publisher"],
            "email": "carol@example.com",
            "password": CANARY,
        },
        {"name": "dave"},
    ]
    texts = {"toml": TOML, "json": json.dumps({"users": users}), "list": json.dumps(users)}
    path = tmp_path / ("seeds.toml" if kind == "toml" else "seeds.json")
    path.write_text(texts[kind])
    result = run("users", "seed", str(path))
    assert result.exit_code == 0
    assert CANARY not in result.output
    _, carol, dave = result.stdout.splitlines()
    assert "(as in the file)" in carol
    assert opens("carol", CANARY)
    assert opens("dave", dave.split()[1])
    first, second = data("users", "list")
    assert (first["email"], first["roles"]) == ("carol@example.com", ["publisher", "user"])
    assert (second["email"], second["roles"]) == ("", [])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[users", "Expected"),
        ("users = 1", "a list of users"),
        ("", "a list of users"),
        ("x = 1\n[[users]]\nname = 'a'", "a list of users"),
        ("[[users]]\nname = 'a'\npasswrod = 'canary7531'", "user 1: passwrod: no such field"),
        ("[[users]]\nname = 7", "user 1: name, email and password are texts"),
        ("[[users]]\nname = 'a'\nroles = 'admin'", "roles a list"),
        ("[[users]]\nname = 'a'\nroles = [1]", "user 1: a role has"),
        ("[[users]]\nroles = []", "user 1: a name has"),
        ("[[users]]\nname = 'a'\n[[users]]\nname = 'b'\npassword = 'c'", "user 2: a password has"),
        ("[[users]]\nname = 'a'\nemail = '@'", "user 1: an e-mail address"),
    ],
    ids=[
        "no TOML",
        "number",
        "empty",
        "more",
        "field",
        "name",
        "text",
        "role",
        "nobody",
        "password",
        "address",
    ],
)
def test_a_wrong_file_makes_nobody(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "seeds.toml"
    path.write_text(text)
    line = refusal(run("users", "seed", str(path)), 1)
    assert line.startswith(f"gateway: {path}: ")
    assert told in line
    assert CANARY not in line
    assert names() == []


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert "No such file" in refusal(run("users", "seed", str(tmp_path / "none.toml")), 1)


def test_production_has_no_such_users_unless_they_are_forced() -> None:
    assert "have no place in production" in refusal(run("users", "seed", env="production"), 1)
    assert names() == []
    assert run("users", "seed", "--force", env="production").exit_code == 0
    assert len(names()) == 3


def test_passwords_are_printed_even_if_the_rest_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    add = Accounts.add

    async def fail_for_admin(self: Accounts, name: str, *arguments: str, **others: str) -> User:
        if name == "admin":
            raise Unavailable("the database did not answer")
        return await add(self, name, *arguments, **others)

    monkeypatch.setattr(Accounts, "add", fail_for_admin)
    result = run("users", "seed")
    assert result.exit_code == 69
    assert result.stderr == "gateway: the database did not answer\n"
    _, _, alice = result.stdout.splitlines()
    assert opens("alice", alice.split()[1])
