"""What fault tests measure: a line of JSON each, and the table of docs/reliability.md made of it.

python -m tests.faults.support.results
"""

import json
import os
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[3]
_PAGE = _ROOT / "docs" / "reliability.md"
_BEGIN, _END = "<!-- results: begin -->", "<!-- results: end -->"
_COLUMNS = (
    "ok", "fail", "unknown", "delivered", "announced", "lost", "duplicates", "disorder",
)  # fmt: skip


def is_full() -> bool:
    """Whether `make faults` runs, with the durations that the promises are about."""
    return bool(os.environ.get("FAULTS_FULL"))


def seconds(short: float, full: float) -> float:
    """How long a fault lasts in every CI run, and under `make faults`."""
    return full if is_full() else short


def record(fault: str, title: str, figures: Mapping[str, int], **measured: float | str) -> None:
    """Append what a test has measured; call it after the verdict was found to be clean."""
    line = {
        "fault": fault,
        "title": title,
        "time": round(time.time()),
        "full": is_full(),
        **figures,
        "measured": measured,
    }
    with _file().open("a") as file:
        file.write(json.dumps(line) + "\n")


def _file() -> Path:
    directory = Path(os.environ.get("FAULTS_RESULTS") or _ROOT / "build" / "faults")
    directory.mkdir(parents=True, exist_ok=True)
    return directory / "results.jsonl"


def table(lines: Iterable[Mapping[str, Any]]) -> str:
    """The newest result of each fault at its full length, else the newest; in their order."""
    by_worth = sorted(lines, key=lambda line: (line["full"], line["time"]))
    newest = {line["fault"]: line for line in by_worth}
    head = (
        "| | fault | acked | refused | unknown | delivered | announced | lost | twice | disorder "
        "| measured |"
    )
    rows = [head, "|" + "---|" * (head.count("|") - 1)]
    for fault in sorted(newest):
        line = newest[fault]
        counts = " | ".join(f"{line.get(column, 0):,}" for column in _COLUMNS)
        measured = "; ".join(f"{_words(name)} {value}" for name, value in line["measured"].items())
        rows.append(f"| {fault} | {line['title']} | {counts} | {measured} |")
    return "\n".join(rows)


def _words(name: str) -> str:
    """``recovery_seconds`` as a person reads it; the unit stands last in the name."""
    for unit, short in (("_seconds", " (s)"), ("_ms", " (ms)"), ("_mb", " (MB)")):
        if name.endswith(unit):
            name = name.removesuffix(unit) + short
    return name.replace("_", " ")


def main() -> None:
    file = _file()
    if not file.exists():
        sys.exit("there are no results yet; `make faults` makes some")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    page = _PAGE.read_text()
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        sys.exit(f"{_PAGE.name} has no place for the results")
    _PAGE.write_text(f"{before}{begin}\n{table(lines)}\n{end}{after}")


if __name__ == "__main__":
    main()
