"""The table of docs/security.md names tests that exist, and leaves no number out."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
TABLE = (TESTS.parent / "docs" / "security.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TABLE.splitlines()
    if line.startswith("| S")
]
NUMBERS = [f"S{number:02}" for number in range(1, 61)]
PROOF = re.compile(r"`([\w/]+\.py)::(test_\w+)`")


@cache
def names_in(path: str) -> frozenset[str]:
    file = TESTS / path
    if not file.is_file():
        return frozenset()
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, kinds))
    return frozenset(node.name for node in found)


def test_every_number_has_one_row_in_order() -> None:
    assert [row[0] for row in ROWS] == NUMBERS


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_every_row_says_what_holds_and_names_tests_that_exist(row: list[str]) -> None:
    assert len(row) == 4
    _, statement, does, proof = row
    assert statement
    assert does
    named = PROOF.findall(proof)
    assert named
    assert PROOF.sub("", proof).strip(", ") == ""
    assert [f"{path}::{name}" for path, name in named if name not in names_in(path)] == []
