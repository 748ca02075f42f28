"""A guide of docs/guides, done step by step as a reader would.

Its fenced blocks say all that a test needs to know:

- ``sh`` is typed into the reader's first terminal, and has to come to its end; ``sh terminal=2``
  is typed into another one, and may go on for as long as it likes. With ``ctrl-c`` the program
  that runs there is interrupted first.
- ``text`` is what is printed then. Where none is shown, the commands have to succeed. ``…`` stands
  for what differs from run to run, on a line of its own for any lines. ``text terminal=2`` is what
  the other terminal prints next, sooner or later.
- ``toml file=NAME`` (or any other language) is saved under that name.

Nothing else is allowed, so nothing of a guide goes without its test.
"""

import contextlib
import os
import re
import sys
from pathlib import Path

from tests.support.pages import ROOT
from tests.support.servers import free_port
from tests.support.terminal import Terminal

FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.M | re.S)
# The numbers that a guide may use for ports, and for nothing else.
PORT = re.compile(r"(?<![\d.])(?:80\d\d|84\d\d|91\d\d|63\d\d|263\d\d)(?!\d)")
SECONDS = 90.0
# A node of a Redis Cluster has another port, this much above its own.
CLUSTER_PORT_DISTANCE = 10_000


class Guide:
    """One guide and the directory that its reader works in."""

    def __init__(self, name: str, directory: Path) -> None:
        self._text = (ROOT / "docs" / "guides" / name).read_text()
        self._directory = directory
        self._ports: dict[str, int] = {}

    def follow(self) -> None:
        """Do it all, and fail where it is not as the guide says."""
        with contextlib.ExitStack() as stack:
            terminals: dict[str, Terminal] = {}
            done: tuple[str, int] | None = None
            for language, words, block in FENCE.findall(self._text):
                options = dict(word.partition("=")[::2] for word in words.split())
                number = options.pop("terminal", "1")
                if number not in terminals:
                    opened = Terminal(self._directory, self._environment())
                    terminals[number] = stack.enter_context(opened)
                here, body = terminals[number], self._with_our_ports(block)
                if language == "text":
                    if number == "1":
                        assert done is not None, f"no command prints this:\n{block}"
                        assert expected(body).fullmatch(done[0]), f"not {body}\nbut {done[0]}"
                        done = None
                    else:
                        here.shows(expected(body), SECONDS)
                    continue
                self._succeeded(done)
                done = None
                if language == "sh":
                    if "ctrl-c" in options:
                        here.interrupt(SECONDS)
                        options.pop("ctrl-c")
                    here.start(body)
                    if number == "1":
                        done = here.finish(SECONDS)
                else:
                    (self._directory / options.pop("file")).write_text(body)
                assert not options, options
            self._succeeded(done)

    @staticmethod
    def _succeeded(done: tuple[str, int] | None) -> None:
        if done is not None:
            printed, code = done
            assert code == 0, printed

    def _environment(self) -> dict[str, str]:
        """That of a reader who has done what docs/README.md says, with port 8000 elsewhere."""
        port = self._with_our_ports("8000")
        env = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
        env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}:/usr/sbin"
        env["CHECKOUT"] = str(ROOT)
        return env | {"GATEWAY_PORT": port, "GATEWAY_URL": f"http://127.0.0.1:{port}"}

    def _with_our_ports(self, text: str) -> str:
        """The same text with ports that are free here, each always the same one."""

        def ours(port: re.Match[str]) -> str:
            while port[0] not in self._ports:
                if (free := free_port()) <= 65_535 - CLUSTER_PORT_DISTANCE:
                    self._ports[port[0]] = free
            return str(self._ports[port[0]])

        return PORT.sub(ours, text)


def expected(shown: str) -> re.Pattern[str]:
    """A pattern for what a guide shows."""
    lines = []
    for line in shown.splitlines():
        if line.strip() == "…":
            lines.append(r"(?:.*\n)*?")
        else:
            lines.append(re.escape(line.rstrip()).replace("…", ".*?") + r"[ \t]*\n")
    return re.compile("".join(lines))
