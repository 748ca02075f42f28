"""Accounts in the stack that `docker compose up --build` starts: from people to volumes."""

import asyncio
import contextlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

from tests.support.accounts import PASSWORD, Person, assert_problem
from tests.support.clients import call, closing_of, listen, publish, receive_json
from tests.support.servers import wait_until
from tests.support.stack import REPLICAS, ROOT, START_SECONDS, Stack

DEPLOY = (ROOT / "deploy" / "README.md").read_text()

pytestmark = [pytest.mark.compose, pytest.mark.timeout(420), pytest.mark.long]


def test_the_first_start_makes_no_user(stack: Stack) -> None:
    assert json.loads(stack.first_users) == []


def new_person(stack: Stack) -> Person:
    person = Person(stack.http)
    assert person.register().status == 201
    assert person.log_in().status == 200
    stack.tokens += [person.access_token, person.refresh_token]
    return person


async def sockets_on_every_replica(
    stack: Stack, person: Person, channel: str, opened: contextlib.AsyncExitStack
) -> list[ClientConnection]:
    admin = await asyncio.to_thread(stack.token, "root", "admin")
    sockets: list[ClientConnection] = []
    for _ in range(4 * REPLICAS):
        sockets.append(
            await opened.enter_async_context(listen(stack.ws, channel, person.access_token))
        )
        await asyncio.sleep(0.1)  # the table of who is connected follows in a moment
        table = await asyncio.to_thread(stack.connected, admin)
        if len(set(table.get(person.name, []))) == REPLICAS:
            return sockets
    pytest.fail("the balancer gave no socket to one of the replicas")


async def test_an_account_from_the_first_moment_to_the_last(stack: Stack) -> None:
    """S12: who logs out is out on every replica."""
    reader = await asyncio.to_thread(new_person, stack)
    writer = Person(stack.http)
    command = ("users", "add", writer.name, "--role", "publisher")
    password = await asyncio.to_thread(stack.operate, *command)
    assert (await asyncio.to_thread(writer.log_in, password)).status == 200
    stack.tokens.append(writer.access_token)

    async with contextlib.AsyncExitStack() as opened:
        sockets = await sockets_on_every_replica(stack, reader, "accounts", opened)
        denied = await publish(stack.http, "accounts", "no", reader.access_token)
        assert_problem(denied, 403, "denied")
        answer = await publish(stack.http, "accounts", "Hola", writer.access_token)
        assert answer.status == 200
        for socket in sockets:
            message = await receive_json(socket)
            assert (message["data"], message["user"]) == ("Hola", writer.name)

        assert (await asyncio.to_thread(reader.authorized, "/logout")).status == 200
        for socket in sockets:
            closing = await closing_of(socket, seconds=2.0)
            assert closing == (1008, "the token has been revoked: logout")
    assert not reader.is_accepted()


async def test_sockets_and_publishing_go_on_while_mariadb_is_away(stack: Stack) -> None:
    reader = await asyncio.to_thread(new_person, stack)
    publisher = await asyncio.to_thread(stack.token, "alice", "publisher")
    async with listen(stack.ws, "database", reader.access_token) as socket:
        await asyncio.to_thread(stack.compose, "stop", "mariadb")
        assert_problem(await asyncio.to_thread(reader.log_in), 503, "unavailable")
        assert (await publish(stack.http, "database", "away", publisher)).status == 200
        assert (await receive_json(socket))["data"] == "away"

        await asyncio.to_thread(stack.compose, "start", "mariadb")
        what = "somebody can log in again"
        await asyncio.to_thread(
            wait_until, lambda: reader.log_in().status == 200, what, START_SECONDS
        )
        assert (await publish(stack.http, "database", "back", publisher)).status == 200
        assert (await receive_json(socket))["data"] == "back"


def addresses_of(container: dict[str, Any]) -> set[str]:
    return {each["IPAddress"] for each in container["NetworkSettings"]["Networks"].values()}


def test_each_client_counts_by_its_own_address_whatever_it_says(stack: Stack) -> None:
    """S29"""
    claimed = "203.0.113.9"
    headers = {"X-Forwarded-For": claimed, "Forwarded": f"for={claimed}"}
    body = {"username": "nobody", "password": PASSWORD}
    assert call(f"{stack.http}/login", json_body=body, headers=headers).status == 401
    # And somebody else, who comes to the balancer from another address.
    ask = (
        "import http.client; c = http.client.HTTPConnection('balancer', 8000); "
        f"c.request('POST', '/login', {json.dumps(body)!r}, "
        f"{headers | {'Content-Type': 'application/json'}}); print(c.getresponse().status)"
    )
    other, *_ = stack.containers("gateway")
    assert stack.docker("exec", other, "python", "-c", ask).strip() == "401"

    seen = re.findall(r"a login failed from '([^']*)'", stack.compose("logs", "gateway"))
    (balancer,) = stack.inspect(*stack.containers("balancer"))
    (container,) = stack.inspect(other)
    assert len(set(seen)) >= 2
    assert set(seen) & addresses_of(container)
    assert not set(seen) & (addresses_of(balancer) | {claimed})


