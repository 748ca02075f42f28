"""What the commands print: answers for people and for programs, and notes beside them."""

import json
import sys
from collections.abc import Sequence


def note(message: str) -> None:
    """Tell the operator something that is not what was asked for."""
    print(f"gateway: {printable(' '.join(message.splitlines()))}", file=sys.stderr)


def print_json(value: object) -> None:
    print(json.dumps(value, indent=2))


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns; the first row names them."""
    shown = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def printable(text: str) -> str:
    """Names are chosen by users; a terminal is sent no letter that would command it."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
