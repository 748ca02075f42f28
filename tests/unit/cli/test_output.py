"""What a command prints can be read by those whom it is for."""

import json

import pytest

from gateway.cli.output import note, print_json, print_table, printable


def test_no_name_commands_the_terminal() -> None:
    assert printable("a\x1b[2J\u202eé字") == "a\\x1b[2J\\u202eé字"


def test_columns_stand_below_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([("NAME", "ROLES"), ("alice", "admin, user"), ("b\x07", "")])
    assert capsys.readouterr().out == "NAME   ROLES\nalice  admin, user\nb\\x07\n"


def test_a_note_is_one_line_beside_what_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    note("two\nlines\x1b")
    assert capsys.readouterr() == ("", "gateway: two lines\\x1b\n")


def test_a_program_reads_what_a_person_can(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"users": ["bob"]})
    shown = capsys.readouterr().out
    assert json.loads(shown) == {"users": ["bob"]}
    assert shown.count("\n") == 5
