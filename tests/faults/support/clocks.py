"""Gateways whose wall clock is wrong, and can be made so while they run."""

from pathlib import Path

from tests.support.servers import GatewayProcess, missing

_READ_SECONDS = 1  # how often a gateway looks at the file; the library's least


class Clock:
    """What a gateway takes for the time: ours, shifted by so many seconds.

    libfaketime answers in place of the kernel. The monotonic clock stays as it is, as it does
    on a machine whose time is set.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.shift(0)

    def shift(self, seconds: int) -> None:
        """Let the clock jump; the gateway notices within two seconds."""
        self._file.write_text(f"{seconds:+d}\n")

    def set_in(self, gateway: GatewayProcess) -> None:
        """It shows the time in this gateway from its next start on."""
        assert gateway._env is not None
        gateway._env |= {
            "LD_PRELOAD": str(_library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": str(_READ_SECONDS),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


def _library() -> Path:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        missing("libfaketime", "'make tools' installs it on Debian")
    return found[0]
