"""docs/clients.md: every program of that page, as it is printed, listens to a real gateway."""

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page

from tests.browser.conftest import Windows
from tests.support import pages
from tests.support.accounts import PASSWORD, Person
from tests.support.balancer import Balancer
from tests.support.clients import make_token, publish, publish_now
from tests.support.node import JAVASCRIPT, ROOT, node_for
from tests.support.servers import GatewayProcess, missing, required, wait_until

PAGE = (ROOT / "docs" / "clients.md").read_text()
REACT = ROOT / "examples" / "react"
SECONDS = 15.0


def program(section: str, language: str, number: int = 0) -> str:
    return pages.blocks(pages.section(PAGE, section), language)[number]


def at(gateway: GatewayProcess | Balancer, code: str) -> str:
    """The same program for a gateway on another port."""
    assert "localhost:8000" in code
    return code.replace("localhost:8000", f"127.0.0.1:{gateway.port}")


class Listener:
    """A program that runs, with what it printed."""

    def __init__(self, command: list[str], directory: Path, **env: str) -> None:
        self._output = directory / "printed.txt"
        with self._output.open("wb") as output:
            # Some of them end with their input.
            self._process = subprocess.Popen(
                command,
                cwd=directory,
                env={**os.environ, **env},
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # or what a shell started would outlive it
            )

    def hears(self, gateway: GatewayProcess, text: str = "Hola canal") -> None:
        """Publish until it prints the text; it does not say when it has begun to listen."""
        token, end = make_token("paula", "publisher"), time.monotonic() + SECONDS
        while text not in self.printed and time.monotonic() < end:
            assert self._process.poll() is None, self.printed
            assert publish_now(gateway.http, "noticias", text, token).status == 200
            time.sleep(0.1)
        assert text in self.printed, self.printed

    def type(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    @property
    def printed(self) -> str:
        return self._output.read_text()

    def __enter__(self) -> "Listener":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, 9)
        self._process.communicate()


@pytest.fixture
def token() -> str:
    return make_token("alice", "publisher")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with GatewayProcess(tmp_path_factory.mktemp("clients")) as process:
        yield process


def test_python(fresh: GatewayProcess, directory: Path, token: str) -> None:
    for section in ("Python with centrifuge-python", "Python with websockets"):
        code = at(fresh, program(section, "python"))
        command = [sys.executable, "-W", "error", "-c", code]
        with Listener(command, directory, TOKEN=token) as listener:
            listener.hears(fresh)
            assert "Traceback" not in listener.printed


def test_python_comes_back_where_it_was(fresh: GatewayProcess, directory: Path, token: str) -> None:
    with Balancer(directory, [fresh]) as balancer:
        code = at(balancer, program("Python with websockets", "python"))
        with Listener([sys.executable, "-c", code], directory, TOKEN=token) as listener:
            listener.hears(fresh, "before")
            balancer.kill()
            for _ in range(5):
                publish_now(fresh.http, "noticias", "meanwhile", token)
            balancer.start()
            listener.hears(fresh, "after")
            lines = [line for line in listener.printed.splitlines() if not line.startswith("{")]
    assert sum(line.endswith("meanwhile") for line in lines) == 5
    offsets = [int(line.split()[0]) for line in lines]
    assert offsets == [*range(offsets[0], offsets[-1] + 1)]


@pytest.mark.parametrize("section", ["Node", "Protobuf"])
def test_node(fresh: GatewayProcess, directory: Path, token: str, section: str) -> None:
    node = node_for(JAVASCRIPT)
    (directory / "node_modules").symlink_to(JAVASCRIPT / "node_modules")
    (directory / "listen.mjs").write_text(at(fresh, program(section, "js")))
    with Listener([node, "listen.mjs"], directory, TOKEN=token) as listener:
        listener.hears(fresh)


def test_curl(fresh: GatewayProcess, directory: Path, token: str) -> None:
    required("curl")
    listen, publish = (at(fresh, program("curl", "sh", number)) for number in (0, 1))
    with Listener(["sh", "-c", listen], directory, TOKEN=token) as listener:
        listener.hears(fresh, "are you there?")
        environment = {**os.environ, "TOKEN": token}
        done = subprocess.run(
            ["sh", "-c", publish], env=environment, capture_output=True, timeout=SECONDS
        )
        assert b'"status":"published"' in done.stdout
        wait_until(lambda: "Hola canal" in listener.printed, "curl prints it", SECONDS)


