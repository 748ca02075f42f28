"""A redis-server that can be killed and started again, and asked what it has spent."""

import contextlib
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self, cast

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from gateway.bench.servers import CannotStart, Missing, Server
from gateway.bench.target import Kind, RedisAddress, Target

HOST = "127.0.0.1"
_START_SECONDS_MAX = 20.0


class RedisProcess:
    """On one port for its whole life; what was stored outlives a kill, as in deploy/redis."""

    def __init__(self) -> None:
        program = shutil.which("redis-server")
        if program is None:
            raise Missing("redis-server is not installed")
        self._program = program
        self.address = RedisAddress(_free_port(), secrets.token_hex(16))
        self._directory = tempfile.TemporaryDirectory(prefix="gateway-scale-redis-")
        self._server: Server | None = None
        self.client = Redis(
            host=HOST,
            port=self.address.port,
            password=self.address.password,
            socket_timeout=10,
            retry=Retry(NoBackoff(), 0),
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        if self._server is not None:
            self._server.stop()
        self._directory.cleanup()

    def start(self) -> None:
        """Return when it takes commands."""
        server = self.begin()
        deadline = time.monotonic() + _START_SECONDS_MAX
        while not self._answers():
            if server.process.poll() is not None or time.monotonic() > deadline:
                raise CannotStart(f"redis-server did not start:\n{server.log}")
            time.sleep(0.005)

    def begin(self) -> Server:
        """Do not wait for it: it lets in who subscribes while it still loads its data."""
        directory = Path(self._directory.name)
        log = directory / "redis.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [self._program, "-"], stdin=subprocess.PIPE, stdout=output, cwd=directory
            )
        # Over its standard input, because everybody can read a command line.
        with cast(Any, process.stdin) as pipe:
            pipe.write(self._config().encode())
        self._server = Server(process, Target(Kind.GATEWAY, HOST, self.address.port, ""), log)
        return self._server

    def kill(self) -> None:
        assert self._server is not None
        self._server.process.kill()
        self._server.process.wait()

    def cpu_seconds(self) -> float:
        """By its own account, which is finer than the kernel's ticks."""
        info = self.info("cpu")
        return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])

    def proc_cpu_seconds(self) -> float:
        """By the kernel's account."""
        assert self._server is not None
        return self._server.cpu_seconds()

    def info(self, section: str) -> Mapping[str, Any]:
        return cast(Mapping[str, Any], self.client.info(section))

    def calls(self, *commands: str) -> int:
        """How often these were executed since the start, in transactions and scripts, too."""
        return sum(int(found["calls"]) for found in self._statistics(commands))

    def command_seconds(self, *commands: str) -> float:
        """What executing them took, without reading them and writing the answers."""
        return sum(float(found["usec"]) for found in self._statistics(commands)) / 1e6

    def _statistics(self, commands: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
        statistics = self.info("commandstats")
        for command in commands:
            yield statistics.get(f"cmdstat_{command}", {"calls": 0, "usec": 0})

    def _answers(self) -> bool:
        with contextlib.suppress(RedisError, OSError):
            return bool(self.client.ping())
        return False

    def _config(self) -> str:
        return (
            f"port {self.address.port}\nbind {HOST}\nrequirepass {self.address.password}\n"
            'save ""\nappendonly yes\nappendfsync everysec\nauto-aof-rewrite-percentage 0\n'
            f"maxclients 1000\ndir {self._directory.name}\n"
            "client-output-buffer-limit pubsub 0 0 0\n"
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
