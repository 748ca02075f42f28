"""A real Prometheus, its tools, and the little of its text form that tests read."""

import re
import subprocess
import urllib.parse
from pathlib import Path
from typing import Any

from tests.support.clients import call
from tests.support.servers import Process, free_port, required, status_of

_SAMPLE = re.compile(r"(?P<name>\w+)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)")


def scrape(url: str) -> dict[str, float]:
    """Every sample, by its name and labels as they are written."""
    answer = call(url)
    assert answer.status == 200, answer.body
    return samples_of(answer.body.decode())


def samples_of(text: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            assert _SAMPLE.fullmatch(line), line
            assert name not in found, f"twice: {name}"
            found[name] = float(value)
    return found


def names_of(samples: dict[str, float]) -> set[str]:
    return {name.partition("{")[0] for name in samples}


def promtool(*arguments: str, stdin: str = "", cwd: Path | None = None) -> str:
    """Run promtool, which has to be content; returns what it said."""
    done = subprocess.run(
        [required("promtool"), *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=cwd,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


class PrometheusApi:
    """What a running Prometheus knows."""

    def __init__(self, port: int) -> None:
        self.http = f"http://127.0.0.1:{port}"

    def is_ready(self) -> bool:
        return status_of(self.http + "/-/ready") == 200

    def ask(self, path: str) -> Any:
        answer = call(f"{self.http}/api/v1/{path}")
        assert answer.status == 200, answer.body
        return answer.json["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        query = urllib.parse.urlencode({"query": expression})
        found: list[dict[str, Any]] = self.ask(f"query?{query}")["result"]
        return found

    def value(self, expression: str) -> float | None:
        """The one value of an expression; None while there is none."""
        found = self.query(expression)
        assert len(found) <= 1, found
        return float(found[0]["value"][1]) if found else None


class Prometheus(PrometheusApi, Process):
    """Scrapes as its configuration says, which stands beside its rules in the directory."""

    def __init__(self, directory: Path, config: Path) -> None:
        port = free_port()
        PrometheusApi.__init__(self, port)
        command = [
            required("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        Process.__init__(self, command, directory / "prometheus.log")

    def start(self) -> None:
        super().start()
        self.wait_ready(self.is_ready, "prometheus")