@pytest.mark.parametrize("name", ["websocat", "wscat"])
def test_terminals_listen_and_publish(
    fresh: GatewayProcess, directory: Path, token: str, name: str
) -> None:
    node_for(JAVASCRIPT)
    places = [str(Path(sys.executable).parent), str(JAVASCRIPT / "node_modules" / ".bin")]
    path = os.pathsep.join([*places, os.environ["PATH"]])
    if shutil.which(name, path=path) is None:
        missing(name, "its package is not for this system")
    command = ["sh", "-c", at(fresh, program(name, "sh"))]
    with Listener(command, directory, TOKEN=token, PATH=path) as listener:
        listener.hears(fresh, f"for {name}")
        listener.type(f"by {name}")
        wait_until(lambda: f"[noticias] by {name}" in listener.printed, "it hears itself", SECONDS)


def test_one_way_in_a_shell(fresh: GatewayProcess, directory: Path, token: str) -> None:
    required("curl")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    if shutil.which("websocat", path=path) is None:
        missing("websocat", "its package is not for this system")
    for number, name in enumerate(("curl", "websocat")):
        code = at(fresh, program("One way, without a library", "sh", number))
        with Listener(["sh", "-c", code], directory, TOKEN=token, PATH=path) as listener:
            listener.hears(fresh, f"for {name}")
            assert '"pub":' in listener.printed


@pytest.mark.parametrize("section", ["Browser", "Browser without a library"])
async def test_browser(windows: Windows, fresh: GatewayProcess, token: str, section: str) -> None:
    page = await windows.open(fresh.http)
    code = at(fresh, program(section, "js"))
    # A bundler would resolve the import; the page has loaded the same file.
    code = code.replace(
        'import { Centrifuge } from "centrifuge";', "const { Centrifuge } = globalThis;"
    )
    await _hears(page, fresh, code, token=token)


async def test_event_source(windows: Windows, fresh: GatewayProcess) -> None:
    person = Person(fresh.http)
    assert person.register().status == 201
    page = await windows.open(fresh.http)
    code = program("EventSource", "js")
    await _hears(page, fresh, code, username=person.name, password=PASSWORD)


@pytest.mark.long
async def test_one_way_event_source(windows: Windows, fresh: GatewayProcess, token: str) -> None:
    page = await windows.open(fresh.http)
    await _hears(page, fresh, program("One way, without a library", "js"), token=token)


@pytest.mark.long
def test_react(fresh: GatewayProcess, token: str) -> None:
    """The hook has tests of its own, which run as its users would run them."""
    node = node_for(REACT)
    environment = {**os.environ, "GATEWAY": fresh.http, "TOKEN": token}
    done = subprocess.run(
        [node, "--test"], cwd=REACT, env=environment, capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 0, done.stdout
    assert "# pass 3" in done.stdout
    assert "act(" not in done.stdout, done.stdout


def test_the_page_uses_what_the_hook_gives() -> None:
    code, hook = program("React", "jsx"), (REACT / "useChannel.js").read_text()
    (used,) = re.findall(r"const (\{.*?\}) = useChannel\(client, ", code)
    assert f"return {used};" in hook


def test_no_program_of_the_page_goes_without_a_test() -> None:
    tested = {
        *(
            "Browser",
            "Browser without a library",
            "EventSource",
            "React",
            "Node",
            "Protobuf",
            "curl",
        ),
        *("Python with centrifuge-python", "Python with websockets", "websocat", "wscat"),
        "One way, without a library",
    }
    assert set(re.findall(r"^## (.*)", PAGE, re.M)) == tested


async def _hears(page: Page, gateway: GatewayProcess, code: str, **given: Any) -> None:
    """Run the program in the page, and publish until its console has the message."""
    heard = asyncio.Event()
    page.on("console", lambda said: heard.set() if "Hola canal" in said.text else None)
    await page.evaluate(f"async ({{{', '.join(given)}}}) => {{\n{code}\n}}", given)
    writer = make_token("paula", "publisher")
    async with asyncio.timeout(SECONDS):
        while not heard.is_set():
            await publish(gateway.http, "noticias", "Hola canal", writer)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(heard.wait(), 0.1)
