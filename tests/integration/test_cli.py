"""The command line beside a gateway that runs."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.clients import Answer, call, closing_of, listen, make_token
from tests.support.databases import DATABASES, fresh_url
from tests.support.servers import GatewayProcess, RedisServer, gateway_environment

PASSWORD = "correct horse battery"


def gateway_command(
    directory: Path, settings: dict[str, str], *arguments: str, stdin: str = ""
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=directory,
        env=gateway_environment(**settings),
        timeout=30,
    )


class Place(NamedTuple):
    """A running gateway, and the command line with the same settings."""

    gateway: GatewayProcess
    directory: Path
    settings: dict[str, str]

    def command(self, *arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        return gateway_command(self.directory, self.settings, *arguments, stdin=stdin)

    def add(self, name: str, *arguments: str) -> None:
        done = self.command("users", "add", name, *arguments, "--password-stdin", stdin=PASSWORD)
        assert (done.returncode, done.stdout) == (0, "")

    def login(self, name: str, password: str = PASSWORD) -> Answer:
        body = {"username": name, "password": password}
        return call(self.gateway.http + "/login", json_body=body)

    def token(self, name: str) -> str:
        answer = self.login(name)
        assert answer.status == 200
        return str(answer.json["access_token"])

    def explained(self, token: str) -> tuple[int, Any]:
        done = self.command("explain", "-", "room", "--json", stdin=token)
        assert done.stderr == ""
        return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def place(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("cli")
    settings = {"redis_url": redis_server.url, "redis_prefix": "cli-test"}
    with GatewayProcess(directory, **settings) as process:
        yield Place(process, directory, settings)


def test_nobody_can_log_in_before_somebody_is_added(directory: Path) -> None:
    """S50: a gateway that starts with nothing has no user and no default password."""
    with GatewayProcess(directory) as process:
        fresh = Place(process, directory, {})
        assert fresh.command("users", "list", "--json").stdout == "[]\n"
        for name in ("admin", "root", "alice", "johndoe", "gateway"):
            for password in (name, "admin", "password", "changeme", "secret", "gateway", ""):
                assert fresh.login(name, password).status in (401, 422, 429)
        made = fresh.command("users", "add", "admin", "--role", "admin")
        assert len(made.stdout.strip()) == 26


def test_an_added_user_can_log_in_at_once(place: Place) -> None:
    made = place.command("users", "add", "carla", "--role", "publisher")
    assert place.login("carla", made.stdout.strip()).status == 200
    assert place.login("carla", "wrong password").status == 401


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["disable"], "disabled"),
        (["role", "--add", "publisher"], "roles"),
        (["password"], "password"),
        (["logout"], "admin"),
    ],
    ids=["disable", "role", "password", "logout"],
)
@pytest.mark.long
async def test_what_is_taken_away_closes_the_sockets_of_a_running_gateway(
    place: Place, command: list[str], reason: str
) -> None:
    """S12, S13"""
    name = f"user-{reason}"
    place.add(name)
    token = place.token(name)
    first, *rest = command
    async with (
        listen(place.gateway.ws, "room", token) as socket,
        listen(place.gateway.ws, "room", make_token("bystander")) as other,
    ):
        closing = asyncio.create_task(timed_closing(socket))
        done = await asyncio.to_thread(place.command, "users", first, name, *rest)
        ended_at = time.monotonic()
        assert done.returncode == 0
        assert "within a minute" not in done.stderr
        (code, _), closed_at = await closing
        assert code == 1008
        assert closed_at - ended_at < 1.0
        assert other.close_code is None
    async with listen(place.gateway.ws, "room", token) as late:
        assert (await closing_of(late))[0] == 1008
    code, explanation = await asyncio.to_thread(place.explained, token)
    assert code == 1
    assert explanation["steps"][-1]["detail"] == f"the token has been revoked: {reason}"


async def timed_closing(socket: Any) -> tuple[tuple[int, str], float]:
    closing = await closing_of(socket, 15)
    return closing, time.monotonic()


@pytest.mark.long
def test_a_disabled_user_logs_in_no_more_until_enabled(place: Place) -> None:
    place.add("dora")
    place.command("users", "disable", "dora")
    assert place.login("dora").status == 403
    place.command("users", "enable", "dora")
    code, explanation = place.explained(place.token("dora"))
    assert (code, explanation["accepted"]) == (0, True)


def test_roles_given_on_the_command_line_are_in_the_next_token(place: Place) -> None:
    place.add("emil")
    url = place.gateway.http + "/publish/room"
    assert call(url, token=place.token("emil"), json_body={"data": 1}).status == 403
    place.command("users", "role", "emil", "publisher")
    assert call(url, token=place.token("emil"), json_body={"data": 1}).status == 200


@pytest.mark.long
def test_an_upgrade_beside_a_running_gateway_has_nothing_to_do(place: Place) -> None:
    assert place.command("db", "upgrade").stdout == "the tables are up to date\n"
    assert place.command("db", "status").returncode == 0


@pytest.mark.long
@pytest.mark.parametrize("kind", DATABASES)
async def test_the_commands_work_on_every_database(
    kind: str, directory: Path, request: pytest.FixtureRequest
) -> None:
    settings = {"database_url": await fresh_url(kind, request), "database_migrate": "false"}

    def work() -> None:
        assert gateway_command(directory, settings, "db", "status").returncode == 1
        refused = gateway_command(directory, settings, "users", "list")
        assert refused.returncode == 69
        assert "run: gateway db upgrade" in refused.stderr
        assert gateway_command(directory, settings, "db", "upgrade").stdout.startswith("0001 ")
        assert gateway_command(directory, settings, "db", "status").returncode == 0
        assert gateway_command(directory, settings, "users", "seed").returncode == 0
        assert gateway_command(directory, settings, "users", "disable", "alice").returncode == 0
        done = gateway_command(directory, settings, "users", "list", "--json")
        assert done.stderr == ""
        disabled = {each["username"]: each["disabled"] for each in json.loads(done.stdout)}
        assert disabled == {"johndoe": False, "alice": True, "admin": False}

    await asyncio.to_thread(work)
