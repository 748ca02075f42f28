"""A network of its own for one side of a test, and a cable that can be cut."""

import contextlib
import ctypes
import itertools
import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from tests.support.servers import missing, required

_T = TypeVar("_T")
_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count()


class Namespace:
    """Its ``address`` is reached from here by a cable whose end here is ``host_address``."""

    def __init__(self) -> None:
        pid, number = os.getpid(), next(_numbers)
        self.name = f"gw{pid}-{number}"
        self._here, self._there = f"gw{pid}h{number}", f"gw{pid}n{number}"
        # Out of what is set aside for tests of networks (RFC 2544).
        start = f"198.{18 + pid // 256 % 2}.{pid % 256}."
        self.host_address = f"{start}{number * 4 % 256 + 1}"
        self.address = f"{start}{number * 4 % 256 + 2}"

    def make(self) -> None:
        done = subprocess.run(
            [required("ip"), "netns", "add", self.name], capture_output=True, text=True, timeout=10
        )
        if done.returncode != 0:
            missing("a network namespace", f"root may make one: {done.stderr.strip()}")
        _ip("link", "add", self._here, "type", "veth", "peer", self._there, "netns", self.name)
        _ip("address", "add", f"{self.host_address}/30", "dev", self._here)
        _ip("link", "set", self._here, "up")
        _ip("-n", self.name, "address", "add", f"{self.address}/30", "dev", self._there)
        _ip("-n", self.name, "link", "set", self._there, "up")
        _ip("-n", self.name, "link", "set", "lo", "up")

    def remove(self) -> None:
        """The cable goes with it; whatever still runs in there keeps the rest alive."""
        subprocess.run(["ip", "netns", "delete", self.name], capture_output=True, timeout=10)
        subprocess.run(["ip", "link", "delete", self._here], capture_output=True, timeout=10)

    def command(self, *command: str) -> list[str]:
        """The command as it runs in there, with the process id that it has here."""
        return [required("ip"), "netns", "exec", self.name, *command]

    def call(self, function: Callable[[], _T]) -> _T:
        """Call it in there: the sockets that it makes stay there."""
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(self._inside, function).result()

    def cut(self) -> None:
        """Nothing comes or goes any more, and nobody is told."""
        _ip("-n", self.name, "link", "set", self._there, "down")

    def isolate(self, *, but_port: int) -> None:
        """Drop whatever passes the cable, but what belongs to this TCP port in there."""
        port = str(but_port)
        self._iptables("INPUT", "-i", self._there, "-p", "tcp", "--dport", port, "-j", "ACCEPT")
        self._iptables("OUTPUT", "-o", self._there, "-p", "tcp", "--sport", port, "-j", "ACCEPT")
        self._iptables("INPUT", "-i", self._there, "-j", "DROP")
        self._iptables("OUTPUT", "-o", self._there, "-j", "DROP")

    def heal(self) -> None:
        """Undo `isolate`."""
        subprocess.run(self.command(required("iptables"), "-w", "-F"), check=True, timeout=10)

    def _iptables(self, *rule: str) -> None:
        command = self.command(required("iptables"), "-w", "-A", *rule)
        subprocess.run(command, check=True, timeout=10)

    def _inside(self, function: Callable[[], _T]) -> _T:
        # For this thread only, which ends with the call.
        with Path(f"/run/netns/{self.name}").open() as file:
            if _LIBC.setns(file.fileno(), _CLONE_NEWNET):
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
        return function()


def _ip(*arguments: str) -> None:
    subprocess.run([required("ip"), *arguments], check=True, timeout=10)


@contextlib.contextmanager
def namespace() -> Iterator[Namespace]:
    """One that is removed in the end; skipped, and under CI failed, where nobody may make one."""
    made = Namespace()
    try:
        made.make()
        yield made
    finally:
        made.remove()
