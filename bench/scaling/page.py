"""The tables of docs/scaling.md, made of what was measured and committed.

Each stands between two marks, and nothing else of the page is touched.

    python -m bench.scaling.page docs/scaling.md
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import sizing
from gateway.bench.figures import number

_NAMES = {
    "cpu": "processor",
    "cores": "cores",
    "generator": "generator",
    "python": "Python",
    "redis-server": "redis-server",
    "other programs": "other programs",
}


def filled(page: str) -> str:
    """The page with new tables; raises `ValueError` where a mark is missing."""
    for name, block in BLOCKS.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        if page.count(begin) != 1 or page.count(end) != 1:
            raise ValueError(f"the page needs {begin} and {end}, once each")
        before, _, rest = page.partition(begin)
        page = f"{before}{begin}\n{block()}\n{end}{rest.partition(end)[2]}"
    return page


def measured() -> str:
    report = _scale_out()
    machine: Mapping[str, str] = report["machine"]
    facts = [f"{words}: {machine[name]}" for name, words in _NAMES.items() if name in machine]
    lines = [f"{'; '.join(facts)}.", ""]
    lines += [f"{note}." for note in report["notes"]]
    lines += ["", "| figure | measured |", "|---|---:|"]
    lines += [f"| {_title(figure)} | {_value(figure)} |" for figure in _of_interest(report)]
    return "\n".join(lines)


def sized() -> str:
    cases = sizing.cases_of(sizing.Assumed(), sizing.SOCKETS, sizing.SOCKETS_PER_CHANNEL)
    return f"{sizing.assumptions(sizing.Assumed())}\n\n{sizing.table(sizing.load(), cases)}"


BLOCKS: Mapping[str, Callable[[], str]] = {"measured": measured, "sizing": sized}


def _scale_out() -> dict[str, Any]:
    report: dict[str, Any] = json.loads(sizing.SCALE_OUT.read_text())
    return report


def _of_interest(report: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """All but what only says how far the generator was from its own limit."""
    return [each for each in report["figures"] if not each["name"].endswith("-generator")]


def _title(figure: Mapping[str, Any]) -> str:
    """What belongs to the figure above is set in from it."""
    title = str(figure["title"])
    words = title.lstrip()
    return "&nbsp;" * (len(title) - len(words)) + words


def _value(figure: Mapping[str, Any]) -> str:
    return f"{number(figure['value'])} {figure['unit']}".rstrip()


def main() -> None:
    page = Path(sys.argv[1])
    page.write_text(filled(page.read_text()))


if __name__ == "__main__":
    main()
