"""What the scenarios of `bench/scale_out.py` share: how much is measured, and with what."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.bench.checker import Misdelivered
from gateway.bench.servers import Lab


@dataclass(frozen=True, slots=True)
class Plan:
    replicas: tuple[int, ...] = (1, 2, 4)
    sockets_each: int = 1000  # of a replica
    outstanding: tuple[int, ...] = (1, 16)
    runs: int = 3
    warm_up_seconds: float = 0.3
    seconds: float = 1.5
    rest_seconds: float = 3.0
    subscribers: tuple[int, ...] = (0, 1, 2, 4, 8, 16, 32, 64)
    publishes: int = 3000
    restored: int = 10_000  # channels of one replica
    connects_per_second: int = 900  # below what a replica admits, where nothing is to wait
    admitted: tuple[int, ...] = (1000, 0)  # sockets per second and replica; 0: no limit
    thrown: int = 5000  # sockets of the replica that is killed
    staying: int = 1000  # sockets of each of the other two
    channels: int = 100  # that they share
    published_per_second: int = 100  # on all of these channels together
    wait_seconds_max: float = 60.0


FULL = Plan()
QUICK = Plan(
    replicas=(1, 2),
    sockets_each=20,
    runs=1,
    warm_up_seconds=0.1,
    seconds=0.3,
    rest_seconds=0.5,
    subscribers=(0, 1, 4),
    publishes=200,
    restored=100,
    admitted=(1000,),
    thrown=60,
    staying=10,
    channels=5,
    published_per_second=20,
    wait_seconds_max=20.0,
)


@dataclass
class Stage:
    lab: Lab
    plan: Plan
    notes: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def wait(self, what: str, is_so: Callable[[], bool], *, every_seconds: float = 0.05) -> None:
        """Raises `Misdelivered` when that takes too long."""
        deadline = time.monotonic() + self.plan.wait_seconds_max
        while not is_so():
            if time.monotonic() > deadline:
                raise Misdelivered(f"within {self.plan.wait_seconds_max:g} s it was not so: {what}")
            time.sleep(every_seconds)
