"""The servers that are measured, started on a core of their own and stopped at the end."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from gateway.bench.machine import Cores, pinned, with_package_path
from gateway.bench.stream import Stream, delivered
from gateway.bench.target import Kind, RedisAddress, Target

HOST = "127.0.0.1"
CHANNEL = "bench"
REFERENCES = Path(__file__).parents[2] / "bench"

_START_SECONDS_MAX = 20.0
_IDLE_SECONDS_MAX = 20.0
# Longer than any measurement: a ping in the middle of one would be noise.
_PING_SECONDS = 300
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class CannotStart(Exception):
    """A server that is needed is not there or did not come up; the text says why."""


class Missing(CannotStart):
    """Something that this machine does not have; what does not need it can be measured."""


class Server:
    """A process that is measured."""

    def __init__(self, process: "subprocess.Popen[bytes]", target: Target, log: Path) -> None:
        self.process = process
        self.target = target
        self._log = log

    @property
    def address(self) -> tuple[str, int]:
        return self.target.host, self.target.port

    def cpu_seconds(self) -> float:
        """What it has used so far, in the kernel's time as well as in its own."""
        # The name in parentheses may contain anything, spaces and parentheses included.
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND

    def waited_seconds(self) -> float:
        """How long it was ready to run and something else had its core."""
        return int(self._proc("schedstat").split()[1]) / 1e9

    def resident_kilobytes(self) -> int:
        for line in self._proc("status").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise CannotStart(f"{self.target.kind} has ended:\n{self.log}")

    def wait_idle(self) -> None:
        """Return when it has nothing to do anymore, as after many sockets came or went."""
        deadline = time.monotonic() + _IDLE_SECONDS_MAX
        while time.monotonic() < deadline:
            before = self.cpu_seconds()
            time.sleep(0.2)
            if self.cpu_seconds() - before <= 0.02:
                return

    def wait_ready(self, is_ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _START_SECONDS_MAX
        while not is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise CannotStart(f"{self.target.kind} did not start:\n{self.log}")
            time.sleep(0.02)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")[-3000:]

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _proc(self, name: str) -> str:
        return Path(f"/proc/{self.process.pid}/{name}").read_text()


class Lab:
    """Starts servers; each method is a context manager, and its block is the server's life."""

    def __init__(self, cores: Cores, directory: Path) -> None:
        self.cores = cores
        self.secret = secrets.token_urlsafe(48)
        self.redis_program = shutil.which("redis-server")
        self.compiler = shutil.which("cc")
        self._directory = directory
        self._started = 0

    @contextlib.contextmanager
    def redis(self) -> Iterator[RedisAddress]:
        if self.redis_program is None:
            raise Missing("redis-server is not installed")
        address = RedisAddress(_free_port(), secrets.token_hex(16))
        # Over its standard input, because everybody can read a command line.
        config = (
            f"port {address.port}\nbind {HOST}\nrequirepass {address.password}\n"
            f'save ""\nappendonly no\ndir {self._directory}\n'
            "client-output-buffer-limit pubsub 0 0 0\n"
        )
        target = Target(Kind.GATEWAY, HOST, address.port, "")
        with (
            pinned(self.cores.generator),
            self._running([self.redis_program, "-"], target, stdin=config) as server,
        ):
            server.wait_ready(lambda: _accepts(address.port))
            yield address

    @contextlib.contextmanager
    def gateway(self, redis: RedisAddress | None, *, admitted: int = 0) -> Iterator[Server]:
        """``admitted``: how many sockets it lets in per second; 0 is all that it can."""
        settings = {
            "ENV": "test",
            "JWT_SECRET": self.secret,
            "LOG_LEVEL": "warning",
            "PING_INTERVAL_SECONDS": str(_PING_SECONDS),
            "HANDSHAKES_PER_SECOND_MAX": str(admitted),
        }
        if redis is not None:
            settings["REDIS_URL"] = redis.url
        env = {name: value for name, value in os.environ.items() if not _is_setting(name)}
        env |= {f"GATEWAY_{name}": value for name, value in settings.items()}
        target = Target(Kind.GATEWAY, HOST, _free_port(), CHANNEL, secret=self.secret, redis=redis)
        command = [sys.executable, "-m", "gateway", "serve", "--port", str(target.port)]
        with self._measured(command, target, env) as server:
            server.wait_ready(lambda: _answers(f"http://{HOST}:{target.port}/readyz"))
            yield server

    @contextlib.contextmanager
    def seed(self, redis: RedisAddress) -> Iterator[Server]:
        env = dict(os.environ)
        env |= {"BENCH_JWT_SECRET": self.secret, "BENCH_REDIS_URL": redis.url}
        target = Target(Kind.SEED, HOST, _free_port(), CHANNEL, secret=self.secret, redis=redis)
        pings = ["--ws-ping-interval", str(_PING_SECONDS)]
        with self._uvicorn("seed_server", target, env, *pings) as server:
            yield server

    @contextlib.contextmanager
    def empty(self) -> Iterator[Server]:
        target = Target(Kind.SEED, HOST, _free_port(), CHANNEL)
        with self._uvicorn("empty_server", target, dict(os.environ)) as server:
            yield server

    @contextlib.contextmanager
    def send_loop(self) -> Iterator[Server]:
        stream = Stream(delivered(CHANNEL))
        ring = self._directory / "ring"
        ring.write_bytes(b"".join(stream.frames))
        command = [*self._send_loop_program(), str(ring), str(stream.frame_bytes)]
        waiting = Target(Kind.LOOP, HOST, 0, CHANNEL)
        with self._measured(command, waiting, dict(os.environ), stdout=True) as server:
            ports = cast(BinaryIO, server.process.stdout).readline().split()
            if len(ports) != 2:
                raise CannotStart(f"the send() loop did not start:\n{server.log}")
            receivers, control = map(int, ports)
            server.target = Target(Kind.LOOP, HOST, receivers, CHANNEL, control_port=control)
            yield server

    @property
    def send_loop_name(self) -> str:
        return "C send() loop" if self.compiler else "Python os.write() loop (no C compiler)"

    def _send_loop_program(self) -> list[str]:
        if self.compiler is None:
            return [sys.executable, str(_reference("send_loop.py"))]
        program = self._directory / "send_loop"
        command = [self.compiler, "-O2", "-o", str(program), str(_reference("send_loop.c"))]
        compiled = subprocess.run(command, capture_output=True, text=True)
        if compiled.returncode:
            raise CannotStart(f"send_loop.c was not compiled:\n{compiled.stderr[-2000:]}")
        return [str(program)]

    @contextlib.contextmanager
    def _uvicorn(
        self, module: str, target: Target, env: dict[str, str], *options: str
    ) -> Iterator[Server]:
        directory = str(_reference(f"{module}.py").parent)
        command = [sys.executable, "-m", "uvicorn", "--app-dir", directory, f"{module}:app"]
        command += ["--host", HOST, "--port", str(target.port), "--no-access-log"]
        # The gateway's own event loop; uvicorn would take another one where it is installed.
        command += ["--loop", "asyncio", "--log-level", "warning", *options]
        with self._measured(command, target, env) as server:
            server.wait_ready(lambda: _accepts(target.port))
            yield server

    @contextlib.contextmanager
    def _measured(
        self, command: Sequence[str], target: Target, env: dict[str, str], *, stdout: bool = False
    ) -> Iterator[Server]:
        with contextlib.ExitStack() as stack:
            with pinned(self.cores.server):
                running = self._running(command, target, env=env, stdout=stdout)
                server = stack.enter_context(running)
            yield server

    @contextlib.contextmanager
    def _running(
        self,
        command: Sequence[str],
        target: Target,
        *,
        env: dict[str, str] | None = None,
        stdin: str = "",
        stdout: bool = False,
    ) -> Iterator[Server]:
        self._started += 1
        log = self._directory / f"server-{self._started}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if stdout else output,
                stderr=output,
                cwd=self._directory,  # where no .env file is
                env=None if env is None else with_package_path(env),
            )
        server = Server(process, target, log)
        try:
            with cast(BinaryIO, process.stdin) as pipe:
                pipe.write(stdin.encode())
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def laboratory(cores: Cores) -> Iterator[Lab]:
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as directory:
        yield Lab(cores, Path(directory))


def _reference(name: str) -> Path:
    path = REFERENCES / name
    if not path.is_file():
        raise Missing(f"{path} is missing: the references are part of a source checkout")
    return path


def _is_setting(name: str) -> bool:
    return name.upper().startswith("GATEWAY_")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _accepts(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=1):
            return True
    except OSError:
        return False


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False
