"""docs/scaling.md says what was measured, and nothing else."""

from pathlib import Path

import pytest

from bench.scaling.page import BLOCKS, filled

PAGE = Path(__file__).parents[3] / "docs" / "scaling.md"


def test_the_tables_are_those_of_the_committed_figures() -> None:
    page = PAGE.read_text()

    assert filled(page) == page, "run python -m bench.scaling.page docs/scaling.md"
    assert "**replicas**" in page
    assert "Redis CPU per message" in page


def test_what_stands_around_the_tables_is_left_alone() -> None:
    marks = [f"<!-- {name}: {end} -->" for name in BLOCKS for end in ("begin", "end")]
    page = "before\n{}\nold\n{}\nbetween\n{}\n{}\nafter\n".format(*marks)

    lines = filled(page).splitlines()

    assert lines[0] == "before"
    assert lines[-1] == "after"
    assert "between" in lines
    assert "old" not in lines


def test_a_page_without_its_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="measured: begin"):
        filled("nothing")
