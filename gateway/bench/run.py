"""The command: which scenarios, against which server, and what comes out in the end."""

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.bench.attached import ATTACHED_SCENARIOS, BadOptions, attach
from gateway.bench.checker import Misdelivered
from gateway.bench.crew import hired
from gateway.bench.figures import Figure, as_json, as_table
from gateway.bench.machine import Cores, describe, pinned, raise_descriptor_limit, workers_needed
from gateway.bench.measuring import Bench
from gateway.bench.plan import FULL, QUICK, Plan
from gateway.bench.scenarios import SCENARIOS, Scenario
from gateway.bench.servers import CannotStart, Missing, laboratory
from gateway.bench.target import Target

__all__ = ["BadOptions", "Options", "run"]

_WAITED_SHARE_TOLERATED = 0.05
_WORKERS_MAX = 4


@dataclass(frozen=True, slots=True)
class Options:
    is_quick: bool = False
    sockets: int | None = None
    only: list[str] = field(default_factory=list)
    json_file: Path | None = None
    url: str = ""
    token: str = ""
    is_own_server: bool = False
    workers: int | None = None


def run(options: Options) -> int:
    """Measure, print, and return the exit code; raises `BadOptions` before anything starts.

    The code is 0 when everything was measured, however fast it was, and 1 when a server lost or
    changed something, or did not come up.
    """
    for name, value in (("--sockets", options.sockets), ("--workers", options.workers)):
        if value is not None and value < 1:
            raise BadOptions(f"{name} is at least 1")
    target = None
    if options.url:
        target = attach(options.url, options.token, is_own_server=options.is_own_server)
    scenarios = _chosen(options.only, ATTACHED_SCENARIOS if target else SCENARIOS)
    started = time.monotonic()
    machine, figures, notes, failures = _measure(options, _plan(options), scenarios, target)
    seconds = time.monotonic() - started

    print(f"\n{as_table(figures)}\n")
    for note in notes:
        print(f"note: {note}")
    print(f"measured in {seconds:.0f} s; every delivery was counted, and its bytes were compared")
    if options.json_file is not None:
        options.json_file.write_text(as_json(machine, figures, notes, failures, seconds))
    sys.stdout.flush()
    for failure in failures:
        print(f"FAILED {failure}", file=sys.stderr)
    return 1 if failures else 0


def _measure(
    options: Options, plan: Plan, scenarios: Mapping[str, Scenario], target: Target | None
) -> tuple[dict[str, str], list[Figure], list[str], list[str]]:
    cores = Cores.divide(frozenset(os.sched_getaffinity(0)))
    descriptors = raise_descriptor_limit()
    workers = options.workers or min(_WORKERS_MAX, len(cores.generator))
    figures: list[Figure] = []
    notes: list[str] = []
    failures: list[str] = []
    with laboratory(cores) as lab, pinned(cores.generator):
        machine = describe(cores, workers, lab.redis_program)
        print("\n".join(f"{name + ':':<14}{value}" for name, value in machine.items()), flush=True)
        for name, scenario in scenarios.items():
            # A scenario that fails leaves sockets behind; the next one gets a new crew.
            # The crowd is connected to two servers at the same time.
            needed = workers_needed(descriptors, 2 * plan.crowd_sockets) if name == "crowd" else 1
            hands = max(workers, needed)
            with hired(hands, cores) as crew:
                bench = Bench(lab, crew, plan, hands, descriptors, target, notes)
                bench.say(f"{name}: {scenario.__doc__ or ''}")
                try:
                    for figure in scenario(bench):  # one by one: what follows may fail
                        figures.append(figure)
                except Missing as missing:
                    notes.append(f"{name} was left out: {missing}")
                except (Misdelivered, CannotStart) as error:
                    failures.append(f"{name}: {error}")
                if bench.limited:
                    notes.append(
                        f"{name}: the generator was busy all the time, and the server could "
                        f"have done more ({'; '.join(bench.limited)})"
                    )
                if bench.waited_share_max > _WAITED_SHARE_TOLERATED:
                    notes.append(
                        f"{name}: other programs had the server's core for up to "
                        f"{bench.waited_share_max:.0%} of a run; on a quiet machine the figures "
                        "are higher and the ratios steadier"
                    )
    return machine, figures, notes, failures


def _plan(options: Options) -> Plan:
    plan = QUICK if options.is_quick else FULL
    return plan if options.sockets is None else plan.with_sockets(options.sockets)


def _chosen(only: list[str], scenarios: Mapping[str, Scenario]) -> Mapping[str, Scenario]:
    if unknown := sorted(set(only) - scenarios.keys()):
        raise BadOptions(f"--only: {unknown[0]} is none of {', '.join(scenarios)}")
    return {name: scenarios[name] for name in scenarios if not only or name in only}
