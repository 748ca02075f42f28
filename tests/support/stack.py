"""The services of docker-compose.yml, started with a real Docker engine under a name of their own.

The engine is the one that the environment names (DOCKER_HOST, or the default socket). Everything
is removed at the end.
"""

import asyncio
import contextlib
import json
import os
import secrets
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

from tests.support.clients import call, listen, receive_json
from tests.support.prometheus import PrometheusApi
from tests.support.servers import free_port, required, status_of, wait_until

ROOT = Path(__file__).parents[2]
REPLICAS = 3
START_SECONDS = 60.0


class Stack:
    """The services of docker-compose.yml under a project name of their own."""

    def __init__(self) -> None:
        self.project = f"gateway-test-{secrets.token_hex(4)}"
        self.port = free_port()
        self.http = f"http://127.0.0.1:{self.port}"
        self.ws = f"ws://127.0.0.1:{self.port}"
        self.tokens: list[str] = []
        self.output_of_up = ""
        self.first_users = ""
        self._env = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("GATEWAY_", "COMPOSE_"))
        }
        self._env["GATEWAY_PORT"] = str(self.port)
        self.prometheus_port = free_port()
        self._env["PROMETHEUS_PORT"] = str(self.prometheus_port)
        # Its own, as another stack may run on this engine.
        first, second = secrets.token_bytes(2)
        self._env["EDGE_SUBNET"] = f"10.{first}.{second}.0/24"
        self._compose = ["compose", "--ansi", "never", "--project-name", self.project]
        self._compose += ["--file", str(ROOT / "docker-compose.yml")]

    def docker(self, *arguments: str, seconds: float = 60.0, errors: bool = True) -> str:
        """Run a docker command; return what it printed, without ``errors`` only to stdout."""
        done = subprocess.run(
            ["docker", *arguments],
            env=self._env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if errors else subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=seconds,
        )
        if done.returncode != 0:
            printed = done.stdout + (done.stderr or "")
            pytest.fail(f"docker {' '.join(arguments)} failed:\n{printed[-8000:]}")
        return done.stdout

    def compose(self, *arguments: str, seconds: float = 60.0, errors: bool = True) -> str:
        return self.docker(*self._compose, *arguments, seconds=seconds, errors=errors)

    def up(self) -> None:
        if not self.docker("network", "ls", "--quiet", "--filter", "name=^bridge$").strip():
            self._compose += ["--file", str(ROOT / "tests/e2e/compose.no-bridge.yaml")]
        self.output_of_up = self.compose("up", "--build", "--detach", seconds=300)
        wait_until(self.is_ready, "every container of the stack is healthy", START_SECONDS)
        self.first_users = self.operate("users", "list", "--json")

    def again(self, *files: Path) -> None:
        """Start it once more, with something changed."""
        added = [argument for file in files for argument in ("--file", str(file))]
        self.docker(*self._compose, *added, "up", "--detach", seconds=180)
        wait_until(self.is_ready, "every container of the stack is healthy", START_SECONDS)

    @contextlib.contextmanager
    def monitoring(self) -> Iterator[PrometheusApi]:
        """The profile's Prometheus, its official image or one that stands in for it."""
        known = self.compose("--profile", "monitoring", "config", "--format", "json", errors=False)
        image = json.loads(known)["services"]["prometheus"]["image"]
        if not self.docker("images", "--quiet", image).strip():
            self._compose += ["--file", str(ROOT / "tests/e2e/compose.prometheus.yaml")]
        self.compose("up", "--detach", "--no-deps", "prometheus", seconds=300)
        prometheus = PrometheusApi(self.prometheus_port)
        try:
            wait_until(prometheus.is_ready, "Prometheus is ready", START_SECONDS)
            yield prometheus
        finally:
            self.compose("rm", "--stop", "--force", "prometheus")

    def down(self) -> None:
        profiles = ["--profile", "monitoring"]
        self.compose(
            *profiles, "down", "--volumes", "--remove-orphans", "--rmi", "local", seconds=120
        )
        label = f"label=com.docker.compose.project={self.project}"
        for kind in (["ps", "--all"], ["volume", "ls"], ["network", "ls"]):
            assert self.docker(*kind, "--quiet", "--filter", label).split() == []

    def containers(self, service: str = "") -> list[str]:
        """The ids of a service's containers, also of those that have ended."""
        return self.compose("ps", "--all", "--quiet", *filter(None, [service])).split()

    def inspect(self, *ids: str) -> list[dict[str, Any]]:
        objects: list[dict[str, Any]] = json.loads(self.docker("inspect", *ids))
        return objects

    def read(self, service: str, path: str) -> str:
        """A file of a running container."""
        return self.compose("exec", "-T", service, "cat", path).strip()

    def operate(self, *command: str) -> str:
        """What a command of the gateway prints, in a container of its own."""
        return self.compose("run", "--rm", "-T", "gateway", *command, errors=False).strip()

    def token(self, sub: str, *roles: str) -> str:
        """Make a token as deploy/README.md says."""
        options = [option for role in roles for option in ("--role", role)]
        command = ["gateway", "gateway", "token", "--sub", sub, *options]
        token = self.compose("exec", "-T", *command).strip()
        assert token.count(".") == 2
        self.tokens.append(token)
        return token

    def connected(self, admin: str) -> dict[str, list[str]]:
        """The short ids of the containers that each user is connected to."""
        answer = call(f"{self.http}/users/connected", token=admin)
        assert answer.status == 200, answer
        # A replica is called <container>-<process>-<random>.
        return {
            entry["user"]: [replica.rsplit("-", 2)[0] for replica in entry["replicas"]]
            for entry in answer.json["users"]
        }

    def is_ready(self) -> bool:
        if status_of(f"{self.http}/readyz") != 200:
            return False
        states = [container["State"] for container in self.inspect(*self.containers())]
        healths = [state["Health"]["Status"] for state in states if state["Running"]]
        return healths == ["healthy"] * (REPLICAS + 3)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    need_engine()
    stack = Stack()
    try:
        try:
            stack.up()
        except BaseException:
            # The tests have not begun, so this is the only moment to see why.
            with contextlib.suppress(BaseException):
                print(stack.compose("ps", "--all"), stack.compose("logs", "--tail", "40"))
            raise
        yield stack
    finally:
        stack.down()


