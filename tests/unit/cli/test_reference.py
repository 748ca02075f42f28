"""docs/cli.md says what the program does."""

import os
import re
import subprocess
import sys
from pathlib import Path

import typer

from gateway.cli import app
from tests.support.cli_reference import PAGE, commands, listed, reference
from tests.unit.cli.running import run

TEXT = PAGE.read_text()


def test_the_page_lists_every_command_as_the_program_has_it() -> None:
    assert listed(TEXT) == reference(), "python -m tests.support.cli_reference writes it anew"


def test_every_exit_code_that_a_help_names_is_in_the_table() -> None:
    table = TEXT.partition("## Exit codes")[2].partition("\n## ")[0]
    told = set(re.findall(r"^\| (\d+) \|", table, re.M))
    for name, command in commands(typer.main.get_command(app), ""):
        said = run(*name.split(), "--help").output
        plain = " ".join(re.sub("[│╭╮╰╯─]", " ", command.epilog or said).split())
        _, _, codes = plain.partition("Exit codes: ")
        assert set(re.findall(r"(?:^|[,;] )(\d+) ", codes)) <= told, name
    assert {"0", "1", "2", "69", "78", "130"} == told


def test_the_page_names_the_commands_that_speak_to_programs() -> None:
    told = TEXT.partition("- `--json` prints")[2].partition(" have it.")[0]
    there = {
        name.strip()
        for name, command in commands(typer.main.get_command(app), "")
        if any("--json" in parameter.opts for parameter in command.params)
    }
    assert {*re.findall(r"`([^`]+)`", told)} == there - {"listen", "bench"}


def test_a_shell_can_complete_commands() -> None:
    """What `--show-completion bash` prints asks the program itself, in this way."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("gateway"))],
        env=dict(os.environ)
        | {"_GATEWAY_COMPLETE": "complete_bash", "COMP_WORDS": "gateway li", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stdout.split() == ["listen"]


def test_the_help_is_asked_for_by_either_name() -> None:
    for command in [], ["serve"], ["users", "add"], ["db", "status"]:
        short, long = run(*command, "-h"), run(*command, "--help")
        assert (short.exit_code, short.output) == (0, long.output)


def test_what_clients_read_from_the_environment_stops_no_gateway() -> None:
    done = run("check", url="http://127.0.0.1:8000", token="a.b.c", jwt_secret="x" * 40 + "yz")
    assert "GATEWAY_URL" not in done.output
    assert "GATEWAY_TOKEN: " not in done.output
