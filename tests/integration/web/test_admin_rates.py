"""How the page at /admin makes rates of counters, in Node."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

import gateway.web
from tests.support.servers import required

RATES = Path(gateway.web.__file__).parent / "static" / "admin" / "rates.js"


def run(expression: str) -> Any:
    code = f"{RATES.read_text()}\nconsole.log(JSON.stringify({expression}));"
    command = [required("node"), "--input-type=module", "-"]
    done = subprocess.run(command, input=code, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def channel_rates(*looks: tuple[float, str, int]) -> list[float | None]:
    steps = ", ".join(
        f"rates.take([{{channel: 'room', epoch: '{epoch}', offset: {offset}}}], {time}).get('room')"
        for time, epoch, offset in looks
    )
    found: list[float | None] = run(
        f"(() => {{ const rates = new ChannelRates(); return [{steps}] }})()"
    )
    return found


@pytest.mark.parametrize(
    ("looks", "wanted"),
    [
        ([(0, "e", 5), (2, "e", 9), (4, "e", 9)], [None, 2, 1]),
        ([(0, "", 0), (2, "e", 4)], [None, 2]),  # its first message makes the epoch
        ([(0, "e", 5), (2, "f", 9), (4, "f", 11)], [None, None, 1]),
        ([(0, "e", 5), (2, "e", 1_000_000_005)], [None, None]),  # behind a restart of Redis
        ([(0, "e", 5), (11, "e", 9)], [None, None]),  # the tab was hidden
    ],
)
def test_the_rate_of_a_channel(
    looks: list[tuple[float, str, int]], wanted: list[float | None]
) -> None:
    assert channel_rates(*looks) == wanted


def test_replicas_are_measured_by_their_own_clocks_and_added_up() -> None:
    def line(name: str, uptime: float, deliveries: int, counts: list[int]) -> dict[str, Any]:
        latency = {"bounds_seconds": [0.001, 0.01], "counts": counts}
        return {
            "replica": name,
            "uptime_seconds": uptime,
            "published": 0,
            "deliveries": deliveries,
            "latency": latency,
        }

    first = [line("a", 10, 100, [5, 0, 0]), line("b", 500, 900, [0, 0, 0])]
    then = [line("a", 12, 300, [15, 0, 0]), line("b", 1, 7, [0, 0, 0])]  # b began anew
    last = [line("a", 14, 500, [15, 10, 0]), line("b", 2, 17, [10, 0, 0])]
    points = run(
        "(() => { const rates = new ReplicaRates();"
        f" {json.dumps([first, then, last])}.forEach((lines, n) => rates.take(lines, n));"
        " return rates.points })()"
    )
    assert [point["deliveries"] for point in points] == [None, 100, 110]
    assert [point["p99"] is None for point in points] == [True, False, False]
    assert points[2]["median"] == pytest.approx(0.001)
    assert points[2]["p99"] == pytest.approx(0.001 + 0.009 * 0.98)


def test_the_values_above_all_bounds_are_at_least_the_last_bound() -> None:
    assert run("quantile(0.99, [1, 2], [0, 0, 5])") == 2
    assert run("quantile(0.99, [1, 2], [0, 0, 0])") is None
