"""The demo: a look around without passwords, on this machine only, and never by accident."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.accounts import PASSWORD, Person, as_admin, assert_problem
from tests.support.clients import call, make_token
from tests.support.servers import GatewayProcess, gateway_environment


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with GatewayProcess(tmp_path_factory.mktemp("demo"), demo=True) as process:
        yield process


def test_a_name_is_enough(demo: GatewayProcess) -> None:
    answer = call(f"{demo.http}/login?username=alice", method="POST")
    assert answer.status == 200, answer.body
    assert answer.json["token_type"] == "bearer"
    me = call(demo.http + "/me", token=answer.json["access_token"]).json
    assert (me["username"], me["roles"]) == ("alice", ["user"])


def test_roles_still_count(demo: GatewayProcess) -> None:
    """S32"""
    token = call(f"{demo.http}/login?username=bob", method="POST").json["access_token"]
    assert call(f"{demo.http}/publish/x?message=hi", token=token, method="POST").status == 403
    as_admin(demo.http, "/users/bob/roles", "PUT", {"roles": ["publisher"]})
    token = call(f"{demo.http}/login?username=bob", method="POST").json["access_token"]
    assert call(f"{demo.http}/publish/x?message=hi", token=token, method="POST").status == 200


def test_a_disabled_user_stays_out(demo: GatewayProcess) -> None:
    """S13"""
    assert call(f"{demo.http}/login?username=eve", method="POST").status == 200
    as_admin(demo.http, "/users/eve/disable")
    assert_problem(call(f"{demo.http}/login?username=eve", method="POST"), 403, "denied")


@pytest.mark.parametrize("name", ["", "%00", "x" * 151, "%20alice"])
def test_a_name_that_cannot_be_is_refused(demo: GatewayProcess, name: str) -> None:
    answer = call(f"{demo.http}/login?username={name}", method="POST")
    assert_problem(answer, 422, "invalid_request")


def test_passwords_work_as_everywhere(demo: GatewayProcess) -> None:
    person = Person(demo.http)
    assert person.register().status == 201
    assert person.log_in("not the password").status == 401
    assert person.log_in(PASSWORD).status == 200


def test_a_test_token_is_there_for_the_taking(demo: GatewayProcess) -> None:
    answer = call(demo.http + "/test-token").json
    assert answer.keys() == {"test_token", "note"}
    assert call(demo.http + "/me", token=answer["test_token"]).json["username"] == "user"


def test_the_log_says_loudly_what_is_on(demo: GatewayProcess) -> None:
    warnings = [line for line in demo.log.splitlines() if '"level": "warning"' in line]
    assert any("GATEWAY_DEMO" in line and "without a password" in line for line in warnings)


@pytest.mark.parametrize(
    "settings",
    [
        {"host": "0.0.0.0"},
        {"host": "::"},
        {"host": "gateway.example"},
        {"env": "production"},
    ],
)
def test_others_are_never_let_in_so(directory: Path, settings: dict[str, str]) -> None:
    """S50: the process ends with one line that says why."""
    env = gateway_environment(demo=True, **settings)
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "serve", "--port", "0"],
        env=env,
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    assert "demo" in line
    assert "loopback" in line


def test_without_the_setting_a_password_is_needed(gateway: GatewayProcess) -> None:
    answer = call(f"{gateway.http}/login?username=alice", method="POST")
    assert_problem(answer, 422, "invalid_request")
    assert call(gateway.http + "/test-token", token=make_token()).status == 404
    assert "GATEWAY_DEMO" not in gateway.log
