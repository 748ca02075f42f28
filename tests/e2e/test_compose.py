"""The whole stack as a user starts it: `docker compose up --build`, with a real Docker engine."""

import asyncio
import time

import pytest

from tests.support.clients import Answer, call, listen, publish
from tests.support.servers import wait_until
from tests.support.stack import REPLICAS, START_SECONDS, Stack, audience

pytestmark = [pytest.mark.compose, pytest.mark.timeout(420)]

SERVERS = ("redis", "database")


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


@pytest.mark.long
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
    # Redis, MariaDB, the balancer, and those that made secrets and tables.
    assert len(containers) == REPLICAS + 5

    for container in containers:
        user, host = container["Config"]["User"], container["HostConfig"]
        assert user.partition(":")[0] not in ("", "0", "root"), container["Name"]
        assert host["ReadonlyRootfs"], container["Name"]
        assert host["CapDrop"] == ["ALL"], container["Name"]
        assert not host["CapAdd"], container["Name"]
        assert not host["Privileged"], container["Name"]
        assert "no-new-privileges:true" in host["SecurityOpt"], container["Name"]

    for service in ("gateway", "redis", "mariadb", "balancer"):
        script = "id -u; touch /probe 2>/dev/null && echo written; true"
        uid = stack.compose("exec", "-T", service, "sh", "-c", script).split()
        assert len(uid) == 1, uid
        assert uid != ["0"]


def test_a_gateway_has_no_rights_and_nothing_to_install_more_with(stack: Stack) -> None:
    """S56: as the kernel sees its first process."""
    status = stack.read("gateway", "/proc/1/status")
    fields = dict(line.split(":", 1) for line in status.splitlines())
    assert fields["Uid"].split() == fields["Gid"].split() == ["10001"] * 4
    for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(fields[capabilities], 16) == 0, capabilities
    assert fields["NoNewPrivs"].strip() == "1"

    script = (
        "import importlib.util as u, os; "
        "print([m for m in ('pip', 'hatchling', 'pytest') if u.find_spec(m)], "
        "[p for p in ('/', '/opt/gateway', '/secrets/gateway', '/etc') if os.access(p, os.W_OK)])"
    )
    assert stack.compose("exec", "-T", "gateway", "python", "-c", script).strip() == "[] []"

    (image,) = {container["Image"] for container in stack.inspect(*stack.containers("gateway"))}
    (config,) = (described["Config"] for described in stack.inspect(image))
    assert config["User"] == "10001:10001"
    assert "/readyz" in " ".join(config["Healthcheck"]["Test"])
    assert not any("SECRET" in line or "PASSWORD" in line for line in config["Env"])


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
    urls = [stack.read("gateway", f"/secrets/gateway/gateway_{name}_url") for name in SERVERS]
    passwords = [url.partition("@")[0].rpartition(":")[2] for url in urls]
    assert min(map(len, (secret, *passwords))) >= 64
    signatures = [token.rpartition(".")[2] for token in stack.tokens]

    images = {container["Image"] for container in stack.inspect(*stack.containers())}
    histories = [stack.docker("history", "--no-trunc", image) for image in images]
    places = {
        "the logs": stack.compose("logs", "--no-color"),
        "the output of up": stack.output_of_up,
        "docker inspect": stack.docker("inspect", *stack.containers(), *images),
        "the images' history": "\n".join(histories),
        "Redis' list of users": stack.read("redis", "/secrets/redis/users.acl"),
        "MariaDB's list of users": stack.read("mariadb", "/secrets/mariadb/users.sql"),
    }
    assert "/publish/by-url" in places["the logs"]
    for place, text in places.items():
        for hidden in (secret, *passwords, *stack.tokens, *signatures):
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
    # A publisher that got no answer may have published; and behind a restart, whose file may lack
    # the last second, offsets leap.
    assert offset < higher - 1_000_000_000 <= offset + len(answers)
