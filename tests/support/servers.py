"""Real processes for tests: each on a free loopback port, each ended by its own id."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn, Self

import pytest

from tests.support.forking import ForkedGateway, can_fork

START_SECONDS = 45.0  # three replicas at once on a machine that is busy take half of it
SECRET = "a-secret-for-tests-only-0123456789-abcdefghijklmnop"
REDIS_PASSWORD = "redis-password-for-tests"


def required(program: str) -> str:
    """The path of a program; without it the test is skipped, and under CI it fails."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if path is None:
        missing(program, "'make tools' installs it on Debian")
    return path


def missing(program: str, remedy: str) -> NoReturn:
    """Skip the test that needs the program; under CI, fail it."""
    message = f"{program} is not installed; {remedy}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition: object, what: str, seconds: float = START_SECONDS) -> None:
    """Poll a callable until it is true; fail with what was waited for."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if callable(condition) and condition():
            return
        time.sleep(0.02)
    pytest.fail(f"not within {seconds} s: {what}")


class Process:
    """A server process with a log file; stopped when the block ends."""

    def __init__(self, command: list[str], log: Path, env: dict[str, str] | None = None) -> None:
        self._command = command
        self._log = log
        self._env = env
        self._process: subprocess.Popen[bytes] | ForkedGateway | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def start(self) -> None:
        self._process = self._launch()

    def _launch(self) -> "subprocess.Popen[bytes] | ForkedGateway":
        with self._log.open("ab") as log:
            return subprocess.Popen(
                self._command, stdout=log, stderr=log, env=self._env, cwd=self._log.parent
            )

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def wait_ready(self, is_ready: object, what: str) -> None:
        def done() -> bool:
            if not self.is_running():
                pytest.fail(f"{what} ended while starting:\n{self.log}")
            return callable(is_ready) and bool(is_ready())

        wait_until(done, f"{what} is ready; its log:\n{self.log}")

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def terminate(self, seconds: float = 15.0) -> int:
        """Ask it to end and return its exit code; kill it where it does not."""
        assert self._process is not None
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGCONT)
            self._process.terminate()
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
                pytest.fail(f"{self._command[0]} did not stop within {seconds} s:\n{self.log}")
        assert self._process.returncode is not None
        return self._process.returncode

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.terminate()


class RedisServer(Process):
    """A real redis-server with a password."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.port = free_port()
        self.url = f"redis://:{REDIS_PASSWORD}@127.0.0.1:{self.port}/0"
        command = [required("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--dir", str(directory)]
        if "--aclfile" not in options:
            command += ["--requirepass", REDIS_PASSWORD]
        command += options or ("--save", "", "--appendonly", "no")
        super().__init__(command, directory / f"redis-{self.port}.log")

    def start(self) -> None:
        super().start()
        self.wait_ready(lambda: _accepts(self.port), "redis-server")


class GatewayProcess(Process):
    """One replica: the same program as a user starts, see `forking` for how it is started."""

    def __init__(self, directory: Path, **settings: object) -> None:
        self.port = free_port()
        host = settings.get("host", "127.0.0.1")
        self.http = f"http://{host}:{self.port}"
        self.ws = f"ws://{host}:{self.port}"
        command = [sys.executable, "-m", "gateway", "serve", "--port", str(self.port)]
        super().__init__(
            command, directory / f"gateway-{self.port}.log", gateway_environment(**settings)
        )

    def _launch(self) -> "subprocess.Popen[bytes] | ForkedGateway":
        is_plain = self._command[:3] == [sys.executable, "-m", "gateway"]
        if self._env is None or not is_plain or not can_fork(self._env):
            return super()._launch()
        return ForkedGateway(self._command[3:], self._log, self._env)

    def start(self) -> None:
        super().start()
        self.wait_ready(lambda: status_of(self.http + "/readyz") == 200, "gateway")


def gateway_environment(**settings: object) -> dict[str, str]:
    """The environment of a gateway process: ours without its settings, then these."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    env |= {"GATEWAY_ENV": "test", "GATEWAY_JWT_SECRET": SECRET, "PYTHONUNBUFFERED": "1"}
    given = {name: value for name, value in settings.items() if value is not None}
    return env | {f"GATEWAY_{name.upper()}": str(value) for name, value in given.items()}


def status_of(url: str) -> int:
    """The HTTP status that a URL answers, 0 when nobody does."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


@contextlib.contextmanager
def replicas(directory: Path, count: int, **settings: object) -> Iterator[list[GatewayProcess]]:
    """Several replicas that share their settings, started side by side."""
    with contextlib.ExitStack() as stack:
        started = [GatewayProcess(directory, **settings) for _ in range(count)]
        for replica in started:
            Process.start(replica)
            stack.callback(replica.__exit__)
        for replica in started:
            replica.wait_ready(
                lambda replica=replica: status_of(replica.http + "/readyz") == 200, "gateway"
            )
        yield started


def _accepts(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
