"""What comes out: figures with their references, as a table for people and as JSON."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from gateway.bench.crew import Count
from gateway.bench.servers import Server


@dataclass(frozen=True, slots=True)
class Measurement:
    """One run: so many per second, and what each cost the server's processor.

    ``waited_share`` is the part of the time in which something else had the server's core, and
    ``busy_share`` the part in which the generator was at work.
    """

    per_second: float
    cpu_microseconds: float = 0.0
    waited_share: float = 0.0
    busy_share: float = 0.0


def measure(server: Server | None, run: Callable[[], Count]) -> Measurement:
    """Carry out one run; without a server of ours nothing is known of its processor time."""
    if server is None:
        count = run()
        return Measurement(count.per_second, busy_share=count.busy_share)
    used, waited = server.cpu_seconds(), server.waited_seconds()
    count = run()
    used, waited = server.cpu_seconds() - used, server.waited_seconds() - waited
    return Measurement(
        per_second=count.per_second,
        cpu_microseconds=used * 1e6 / max(count.count, 1),
        waited_share=waited / count.seconds if count.seconds else 0.0,
        busy_share=count.busy_share,
    )


@dataclass(frozen=True, slots=True)
class Figure:
    """A value, and where there is a reference, the ratio to it.

    ``ratio`` is the median of the ratios of runs that followed each other. ``ratio_min`` and
    ``value_max`` are what is aimed at; nothing fails because of them.
    """

    name: str
    title: str
    value: float
    unit: str
    reference: str = ""
    reference_value: float | None = None
    ratio: float | None = None
    ratio_min: float | None = None
    value_max: float | None = None
    runs: list[float] = field(default_factory=list)
    reference_runs: list[float] = field(default_factory=list)

    @property
    def is_reached(self) -> bool | None:
        """Whether the aim was reached; None where there is none."""
        if self.value_max is not None:
            return self.value <= self.value_max
        if self.ratio is None or self.ratio_min is None:
            return None
        return self.ratio >= self.ratio_min


def rate(
    name: str,
    title: str,
    unit: str,
    runs: Sequence[Measurement],
    reference: str = "",
    reference_runs: Sequence[Measurement] = (),
    *,
    ratio_min: float | None = None,
) -> Figure:
    """So many per second: medians of the runs, and of the ratios of neighbouring runs."""
    values = [run.per_second for run in runs]
    others = [run.per_second for run in reference_runs]
    ratios = [a / b for a, b in zip(values, others, strict=False) if b]
    return Figure(
        name=name,
        title=title,
        value=median(values),
        unit=unit,
        reference=reference if others else "",
        reference_value=median(others) if others else None,
        ratio=median(ratios) if ratios else None,
        ratio_min=ratio_min if ratios else None,
        runs=values,
        reference_runs=others,
    )


def cpu(
    name: str,
    runs: Sequence[Measurement],
    reference: str = "",
    reference_runs: Sequence[Measurement] = (),
    *,
    of: str = "delivery",
) -> Figure:
    """The server's processor time for each, in user space and in the kernel."""
    values = [run.cpu_microseconds for run in runs]
    others = [run.cpu_microseconds for run in reference_runs]
    return Figure(
        name=name,
        title=f"  server CPU per {of}",
        value=median(values),
        unit="µs",
        reference=reference if others else "",
        reference_value=median(others) if others else None,
        runs=values,
        reference_runs=others,
    )


def as_table(figures: Sequence[Figure]) -> str:
    head = ("figure", "gateway", "reference", "", "ratio", "aim")
    rows = [head, *(_row(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    left = (0, 3)  # words; the other columns hold numbers
    lines = [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "─" * max(map(len, lines)))
    return "\n".join(lines)


def as_json(
    machine: Mapping[str, str],
    figures: Sequence[Figure],
    notes: Sequence[str],
    failures: Sequence[str],
    seconds: float,
) -> str:
    value: dict[str, Any] = {
        "machine": dict(machine),
        "figures": [{**asdict(figure), "is_reached": figure.is_reached} for figure in figures],
        "notes": list(notes),
        "failures": list(failures),
        "seconds": round(seconds, 1),
    }
    return json.dumps(value, indent=2) + "\n"


def _row(figure: Figure) -> tuple[str, ...]:
    aim = ""
    if figure.value_max is not None:
        aim = f"≤ {figure.value_max:g} {figure.unit}"
    elif figure.ratio_min is not None:
        aim = f"≥ {figure.ratio_min:g} x"
    if figure.is_reached is False:
        aim += "  below" if figure.value_max is None else "  above"
    return (
        figure.title,
        f"{number(figure.value)} {figure.unit}",
        "" if figure.reference_value is None else number(figure.reference_value),
        figure.reference,
        "" if figure.ratio is None else f"{figure.ratio:.2f} x",
        aim,
    )


def number(value: float) -> str:
    """With three digits that mean something."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
