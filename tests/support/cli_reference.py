"""The commands of the program as docs/cli.md lists them.

`python -m tests.support.cli_reference` writes them there anew.
"""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import typer

from gateway.cli import app

PAGE = Path(__file__).parents[2] / "docs/cli.md"
BEGIN, END = "<!-- written by tests/support/cli_reference.py -->\n", "<!-- until here -->\n"


def reference() -> str:
    """Every command with its arguments, options and words, in Markdown."""
    return "\n".join(_sections(typer.main.get_command(app), "gateway"))


def listed(page: str) -> str:
    """What stands between the marks of the page."""
    return page.partition(BEGIN)[2].partition(END)[0]


def commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def _sections(group: Any, path: str) -> Iterator[str]:
    for name, command in commands(group, path):
        with command.make_context(name, [], resilient_parsing=True) as context:
            usage = command.get_usage(context).removeprefix("Usage: ")
        yield f"### {name}\n\n    {' '.join(usage.split())}\n\n{_words(command.help)}\n"
        rows = [row for row in map(_row, command.params) if row]
        if rows:
            yield "| | |\n|---|---|\n" + "\n".join(rows) + "\n"


def _row(parameter: Any) -> str:
    said = _words(parameter.help or "")
    if parameter.param_type_name == "argument":
        return f"| `{parameter.name}` | {said} |"
    names = "/".join((*parameter.opts, *parameter.secondary_opts))
    choices = parameter.type_descriptor.annotation
    is_choice = isinstance(choices, type) and issubclass(choices, StrEnum)
    kind = "" if parameter.is_flag else " " + ("\\|".join(choices) if is_choice else "…")
    from_environment = f" `{parameter.envvar}`" if parameter.envvar else ""
    return f"| `{names}{kind}` | {said}{from_environment} |"


def _words(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    page = PAGE.read_text()
    head, _, rest = page.partition(BEGIN)
    PAGE.write_text(head + BEGIN + reference() + END + rest.partition(END)[2])
