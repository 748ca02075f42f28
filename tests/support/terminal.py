"""A terminal with a shell in it, in which a test does what a page tells its reader to do."""

import contextlib
import os
import re
import signal
import subprocess
import termios
import time
from pathlib import Path
from typing import Self

import pytest

# Behind each block of commands; no program prints this.
END = re.compile("\x1e(\\d+)\x1e\n")
DRIVER = """
set -m  # as in a terminal: Ctrl-C is for the program in front, and not for those behind
trap : INT
while IFS= read -r block <&"$BLOCKS"; do . "$block"; printf '\\036%d\\036\\n' $?; done
"""
# What a shell says about its own jobs, and when, is not what a page shows.
ENDS = r"(?:Done|Exit \d+|Killed|Terminated) .*\n"
JOBS = re.compile(
    rf"/[^\s\"]+\.sh: line \d+: +\d+ {ENDS}|\[\d+\][+-]? +{ENDS}|\n\[\d+\][+-]? +Stopped .*\n"
)


class Terminal:
    """Blocks of commands run in one shell, one after the other; variables and jobs stay."""

    def __init__(self, directory: Path, env: dict[str, str]) -> None:
        self._directory = directory
        self._env = env
        self._printed = ""
        self._blocks = 0
        self._script = ""

    def __enter__(self) -> Self:
        self._screen, keyboard = os.openpty()
        attributes = termios.tcgetattr(keyboard)
        attributes[1] &= ~termios.OPOST  # no carriage returns
        attributes[3] &= ~termios.ECHO  # what is typed is not what is printed
        termios.tcsetattr(keyboard, termios.TCSANOW, attributes)
        termios.tcsetwinsize(keyboard, (50, 200))
        os.set_blocking(self._screen, False)
        told, self._tell = os.pipe()
        self._shell = subprocess.Popen(
            ["setsid", "--ctty", "bash", "-c", DRIVER],
            cwd=self._directory,
            env=self._env | {"BLOCKS": str(told), "TERM": "dumb", "NO_COLOR": "1"},
            stdin=keyboard,
            stdout=keyboard,
            stderr=keyboard,
            pass_fds=[told],
        )
        os.close(told)
        os.close(keyboard)
        return self

    def start(self, script: str) -> None:
        """Run a block; whatever was printed before it is forgotten."""
        self._blocks += 1
        block = self._directory.with_name(f"{self._directory.name}-{id(self)}-{self._blocks}.sh")
        block.write_text(script)
        self._script = script
        self._printed = ""
        os.write(self._tell, f"{block}\n".encode())

    def finish(self, seconds: float) -> tuple[str, int]:
        """What the block printed, and its exit code, when it has come to its end."""
        deadline = time.monotonic() + seconds
        while (ended := END.search(self._read())) is None:
            if time.monotonic() > deadline:
                pytest.fail(
                    f"not done in {seconds} s:\n{self._script}\nit printed:\n{self._printed}"
                )
            time.sleep(0.02)
        printed, self._printed = self._printed[: ended.start()], self._printed[ended.end() :]
        return JOBS.sub("", printed), int(ended[1])

    def shows(self, expected: re.Pattern[str], seconds: float) -> None:
        """Wait until what is printed next is as expected; what was seen is not seen again."""
        deadline = time.monotonic() + seconds
        while (seen := expected.match(self._read())) is None:
            if time.monotonic() > deadline:
                pytest.fail(f"expected:\n{expected.pattern}\nprinted:\n{self._printed}")
            time.sleep(0.02)
        self._printed = self._printed[seen.end() :]

    def interrupt(self, seconds: float) -> None:
        """Press Ctrl-C, and wait for the end of the program in front."""
        os.write(self._screen, b"\x03")
        self.finish(seconds)

    def _read(self) -> str:
        with contextlib.suppress(BlockingIOError, OSError):  # nothing yet; nobody there any more
            while read := os.read(self._screen, 65536):
                self._printed += read.decode(errors="replace")
        return self._printed

    def __exit__(self, *_: object) -> None:
        os.close(self._tell)
        for pid in _session(self._shell.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._shell.wait()
        os.close(self._screen)


def _session(leader: int) -> list[int]:
    """Every process that was started in the terminal, in the background as well."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader:
                members.append(int(stat.parent.name))
    return members
