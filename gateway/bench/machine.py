"""The machine: who runs on which core, how many sockets fit, and what to call it."""

import contextlib
import os
import platform
import resource
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from gateway import __version__

_DESCRIPTORS_KEPT = 300  # for everything else that a process opens


@dataclass(frozen=True, slots=True)
class Cores:
    """The server has one core; generator and Redis have all the others."""

    server: frozenset[int]
    generator: frozenset[int]

    @classmethod
    def divide(cls, available: frozenset[int]) -> "Cores":
        first = frozenset([min(available)])
        return cls(first, available - first or first)

    @property
    def are_apart(self) -> bool:
        return not self.server & self.generator

    def __str__(self) -> str:
        if not self.are_apart:
            return "one core for everything: the generator takes its time from the server"
        return (
            f"server on core {_list(self.server)}, generator and Redis on {_list(self.generator)}"
        )


@contextlib.contextmanager
def pinned(cores: frozenset[int]) -> Iterator[None]:
    """Processes that are started inside the block stay on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def with_package_path(env: dict[str, str]) -> dict[str, str]:
    """The environment of a Python process that finds this package wherever it is started."""
    path = [str(Path(__file__).parents[2]), *env.get("PYTHONPATH", "").split(os.pathsep)]
    return env | {"PYTHONPATH": os.pathsep.join(filter(None, path))}


def raise_descriptor_limit() -> int:
    """Raise the soft limit to the hard one, also for all children; return the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = 1 << 20
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def sockets_that_fit(descriptors: int, workers: int, servers: int) -> int:
    """How many sockets to each of so many servers fit at the same time."""
    room = descriptors - _DESCRIPTORS_KEPT
    return max(1, min(room, room * workers // servers, _ports() - 1000))


def workers_needed(descriptors: int, sockets: int) -> int:
    """How many processes of the generator it takes to hold so many sockets."""
    return -(-sockets // (descriptors - _DESCRIPTORS_KEPT))


def describe(cores: Cores, workers: int, redis_server: str | None) -> dict[str, str]:
    """What the figures depend on, in words."""
    return {
        "cpu": _cpu_name(),
        "cores": f"{len(cores.server | cores.generator)}; {cores}",
        "generator": f"{workers} process" + ("es" if workers > 1 else ""),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "gateway": __version__,
        **{
            name: version(name) for name in ("uvicorn", "fastapi", "websockets", "redis", "hiredis")
        },
        "redis-server": _redis_version(redis_server) if redis_server else "not installed",
        "load": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def _cpu_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("model name", "Hardware"):
                return value.strip()
    return platform.machine()


def _redis_version(program: str) -> str:
    text = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    return text.partition("v=")[2].partition(" ")[0]


def _ports() -> int:
    """How many connections one address may have to one other."""
    try:
        text = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
    except OSError:
        return 28_000
    first, last = map(int, text.split())
    return last - first + 1


def _list(cores: frozenset[int]) -> str:
    return ", ".join(map(str, sorted(cores)))
