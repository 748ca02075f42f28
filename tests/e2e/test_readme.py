"""What the README and the guides say, command by command, as it is printed."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.configuration import load
from tests.support.pages import ROOT, blocks, section
from tests.support.servers import Process, free_port, required, status_of, wait_until

README = (ROOT / "README.md").read_text()
ACCOUNTS = (ROOT / "docs" / "accounts.md").read_text()
INDEX = (ROOT / "docs" / "README.md").read_text()

Shell = Callable[..., str]


def commands(title: str) -> list[str]:
    """The lines of the shell blocks of one section of the README."""
    return [line for block in blocks(section(README, title)) for line in block.splitlines()]


@pytest.fixture
def checkout(directory: Path) -> Path:
    """A copy of the project with its tools installed: a fresh clone after its first ``make``."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "README.md"):
        shutil.copy(ROOT / name, directory / name)
    for name in ("gateway", "scripts"):
        (directory / name).symlink_to(ROOT / name)
    binaries = directory / ".venv" / "bin"
    binaries.mkdir(parents=True)
    for name in ("python", "gateway", "websockets"):
        (binaries / name).symlink_to(Path(sys.executable).with_name(name))
    (directory / ".venv" / ".installed").touch()
    return directory


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def environment(port: int) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    return env | {"GATEWAY_PORT": str(port)}  # 8000 may be taken on a machine that runs tests


@pytest.fixture
def running(checkout: Path, port: int, environment: dict[str, str]) -> Iterator[Process]:
    make_run = commands("The first minute")[0]
    assert make_run == "make run"
    # A shell of its own would outlive the make that it started.
    with Process(["make", "run"], checkout / "run.log", environment) as process:
        url = f"http://localhost:{port}/readyz"
        process.wait_ready(lambda: status_of(url) == 200, "make run")
        yield process


@pytest.fixture
def shell(running: Process, checkout: Path, port: int, environment: dict[str, str]) -> Shell:
    """Runs lines as they are printed, beside the running gateway; returns what they print."""
    required("curl")

    def run(*lines: str) -> str:
        script = "\n".join(lines).replace("localhost:8000", f"localhost:{port}")
        done = subprocess.run(
            ["sh", "-ec", script],
            cwd=checkout,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_the_first_minute_works_as_it_is_printed(
    running: Process, shell: Shell, checkout: Path, port: int
) -> None:
    _, register, bob, hear, password, alice, publish, again, logout = commands("The first minute")
    assert shell(register) == '{"message":"User registered successfully","user_id":1}'

    heard = checkout / "heard"
    script = f"{bob}\nexec {hear}".replace("localhost:8000", f"localhost:{port}")
    with (
        heard.open("wb") as output,
        subprocess.Popen(
            ["sh", "-ec", script],
            cwd=checkout,
            stdin=subprocess.PIPE,  # a terminal on which nobody types
            stdout=output,
            stderr=output,
        ) as client,
    ):
        try:
            wait_until(lambda: "Connected" in heard.read_text(), "the client listens")
            answer = shell(password, alice, publish)
            wait_until(lambda: '"user":"alice"' in heard.read_text(), "Bob hears Alice")
            assert "Logged out successfully" in shell(again, logout)
            wait_until(lambda: "revoked: logout" in heard.read_text(), "Bob's socket is closed")
        finally:
            client.kill()

    receipt = '{"status":"published","channel":"noticias","id":"'
    assert answer.startswith(receipt)
    told = re.search(r'\{"channel":.*\}', heard.read_text())
    assert told is not None
    message = json.loads(told[0])
    assert list(message) == ["channel", "data", "offset", "epoch", "id", "user", "time"]
    assert (message["data"], message["offset"]) == ("Hola canal", 1)
    assert "1008" in heard.read_text()

    for name in (".env", "gateway.db"):
        assert oct((checkout / name).stat().st_mode & 0o777) == "0o600"
    secret = (checkout / ".env").read_text().partition("=")[2].strip()
    for hidden in (secret, "correct-horse", "eyJ"):
        assert hidden not in running.log


def test_the_guides_begin_as_it_is_printed(checkout: Path, environment: dict[str, str]) -> None:
    (begin,) = blocks(section(INDEX, "Before you start"))
    home = checkout / "home"
    done = subprocess.run(
        ["sh", "-ec", f'{begin}\npwd\nls -A\ncommand -v gateway\necho "$CHECKOUT"'],
        cwd=checkout,
        env=environment | {"HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    program = checkout / ".venv" / "bin" / "gateway"
    assert done.stdout.splitlines() == [str(home / "try-gateway"), str(program), str(checkout)]


def test_a_token_without_an_account_is_made_as_it_is_printed(shell: Shell) -> None:
    (command,) = re.findall(r"`(\.venv/bin/gateway token .*?)`", README)
    token = shell(command).strip()
    assert "role is publisher" in shell(f"echo {token} | .venv/bin/gateway explain -")
    (explain,) = re.findall(r"`(echo .*?gateway explain -)`", README)
    assert "form        NO" in shell("BOB=nonsense", f"{explain} || test $? = 1")


@pytest.mark.long
@pytest.mark.timeout(180)
def test_the_guide_to_accounts_works_as_it_is_printed(
    running: Process, shell: Shell, checkout: Path
) -> None:
    required("openssl")
    # One shell for all of it: what a block sets, later ones use.
    printed = shell(*blocks(ACCOUNTS), "echo ticket=$TICKET")
    for expected in (
        "carol@example.com",
        '"username":"carol"',
        "Logged out successfully",
        "the token is accepted; may subscribe",
        "GATEWAY_JWT_ALGORITHM",
        "the tables are up to date",
    ):
        assert expected in printed
    assert re.search(r"^ticket=[\w-]{32}$", printed, re.M)
    assert (checkout / "signing.pem").stat().st_mode & 0o077 == 0
    assert "eyJ" not in running.log


@pytest.mark.parametrize("block", blocks(ACCOUNTS, "toml"))
def test_the_settings_of_the_guide_can_be_used(
    block: str, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = directory / "gateway.toml"
    for name in ("NEW", "OLD"):
        block = block.replace(f'"{name}"', f'"{name}-secret-0123456789-abcdefghijklmnop"')
    config.write_text(block)
    monkeypatch.setenv("GATEWAY_CONFIG", str(config))
    settings = load(env_file=None)
    assert settings.jwt_retired_keys or settings.jwt_issuers


def test_the_commands_that_the_readme_names_exist() -> None:
    named = [line for title in ("Work on it", "The real thing") for line in commands(title)]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for line in named:
        if line.startswith("make "):
            assert line.removeprefix("make ") in targets
    assert "docker compose up --build" in named


def test_the_changelog_starts_with_this_version() -> None:
    from gateway import __version__

    first = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert first is not None
    assert first[1] == __version__
