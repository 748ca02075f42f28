"""What is the same for every command."""

import os
import re
import subprocess
import sys

import pytest

from gateway.configuration import ConfigurationError
from gateway.domain.errors import GatewayError, NotFound, Unavailable
from tests.unit.cli.running import CANARY, SECRET, refusal, run

NOBODY_LISTENS = "mariadb://gateway:canary7531@127.0.0.1:1/gateway"

COMMANDS = [
    ["check"],
    ["token", "--sub", "alice"],
    ["explain", "a.b.c"],
    ["serve"],
    ["db", "status"],
    ["db", "upgrade"],
    ["users", "list"],
    ["users", "add", "alice"],
    ["users", "seed"],
    ["users", "logout", "alice"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_a_wrong_setting(command: list[str]) -> None:
    told = refusal(run(*command, prot=CANARY))
    assert told == "gateway: GATEWAY_PROT: no such setting; did you mean GATEWAY_PORT?"


@pytest.mark.parametrize("command", COMMANDS[4:], ids=" ".join)
def test_a_database_that_cannot_be_used_is_a_wrong_setting(command: list[str]) -> None:
    told = refusal(run(*command, database_url=f"oracle://u:{CANARY}@host/x"))
    assert told.startswith("gateway: GATEWAY_DATABASE_URL: ")
    assert CANARY not in told


@pytest.mark.parametrize("command", COMMANDS[4:], ids=" ".join)
def test_a_database_that_is_away_is_told_in_one_line(command: list[str]) -> None:
    """S51"""
    result = run(*command, database_url=NOBODY_LISTENS)
    assert os.EX_UNAVAILABLE == 69
    assert "the database" in refusal(result, 69)
    assert CANARY not in result.output


@pytest.mark.parametrize("command", COMMANDS[4:], ids=" ".join)
def test_a_database_in_memory_is_none_that_a_command_could_reach(command: list[str]) -> None:
    assert "a database in memory" in refusal(run(*command, database_url="sqlite://"))


def test_without_a_command_the_help_is_printed() -> None:
    assert "serve" in run().output


@pytest.mark.parametrize(
    "command",
    [[], ["users"], ["db"], ["users", "add"], ["db", "status"], ["explain"]],
    ids=" ".join,
)
def test_the_help_has_the_exit_codes(command: list[str]) -> None:
    told = " ".join(re.sub("[│╭╮╰╯─]", " ", run(*command, "--help").output).split())
    assert "Exit codes: 0 " in told
    assert "78 the settings cannot be used" in told


@pytest.mark.parametrize(
    ("command", "spared"),
    [
        (["version"], "sqlalchemy alembic httpx2 fastapi uvicorn redis jose passlib argon2"),
        (
            ["token", "--sub", "alice"],
            "sqlalchemy alembic httpx2 fastapi uvicorn redis passlib argon2 gateway.bench",
        ),
        (["db", "status"], "alembic httpx2 fastapi uvicorn gateway.bench"),
        (["users", "--help"], "sqlalchemy alembic httpx2 fastapi uvicorn redis jose passlib"),
    ],
    ids=["version", "token", "db status", "help"],
)
def test_a_short_command_loads_nothing_that_it_does_not_need(
    command: list[str], spared: str
) -> None:
    script = (
        "import sys\n"
        "from gateway.cli import app\n"
        "app(sys.argv[1:], standalone_mode=False)\n"
        "print(*sys.modules)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, *command],
        capture_output=True,
        text=True,
        env=dict(os.environ) | {"GATEWAY_JWT_SECRET": SECRET},
        timeout=30,
    )
    loaded = ended.stdout.splitlines()[-1].split()
    assert "gateway.cli" in loaded
    assert [name for name in spared.split() if name in loaded] == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFound("in\ntwo lines"), 1),
        (GatewayError("refused"), 1),
        (Unavailable("away"), 69),
        (ConfigurationError("wrong"), 78),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_refusal_is_one_line_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    def refuse(settings: object, read_again: object) -> None:
        raise error

    monkeypatch.setattr("gateway.server.serve", refuse)
    assert refusal(run("serve"), code) == f"gateway: {' '.join(str(error).splitlines())}"


PASSWORD = "correct horse battery"


@pytest.mark.parametrize("given", [PASSWORD, PASSWORD + "\n", PASSWORD + "\r\n"])
def test_the_end_of_its_line_is_no_part_of_a_secret(given: str) -> None:
    assert run("users", "add", "alice", "--password-stdin", stdin=given).exit_code == 0


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (b"", "on stdin there is one line"),
        (b"\n", "on stdin there is one line"),
        (b"canary7531\ncanary7531\n", "on stdin there is one line"),
        (b"canary7531" * 7000, "on stdin there is one line"),
        (b"canary7531\xff", "not written in UTF-8"),
    ],
    ids=["nothing", "empty", "two lines", "endless", "bytes"],
)
def test_stdin_holds_one_line_of_text(given: bytes, told: str) -> None:
    line = refusal(run("users", "add", "alice", "--password-stdin", stdin=given), 1)
    assert told in line
    assert CANARY not in line