def test_mariadb_lets_in_nobody_without_the_password(stack: Stack) -> None:
    for user in ("root", "mysql", "gateway", "nobody"):
        for given in ("", "--password=none"):
            ask = f"mariadb --host=mariadb --user={user} {given} --execute 'SELECT 1' 2>&1; true"
            refused = stack.compose("exec", "-T", "mariadb", "sh", "-c", ask)
            assert re.search(r"ERROR (1045|1130|1698) ", refused), refused
    ask = "mariadb --user=root --execute 'SELECT 1' 2>&1; true"
    assert "ERROR 1045" in stack.compose("exec", "-T", "mariadb", "sh", "-c", ask)


def test_a_backup_needs_no_password_inside_the_container(stack: Stack) -> None:
    (command,) = re.findall(r"docker compose (exec .*mariadb-dump.*) > backup.sql", DEPLOY)
    dump = stack.compose(*command.split(), errors=False)
    assert "CREATE TABLE `users`" in dump


def test_who_sees_which_secret(stack: Stack) -> None:
    """S17"""
    mounts = {
        service: {
            mount["Destination"]: mount["RW"]
            for mount in stack.inspect(stack.containers(service)[0])[0]["Mounts"]
            if mount["Destination"].startswith("/secrets")
        }
        for service in ("gateway", "migrate", "redis", "mariadb", "balancer")
    }
    assert mounts == {
        "gateway": {"/secrets/gateway": False},
        "migrate": {"/secrets/gateway": False},
        "redis": {"/secrets/redis": False},
        "mariadb": {"/secrets/mariadb": False},
        "balancer": {},
    }
    script = "stat -c '%a %n' /secrets/gateway /secrets/gateway/*"
    listed = stack.compose("exec", "-T", "gateway", "sh", "-c", script).splitlines()
    assert listed == [
        "700 /secrets/gateway",
        "400 /secrets/gateway/gateway_database_url",
        "400 /secrets/gateway/gateway_jwt_secret",
        "400 /secrets/gateway/gateway_redis_url",
    ]


def test_only_the_balancer_can_be_reached_from_elsewhere(stack: Stack) -> None:
    profiles = ("--profile", "adminer", "--profile", "monitoring")
    config = json.loads(stack.compose(*profiles, "config", "--format", "json", errors=False))
    published = {
        name: [port.get("host_ip", "") for port in service["ports"]]
        for name, service in config["services"].items()
        if "ports" in service
    }
    here = {name: ["127.0.0.1"] for name in ("adminer", "prometheus", "grafana")}
    assert published == {"balancer": [""], **here}
    assert config["networks"]["data"]["internal"]
    assert config["networks"]["monitoring"]["internal"]
    # Whoever is there is believed about addresses.
    edge = {
        name
        for name, service in config["services"].items()
        if "edge" in service.get("networks", ())
    }
    assert edge == {"gateway", "balancer"}


def test_volumes_of_an_older_version_get_what_they_lack(stack: Stack, directory: Path) -> None:
    """The servers' lists of users change with a new version, and are read at once."""
    jwt_secret = stack.read("gateway", "/secrets/gateway/gateway_jwt_secret")
    users = stack.read("redis", "/secrets/redis/users.acl")
    forget = (
        "cd /secrets && sed -i 's/ +xrange//; s/ +evalsha//' redis/users.acl && "
        "rm gateway/gateway_database_url mariadb/users.sql"
    )
    stack.compose("run", "--rm", "-T", "--entrypoint", "sh", "secrets", "-c", forget)
    changed = directory / "changed.yaml"
    changed.write_text("services: { secrets: { labels: { version: '2' } } }\n")
    stack.again(changed)

    assert stack.read("gateway", "/secrets/gateway/gateway_jwt_secret") == jwt_secret
    assert stack.read("redis", "/secrets/redis/users.acl") == users
    person = new_person(stack)  # by a password that MariaDB has learnt just now
    token = stack.token("alice", "publisher")
    answer = call(f"{stack.http}/publish/older", token=token, json_body={"data": 1})
    assert answer.status == 200
    path = f"{stack.http}/channels/older/history"
    assert len(call(path, token=person.access_token).json["messages"]) == 1
