"""The README's first minute, command by command, as it is printed."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clients import listen, receive_json
from tests.support.servers import Process, free_port, status_of

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def commands(section: str) -> list[str]:
    """The lines of the shell blocks of one section."""
    text = README.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return [
        line for block in re.findall(r"```sh\n(.*?)```", text, re.S) for line in block.splitlines()
    ]


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
def running(checkout: Path, port: int) -> Iterator[Process]:
    make_run = commands("The first minute")[0]
    assert make_run == "make run"
    env = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    env["GATEWAY_PORT"] = str(port)  # 8000 may be taken on a machine that runs tests
    # A shell of its own would outlive the make that it started.
    with Process(["make", "run"], checkout / "run.log", env) as process:
        url = f"http://localhost:{port}/readyz"
        process.wait_ready(lambda: status_of(url) == 200, "make run")
        yield process


async def test_the_first_minute_works_as_it_is_printed(
    running: Process, checkout: Path, port: int
) -> None:
    _, token_line, publish_line, _ = commands("The first minute")

    def shell(script: str) -> str:
        script = script.replace("localhost:8000", f"localhost:{port}")
        done = subprocess.run(
            ["sh", "-ec", script], cwd=checkout, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    token = shell(token_line + "\necho $TOKEN").strip()
    async with listen(f"ws://localhost:{port}", "noticias", token) as socket:
        answer = shell(token_line + "\n" + publish_line)
        message = await receive_json(socket)

    assert answer.startswith('{"status":"published","channel":"noticias","id":"')
    assert (message["data"], message["user"]) == ("Hola canal", "alice")
    assert oct((checkout / ".env").stat().st_mode & 0o777) == "0o600"
    secret = (checkout / ".env").read_text().partition("=")[2].strip()
    assert secret not in running.log
    assert token not in running.log


def test_the_commands_that_the_readme_names_exist() -> None:
    named = [line for section in ("Work on it", "The real thing") for line in commands(section)]
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
