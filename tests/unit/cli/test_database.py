"""The tables, from the command line."""

import os
import sqlite3
from pathlib import Path

import pytest

from gateway.adapters.sql.migrate import MigrationFailed
from tests.unit.cli.running import data, refusal, run


def test_an_upgrade_prints_its_steps_and_another_one_has_nothing_to_do() -> None:
    first = run("db", "upgrade")
    assert (first.exit_code, first.stderr) == (0, "")
    assert first.stdout.startswith("0001 ")
    assert run("db", "upgrade").stdout == "the tables are up to date\n"


def test_the_steps_may_be_read_by_a_program() -> None:
    (step, *_) = data("db", "upgrade")["applied"]
    assert step.startswith("0001 ")
    assert data("db", "upgrade") == {"applied": []}


def test_the_status_is_an_exit_code() -> None:
    pending = run("db", "status")
    assert pending.exit_code == 1
    assert pending.stdout == "the tables are missing or old; run: gateway db upgrade\n"
    assert run("db", "status", "--json").stdout == '{\n  "pending": true\n}\n'
    run("db", "upgrade")
    assert run("db", "status").stdout == "the tables are up to date\n"
    assert data("db", "status") == {"pending": False}


def test_asking_for_the_status_makes_no_file(tmp_path: Path) -> None:
    assert run("db", "status").exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_the_database_may_be_named(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    assert run("db", "upgrade", database_url=f"sqlite:///{path}").exit_code == 0
    assert [each.name for each in tmp_path.iterdir()] == ["other.db"]


def test_a_file_that_others_use_is_no_obstacle(tmp_path: Path) -> None:
    run("db", "upgrade")
    other = sqlite3.connect(tmp_path / "gateway.db")
    other.execute("BEGIN")
    other.execute("SELECT * FROM users").fetchall()
    assert run("db", "upgrade").exit_code == 0
    assert run("users", "add", "alice").exit_code == 0
    other.close()


def test_a_directory_that_is_not_there_is_a_wrong_setting(tmp_path: Path) -> None:
    told = refusal(run("db", "upgrade", database_url=f"sqlite:///{tmp_path}/none/gateway.db"))
    assert "GATEWAY_DATABASE_URL: the database file" in told
    assert os.EX_CONFIG == 78


def test_an_upgrade_that_fails_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(_: object) -> None:
        raise MigrationFailed("after nothing: the disk is full")

    monkeypatch.setattr("gateway.adapters.sql.migrate.upgrade", fail)
    told = refusal(run("db", "upgrade"), 1)
    assert told == "gateway: the upgrade failed: after nothing: the disk is full"


def test_tables_that_the_settings_leave_alone_are_not_made_on_the_way() -> None:
    result = run("users", "list", database_migrate="false")
    assert "run: gateway db upgrade" in refusal(result, 69)
    assert run("db", "status").exit_code == 1
