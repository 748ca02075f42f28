"""Gateways forked from a process that has loaded the program already.

A start costs two seconds of CPU, nearly all of it imports, and the tests start hundreds. What runs
afterwards is the same: a process of its own, with its own environment, files and exit code. Tests
of the command itself (unit/cli, e2e, those with several workers) start it as a user does.
"""

import io
import multiprocessing
import multiprocessing.connection
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import cast

_FORKS = multiprocessing.get_context("forkserver")
# Beside the server what it loads once it knows its settings.
_SQL = ["users", "logins", "archive", "revocation_log", "migrate"]
_FORKS.set_forkserver_preload(
    ["gateway.cli", "gateway.server", "pydantic.v1", "aiosqlite", __name__]
    + [f"gateway.adapters.sql.{module}" for module in _SQL]
)
# multiprocessing looks after all children whenever one is started, and two threads that do so
# at once can take an exit code from each other.
_one_at_a_time = threading.Lock()


def can_fork(env: Mapping[str, str]) -> bool:
    """Whether this environment makes no difference to a program that has been loaded already.

    Another clock, for one, is a library that has to be there from the start. And workers would
    begin as those of a fork.
    """
    ours = {name for name in env if name.startswith("GATEWAY_")} | {"PYTHONUNBUFFERED"}
    others_are_same = all(env[name] == os.environ.get(name) for name in env.keys() - ours)
    return others_are_same and "GATEWAY_WORKERS" not in env


class ForkedGateway:
    """``gateway ARGUMENTS``, with the methods of `subprocess.Popen` that `Process` needs."""

    def __init__(self, arguments: list[str], log: Path, env: dict[str, str]) -> None:
        self._process = _FORKS.Process(target=_run, args=(arguments, log, env))
        with _one_at_a_time:
            self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        with _one_at_a_time:
            return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        multiprocessing.connection.wait([self._process.sentinel], timeout)
        if (code := self.returncode) is None:
            raise subprocess.TimeoutExpired("gateway", timeout or 0)
        return code

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()


def _run(arguments: list[str], log: Path, env: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(env)
    os.chdir(log.parent)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    for stream in (sys.stdout, sys.stderr):
        cast(io.TextIOWrapper, stream).reconfigure(write_through=True)
    sys.argv = ["gateway", *arguments]
    from gateway.cli import main

    main()
