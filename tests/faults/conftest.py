"""Runs the fault tests side by side, each in a process of its own.

Most of their time they wait: for a time-out, for the end of an outage. One after the other they
would take minutes. Those marked `busy` fill a core, so they wait for each other. A test that is
run alone, and `make faults`, whose figures are to be of an undisturbed machine, do without this.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.support.results import is_full

_HERE = Path(__file__).parent
_CHILD = "FAULTS_CHILD"  # set for a process that runs one of them
_BUSY_AT_ONCE, _OTHERS_AT_ONCE = 1, 2
_SECONDS_MAX = 150
_ENDING_SECONDS = 20

Done = tuple[int, str]


class Children:
    """Starts each test when there is room for it; the first question for a result begins it."""

    def __init__(self) -> None:
        self._pools = {
            True: ThreadPoolExecutor(_BUSY_AT_ONCE),
            False: ThreadPoolExecutor(_OTHERS_AT_ONCE),
        }
        self._results: dict[str, Future[Done]] = {}
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self.items: list[Elsewhere] = []

    def result(self, item: "Elsewhere") -> Done:
        if not self._results:
            for each in self.items:
                self._results[each.nodeid] = self._pools[each.is_busy].submit(
                    self._run, each.nodeid
                )
        return self._results[item.nodeid].result()

    def _run(self, nodeid: str) -> Done:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", nodeid]
        process = subprocess.Popen(
            command,
            cwd=_HERE.parents[1],
            env={**os.environ, _CHILD: "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        with self._lock:
            self._running.add(process)
        try:
            output, _ = process.communicate(timeout=_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            output = f"not within {_SECONDS_MAX} s\n{_interrupt(process)}"
        finally:
            with self._lock:
                self._running.discard(process)
        return process.returncode, output

    def close(self) -> None:
        """End what still runs, as Ctrl-C would, so that its servers end, too."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            running = tuple(self._running)
        for process in running:
            process.send_signal(signal.SIGINT)
        for pool in self._pools.values():
            pool.shutdown(wait=True)


def _interrupt(process: subprocess.Popen[str]) -> str:
    process.send_signal(signal.SIGINT)
    try:
        return process.communicate(timeout=_ENDING_SECONDS)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()[0]


class Elsewhere(pytest.Item):
    """Stands in the list for a test that runs in another process."""

    is_busy: bool
    children: Children

    def runtest(self) -> None:
        code, output = self.children.result(self)
        if code != 0:
            raise AssertionError(f"in a process of its own it ended with {code}:\n{output}")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> str:  # type: ignore[override]
        return str(excinfo.value)


_CHILDREN = pytest.StashKey[Children]()


@pytest.hookimpl(trylast=True)  # after those that take tests away
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    ours = [item for item in items if _starts_servers(item)]
    is_parallel = _CHILD in os.environ or "PYTEST_XDIST_WORKER" in os.environ
    if len(ours) < 2 or is_parallel or is_full() or config.option.collectonly:
        return
    children = config.stash[_CHILDREN] = Children()
    for item in ours:
        assert item.parent is not None
        stand_in = Elsewhere.from_parent(item.parent, name=item.name)
        stand_in.is_busy = item.get_closest_marker("busy") is not None
        stand_in.children = children
        # It waits for those before it, too.
        stand_in.add_marker(pytest.mark.timeout(_SECONDS_MAX + _ENDING_SECONDS))
        children.items.append(stand_in)
        items[items.index(item)] = stand_in


def _starts_servers(item: pytest.Item) -> bool:
    return item.path.is_relative_to(_HERE) and "directory" in getattr(item, "fixturenames", ())


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    if children := session.config.stash.get(_CHILDREN, None):
        children.close()
    yield