def need_engine() -> None:
    """Skip without a Docker engine; fail under CI, where one is expected."""
    required("docker")
    for command in (["docker", "version"], ["docker", "compose", "version"]):
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        if done.returncode != 0:
            message = f"no Docker engine with compose: {done.stderr.strip()[-200:]}"
            if os.environ.get("CI"):
                pytest.fail(message)
            pytest.skip(message)


class Listener:
    """A socket of one user on one channel, through the balancer."""

    def __init__(self, user: str, token: str, socket: ClientConnection) -> None:
        self.user = user
        self.token = token
        self.socket = socket
        self.container = ""

    async def data(self) -> Any:
        return (await receive_json(self.socket))["data"]


class Audience:
    """Listeners on one channel, at least one on each of the wanted replicas."""

    def __init__(self, stack: Stack, channel: str, admin: str) -> None:
        self._stack = stack
        self._channel = channel
        self._admin = admin
        self.listeners: list[Listener] = []

    async def gather(self, containers: set[str]) -> None:
        """Connect one after the other until each of these containers has a listener."""
        for _ in range(4 * REPLICAS):
            if containers <= {listener.container for listener in self.listeners}:
                return
            await self._join()
        pytest.fail(f"the balancer gave no socket to one of {containers}")

    async def _join(self) -> None:
        user = f"{self._channel}-{len(self.listeners)}"
        token = await asyncio.to_thread(self._stack.token, user)
        listener = Listener(user, token, await listen(self._stack.ws, self._channel, token))
        self.listeners.append(listener)
        await self._locate(listener)

    async def reconnect(self, listener: Listener) -> None:
        listener.socket = await listen(self._stack.ws, self._channel, listener.token)
        await self._locate(listener)

    async def _locate(self, listener: Listener) -> None:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            table = await asyncio.to_thread(self._stack.connected, self._admin)
            # What a killed replica had stays in the table until its lease ends.
            new = [name for name in table.get(listener.user, []) if name != listener.container]
            if new:
                (listener.container,) = new
                return
            await asyncio.sleep(0.05)
        pytest.fail(f"{listener.user} is not among the connected users")

    def on(self, container: str) -> list[Listener]:
        return [listener for listener in self.listeners if listener.container == container]

    async def close(self) -> None:
        await asyncio.gather(*(listener.socket.close() for listener in self.listeners))


@contextlib.asynccontextmanager
async def audience(stack: Stack, channel: str) -> AsyncIterator[Audience]:
    admin = await asyncio.to_thread(stack.token, "root", "admin")
    listeners = Audience(stack, channel, admin)
    try:
        yield listeners
    finally:
        await listeners.close()
