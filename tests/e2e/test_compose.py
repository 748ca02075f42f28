"""The whole stack as a user starts it: `docker compose up --build`, with a real Docker engine.

The engine is the one that the environment names (DOCKER_HOST, or the default socket). Everything
carries a project name of its own and is removed at the end.
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

from tests.support.clients import Answer, call, listen, publish, receive_json
from tests.support.servers import free_port, required, status_of, wait_until

pytestmark = [pytest.mark.compose, pytest.mark.timeout(420)]

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
        self._env = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("GATEWAY_", "COMPOSE_"))
        }
        self._env["GATEWAY_PORT"] = str(self.port)
        self._compose = ["compose", "--ansi", "never", "--project-name", self.project]
        self._compose += ["--file", str(ROOT / "docker-compose.yml")]

    def docker(self, *arguments: str, seconds: float = 60.0) -> str:
        """Run a docker command; return what it printed to both outputs."""
        done = subprocess.run(
            ["docker", *arguments],
            env=self._env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=seconds,
        )
        if done.returncode != 0:
            pytest.fail(f"docker {' '.join(arguments)} failed:\n{done.stdout[-8000:]}")
        return done.stdout

    def compose(self, *arguments: str, seconds: float = 60.0) -> str:
        return self.docker(*self._compose, *arguments, seconds=seconds)

    def up(self) -> None:
        if not self.docker("network", "ls", "--quiet", "--filter", "name=^bridge$").strip():
            self._compose += ["--file", str(ROOT / "tests/e2e/compose.no-bridge.yaml")]
        self.output_of_up = self.compose("up", "--build", "--detach", seconds=300)
        wait_until(self.is_ready, "every container of the stack is healthy", START_SECONDS)

    def down(self) -> None:
        self.compose("down", "--volumes", "--remove-orphans", "--rmi", "local", seconds=120)
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
        return healths == ["healthy"] * (REPLICAS + 2)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    _need_engine()
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


def _need_engine() -> None:
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


def short_ids(stack: Stack) -> set[str]:
    return {container[:12] for container in stack.containers("gateway")}


def published(answer: Answer) -> int:
    assert answer.status == 200, answer
    offset: int = answer.json["offset"]
    return offset


async def test_a_message_reaches_the_sockets_of_every_replica(stack: Stack) -> None:
    publisher = await asyncio.to_thread(stack.token, "alice", "publisher")
    replicas = await asyncio.to_thread(short_ids, stack)
    assert len(replicas) == REPLICAS

    async with audience(stack, "everywhere") as everybody:
        await everybody.gather(replicas)
        numbers = list(range(10))
        offsets = [
            published(await publish(stack.http, "everywhere", number, publisher))
            for number in numbers
        ]
        assert offsets == list(range(1, 11))
        for listener in everybody.listeners:
            assert [await listener.data() for _ in numbers] == numbers


async def test_a_killed_replica_takes_only_its_own_sockets_along(stack: Stack) -> None:
    publisher = await asyncio.to_thread(stack.token, "alice", "publisher")
    replicas = await asyncio.to_thread(short_ids, stack)

    async with audience(stack, "survivors") as everybody:
        await everybody.gather(replicas)
        victim = everybody.listeners[0].container
        lost = everybody.on(victim)
        kept = [listener for listener in everybody.listeners if listener not in lost]

        await asyncio.to_thread(stack.docker, "kill", victim)
        # At once, so that the balancer has to find out by itself.
        published(await publish(stack.http, "survivors", "one is gone", publisher))
        for listener in kept:
            assert await listener.data() == "one is gone"
        for listener in lost:
            await asyncio.wait_for(listener.socket.wait_closed(), 5)
            await everybody.reconnect(listener)
            assert listener.container in replicas - {victim}

        published(await publish(stack.http, "survivors", "together again", publisher))
        for listener in everybody.listeners:
            assert await listener.data() == "together again"

        await asyncio.to_thread(stack.docker, "start", victim)
        await asyncio.to_thread(wait_until, stack.is_ready, "the replica is back", START_SECONDS)
        await everybody.gather(replicas)
        published(await publish(stack.http, "survivors", "all of us", publisher))
        for listener in everybody.listeners:
            assert await listener.data() == "all of us"


def test_no_container_runs_as_root_or_can_write_or_gain_rights(stack: Stack) -> None:
    containers = stack.inspect(*stack.containers())
    assert len(containers) == REPLICAS + 3  # Redis, the balancer, and the one that made secrets

    for container in containers:
        user, host = container["Config"]["User"], container["HostConfig"]
        assert user.partition(":")[0] not in ("", "0", "root"), container["Name"]
        assert host["ReadonlyRootfs"], container["Name"]
        assert host["CapDrop"] == ["ALL"], container["Name"]
        assert not host["CapAdd"], container["Name"]
        assert not host["Privileged"], container["Name"]
        assert "no-new-privileges:true" in host["SecurityOpt"], container["Name"]

    for service in ("gateway", "redis", "balancer"):
        script = "id -u; touch /probe 2>/dev/null && echo written; true"
        uid = stack.compose("exec", "-T", service, "sh", "-c", script).split()
        assert len(uid) == 1, uid
        assert uid != ["0"]


def test_redis_lets_in_nobody_without_the_password(stack: Stack) -> None:
    ask = ["exec", "-T", "redis", "redis-cli", "--no-auth-warning"]
    assert "NOAUTH" in stack.compose(*ask, "get", "x")
    assert "NOPERM" in stack.compose(*ask, "--user", "health", "--pass", "none", "get", "x")
    assert "WRONGPASS" in stack.compose(*ask, "--user", "gateway", "--pass", "none", "ping")


def test_secrets_outlive_another_start(stack: Stack) -> None:
    token = stack.token("bob", "publisher")
    before = stack.read("gateway", "/secrets/gateway/gateway_jwt_secret")
    stack.compose("run", "--rm", "-T", "secrets")
    assert stack.read("gateway", "/secrets/gateway/gateway_jwt_secret") == before
    published(call(f"{stack.http}/publish/again", token=token, json_body={"data": 1}))


@pytest.fixture
async def talk(stack: Stack) -> None:
    """Use a token in the ways in which it is likeliest to get into a log: by URL, and refused."""
    token = await asyncio.to_thread(stack.token, "alice", "publisher")
    async with listen(stack.ws, "by-url", token, f"?token={token}"):
        await publish(stack.http, "by-url", "hello", token)
    for url in (f"/publish/by-url?token={token}", f"/ws/by-url?token={token}", f"/?token={token}"):
        await asyncio.to_thread(call, stack.http + url)
    await publish(stack.http, "by-url", "hello", token + "x")


@pytest.mark.usefixtures("talk")
def test_no_secret_is_in_sight(stack: Stack) -> None:
    secret = stack.read("gateway", "/secrets/gateway/gateway_jwt_secret")
    url = stack.read("gateway", "/secrets/gateway/gateway_redis_url")
    password = url.partition("@")[0].rpartition(":")[2]
    assert min(len(secret), len(password)) >= 64
    signatures = [token.rpartition(".")[2] for token in stack.tokens]

    images = {container["Image"] for container in stack.inspect(*stack.containers())}
    histories = [stack.docker("history", "--no-trunc", image) for image in images]
    places = {
        "the logs": stack.compose("logs", "--no-color"),
        "the output of up": stack.output_of_up,
        "docker inspect": stack.docker("inspect", *stack.containers(), *images),
        "the images' history": "\n".join(histories),
        "Redis' list of users": stack.read("redis", "/secrets/redis/users.acl"),
    }
    assert "/publish/by-url" in places["the logs"]
    for place, text in places.items():
        for hidden in (secret, password, *stack.tokens, *signatures):
            assert hidden not in text, f"a secret stands in {place}"


def test_history_outlives_a_restart_of_redis(stack: Stack) -> None:
    token = stack.token("carol", "publisher")

    def publish_one() -> Answer:
        return call(f"{stack.http}/publish/lasting", token=token, json_body={"data": 1})

    def position(answer: Answer) -> tuple[str, int]:
        return answer.json["epoch"], answer.json["offset"]

    answer = publish_one()
    published(answer)
    epoch, offset = position(answer)
    time.sleep(1.1)  # Redis writes to the disk once a second

    stack.compose("restart", "redis")
    answers: list[Answer] = []

    def works_again() -> bool:
        answers.append(publish_one())
        return answers[-1].status == 200

    wait_until(works_again, "publishing works again", START_SECONDS)
    again, higher = position(answers[-1])
    assert again == epoch
    # A publisher that got no answer may have published.
    assert offset < higher <= offset + len(answers)
