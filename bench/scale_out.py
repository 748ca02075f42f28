"""How the gateway scales out, measured on this machine: python -m bench.scale_out

One redis-server, several replicas, and the load generator of `gateway bench`, for about three
minutes. Nothing is pinned to a core: all of them share what the machine has. So totals say more
about the machine, and what a delivery or a message costs carries over to others.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from bench.scaling.handover import handover
from bench.scaling.publish_cost import publish_cost
from bench.scaling.restoring import restoring
from bench.scaling.spread import spread
from bench.scaling.stage import FULL, QUICK, Plan, Stage
from gateway.bench.checker import Misdelivered
from gateway.bench.figures import Figure, as_json, as_table
from gateway.bench.machine import Cores, describe, raise_descriptor_limit
from gateway.bench.servers import CannotStart, laboratory

Scenario = Callable[[Stage], Iterator[Figure]]

SCENARIOS: Mapping[str, Scenario] = {
    "spread": spread,
    "publish-cost": publish_cost,
    "restoring": restoring,
    "handover": handover,
}
_SOCKETS_PER_PROCESS = 11_000  # listeners, and some room


def run(plan: Plan, names: list[str], notes: list[str], json_file: Path | None) -> int:
    """Measure and print; the exit code is 1 when something was lost, or did not start."""
    started = time.monotonic()
    cores = frozenset(os.sched_getaffinity(0))
    figures: list[Figure] = []
    failures: list[str] = []
    if raise_descriptor_limit() < _SOCKETS_PER_PROCESS and plan is FULL:
        print(f"it needs {_SOCKETS_PER_PROCESS:,} file descriptors: ulimit -n", file=sys.stderr)
        return 1
    with laboratory(Cores(cores, cores)) as lab:
        machine = describe(lab.cores, max(plan.replicas), lab.redis_program)
        machine["cores"] = f"{len(cores)}, shared by replicas, Redis and generator; nothing pinned"
        machine["generator"] = "a process for each replica; 2 processes with returning listeners"
        machine["other programs"] = f"load {machine.pop('load')} before the start"
        print("\n".join(f"{name + ':':<16}{value}" for name, value in machine.items()), flush=True)
        stage = Stage(lab, plan)
        stage.notes += [_limits(len(cores)), *notes]
        for name in names:
            stage.say(f"{name}: {SCENARIOS[name].__doc__}")
            try:
                for figure in SCENARIOS[name](stage):  # one by one: what follows may fail
                    figures.append(figure)
            except (Misdelivered, CannotStart, OSError) as error:
                failures.append(f"{name}: {error}")
    seconds = time.monotonic() - started
    print(f"\n{as_table(figures)}\n")
    for note in stage.notes:
        print(f"note: {note}")
    print(f"measured in {seconds:.0f} s; every message was counted, and its position compared")
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(as_json(machine, figures, stage.notes, failures, seconds))
    for failure in failures:
        print(f"FAILED {failure}", file=sys.stderr)
    return 1 if failures else 0


def _limits(cores: int) -> str:
    return (
        f"{cores} cores for everything: from as many busy processes on, more replicas share the "
        "same time, so the total of deliveries cannot rise any more; the costs are what carries "
        "over to a machine, or to many, with more cores"
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=SCENARIOS, help="may be repeated")
    parser.add_argument("--quick", action="store_true", help="tiny numbers, to see that it works")
    parser.add_argument("--note", action="append", help="what else ran; stands in the results")
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    plan = QUICK if given.quick else FULL
    return run(plan, given.only or list(SCENARIOS), given.note or [], given.json)


if __name__ == "__main__":
    sys.exit(main())
