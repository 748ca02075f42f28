"""Running a command inside the test's process."""

import json
import os
from typing import Any

from typer.testing import CliRunner, Result

from gateway.cli import app

SECRET = "a-secret-for-tests-only-0123456789-abcdefghijklmnop"
CANARY = "canary7531"


def run(*arguments: str, stdin: str | bytes | None = None, **settings: str) -> Result:
    environment = {f"GATEWAY_{name.upper()}": value for name, value in settings.items()}
    return CliRunner().invoke(app, arguments, input=stdin, env=environment)


def refusal(result: Result, code: int = os.EX_CONFIG) -> str:
    """The one line that an operator reads."""
    assert result.exit_code == code
    assert result.stdout == ""
    assert isinstance(result.exception, SystemExit)
    (line,) = result.stderr.splitlines()
    return line


def data(*arguments: str, **settings: str) -> Any:
    """What a command prints for programs."""
    result = run(*arguments, "--json", **settings)
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)
