"""The load generator, end to end with tiny numbers: what it prints, and that it notices."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.bench.checker import Misdelivered
from gateway.bench.crew import hired
from gateway.bench.machine import Cores
from gateway.bench.servers import CHANNEL, REFERENCES, Lab
from gateway.bench.stream import RING, Stream, delivered
from gateway.bench.target import Kind, Target
from tests.support.clients import make_token
from tests.support.servers import GatewayProcess, gateway_environment, required

pytestmark = pytest.mark.long

CORES = Cores.divide(frozenset(os.sched_getaffinity(0)))
FRAMES = delivered(CHANNEL)


def test_a_tiny_run_prints_a_table_and_writes_json(directory: Path) -> None:
    required("redis-server")
    required("cc")

    done = bench(directory, "--quick", "--only", "fan-out", "--sockets", "20", "--json", "b.json")

    assert done.returncode == 0, done.stderr
    assert "20 sockets, 1 channel, 1 outstanding" in done.stdout
    assert "C send() loop" in done.stdout
    assert "fan-out: " in done.stderr
    report = json.loads((directory / "b.json").read_text())
    assert report.keys() == {"machine", "figures", "notes", "failures", "seconds"}
    assert {"cpu", "cores", "python", "gateway", "uvicorn"} <= report["machine"].keys()
    figures = {figure["name"]: figure for figure in report["figures"]}
    assert {"fan-out-1", "fan-out-16", "fan-out-1-redis", "fan-out-1-cpu"} <= figures.keys()
    assert figures["fan-out-1"].keys() >= {"value", "unit", "ratio", "ratio_min", "is_reached"}
    assert figures["fan-out-1"]["value"] > 0
    assert report["failures"] == []


def test_all_scenarios_run_with_few_sockets(directory: Path) -> None:
    required("redis-server")
    scenarios = ["crowd", "connects", "channels", "rest", "latency"]

    done = bench(directory, "--quick", "--sockets", "10", *(f"--only={name}" for name in scenarios))

    assert done.returncode == 0, done.stderr
    for words in ("memory per idle socket", "connects", "10 channels", "per request", "p99"):
        assert words in done.stdout


def test_what_is_kept_is_measured(directory: Path) -> None:
    required("redis-server")
    required("cc")

    done = bench(directory, "--quick", "--only=history", "--sockets=10", "--json=b.json")

    assert done.returncode == 0, done.stderr
    assert "10 sockets resume at once, 50 messages behind" in done.stdout
    figures = {f["name"]: f for f in json.loads((directory / "b.json").read_text())["figures"]}
    measured = {"history-1", "history-16", "history-1-bare", "history-16-bare"}
    assert measured | {"history-reads", "resumes", "resume-herd"} <= figures.keys()
    assert all(figure["value"] > 0 for name, figure in figures.items() if "cpu" not in name)
    assert all(figure["is_reached"] is None for figure in figures.values())


def test_a_running_server_is_measured_from_outside(
    gateway: GatewayProcess, directory: Path
) -> None:
    token = make_token("bench", "publisher")

    done = bench(directory, "--quick", "--sockets=10", f"--url={gateway.ws}", f"--token={token}")

    assert done.returncode == 0, done.stderr
    assert "10 sockets, 1 channel, 16 outstanding" in done.stdout
    assert "CPU per" not in done.stdout


def test_a_token_that_may_not_publish_fails_the_run(
    gateway: GatewayProcess, directory: Path
) -> None:
    token = make_token("bench")

    done = bench(
        directory,
        "--quick",
        "--sockets=4",
        f"--url={gateway.ws}",
        f"--token={token}",
        "--only=rest",
    )

    assert done.returncode == 1
    assert "FAILED rest: a request was answered with" in done.stderr


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--only", "everything"], "everything is none of"),
        (["--sockets", "0"], "at least 1"),
        (["--url", "ws://192.0.2.1", "--token", "t"], "--i-own-this-server"),
    ],
)
def test_bad_options_are_refused_in_one_line(
    options: list[str], problem: str, directory: Path
) -> None:
    done = bench(directory, *options)

    assert done.returncode == os.EX_CONFIG
    assert problem in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_server_that_keeps_its_order_passes(directory: Path) -> None:
    with send_loop(directory, FRAMES) as target, hired(2, CORES) as crew:
        crew.open("loop", target, 5, in_flight=4)

        count = crew.fan_out("loop", seconds=0.1, outstanding=3)

    assert count.count > 0
    assert count.count % 5 == 0


@pytest.mark.parametrize(
    ("order", "problem"),
    [
        ([0, 1, 3, 2], "message 2: message 3 came instead"),
        ([0, 1, 3, 4], "message 2: message 3 came instead, 1 were lost"),
        ([0, 1, 1, 2], "message 2: message 1 came again"),
    ],
    ids=["swapped", "lost", "doubled"],
)
def test_a_server_that_does_not_fails_the_run(
    order: list[int], problem: str, directory: Path
) -> None:
    wrong = [FRAMES[number] for number in order] + FRAMES[4:RING]
    with send_loop(directory, wrong) as target, hired(2, CORES) as crew:
        crew.open("loop", target, 5, in_flight=4)

        with pytest.raises(Misdelivered, match=problem):
            crew.fan_out("loop", seconds=5, outstanding=3)


def test_without_a_compiler_the_loop_is_one_in_python(directory: Path) -> None:
    lab = Lab(CORES, directory)
    lab.compiler = None

    with lab.send_loop() as server:
        assert "Python" in lab.send_loop_name
        assert server.target.control_port > 0


def bench(directory: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "gateway", "bench", *options]
    env = gateway_environment(jwt_secret=None)
    return subprocess.run(
        command, cwd=directory, env=env, capture_output=True, text=True, timeout=55
    )


@contextmanager
def send_loop(directory: Path, frames: list[bytes]) -> Iterator[Target]:
    """The loop in Python, with frames of our choice."""
    ring = directory / "ring"
    ring.write_bytes(b"".join(frames))
    program = [sys.executable, str(REFERENCES / "send_loop.py")]
    process = subprocess.Popen(
        [*program, str(ring), str(Stream(FRAMES).frame_bytes)], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        port, control_port = map(int, process.stdout.readline().split())
        yield Target(Kind.LOOP, "127.0.0.1", port, CHANNEL, control_port=control_port)
    finally:
        process.kill()
        process.communicate()
