"""Two thousand listeners lose their gateway in one moment, and all come to the one that is left."""

import asyncio
import random
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.faults.support.cluster import Cluster, cluster
from tests.faults.support.oracle import judge
from tests.faults.support.publishers import Retry, publishing, several
from tests.faults.support.records import Journal
from tests.faults.support.results import record, seconds
from tests.faults.support.subscribers import Listener, audience
from tests.faults.support.timing import interruption_seconds
from tests.faults.support.watching import Watch
from tests.support.servers import required

pytestmark = [pytest.mark.faults, pytest.mark.busy, pytest.mark.timeout(240)]

HERD = 2000
OTHERS = 100
CHANNELS = [f"room-{n}" for n in range(20)]
PER_SECOND = 20
RATE = 250  # newcomers a second, and so many at once
LATER = 1013
BACKOFF_SECONDS, BACKOFF_SECONDS_MAX = 0.5, 10.0


class Jittered(Listener):
    """Comes back at any moment between at once and twice as late as the time before."""

    def _next_pause(self) -> float:
        self._turn = 1
        self._failures += 1
        return random.uniform(0, min(BACKOFF_SECONDS_MAX, BACKOFF_SECONDS * 2**self._failures))


def history_reads(gateways: Cluster) -> int:
    stats: dict[str, Any] = gateways.ask_redis("INFO", "commandstats")
    return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("xrange", "xrevrange"))


def dropped_by_listener(port: int) -> int:
    """Connections that the kernel has dropped because nobody accepted them in time."""
    command = [required("ss"), "-Hltnm", f"sport = :{port}"]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    found = re.search(r"skmem:\(\S*,d(\d+)\)", printed)
    assert found, printed
    return int(found[1])


def p99(values: Sequence[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


async def test_a_herd_is_let_in_at_a_pace_and_loses_nothing(directory: Path) -> None:
    """F21"""
    journal = Journal()
    settings: dict[str, Any] = {
        "handshakes_per_second_max": RATE,
        "handshakes_burst_max": RATE,
        "ping_interval_seconds": 60,
    }
    async with cluster(directory, 2, **settings) as gateways:
        first, second = gateways.ports
        herd = [
            Jittered(f"one-{n}", CHANNELS[n % len(CHANNELS)], [first, second]) for n in range(HERD)
        ]
        others = [
            Listener(f"other-{n}", CHANNELS[n % len(CHANNELS)], [second]) for n in range(OTHERS)
        ]
        publishers = several(
            2, CHANNELS, [second], journal, per_second=PER_SECOND, retry=Retry.UNTIL_STORED
        )
        async with audience(journal, *others) as everybody:
            for start in range(0, HERD, RATE // 5):
                everybody.add(*herd[start : start + RATE // 5])
                await asyncio.sleep(0.25)
            async with publishing(*publishers):
                # Who has heard something knows where it was.
                await everybody.until(lambda one: bool(one.last and one.last.epoch), "heard", 20)
                assert {one.port for one in herd} == {first}
                await asyncio.sleep(seconds(1, 5))
                reads = history_reads(gateways)
                paced = gateways.health(1)["sockets_refused_by_pace"]
                with Watch(gateways.gateways[1:]) as watch:
                    killed_at = gateways.kill(0)
                    await everybody.until(
                        lambda one: one.is_open and one.port == second and is_back(one, killed_at),
                        "everybody is back",
                        90,
                    )
                    await asyncio.sleep(seconds(1, 5))
            await everybody.until_caught_up(30)
            reads = history_reads(gateways) - reads
            health = gateways.health(1)
            paced = health["sockets_refused_by_pace"] - paced
            drops = dropped_by_listener(second)
        verdict = judge(journal)
    verdict.require_clean()
    assert verdict.announced == 0
    assert health["sockets_open"] == HERD + OTHERS
    knocks = [visit for one in herd for visit in one.log.visits if visit.began > killed_at]
    let_in = [visit for visit in knocks if visit.code != LATER]
    # A full bucket, and what has dripped into it: nobody is let in before it is his turn.
    arrivals = sorted(visit.opened - killed_at for visit in let_in)
    assert all(place <= RATE + RATE * after for place, after in enumerate(arrivals, 1))
    # Those who gave up while they waited for an answer were counted here, too.
    assert paced >= len(knocks) - len(let_in) > 0
    # Who was in before has noticed nothing.
    assert not any(one.log.refusals for one in others)
    assert {len(one.log.visits) for one in others} == {1}
    assert reads <= len(let_in) + len(CHANNELS)  # nobody asks twice
    assert drops == 0
    record(
        "F21",
        f"{HERD} listeners cut at once by kill -9 of one of 2 gateways, "
        f"{RATE} newcomers a second, full jitter",
        verdict.figures(),
        handshake_p99_seconds=round(p99([visit.opened - visit.began for visit in knocks]), 2),
        everybody_back_seconds=round(arrivals[-1], 2),
        refused_by_pace=paced,
        history_reads_per_channel=round(reads / len(CHANNELS), 1),
        syn_drops=drops,
        lag_p99_ms=round(watch.lag_p99_seconds() * 1000),
        longest_silence_of_the_others_seconds=round(
            interruption_seconds(Journal(listeners=[one.log for one in others]), killed_at), 2
        ),
    )


def is_back(listener: Listener, since: float) -> bool:
    """Let in, and not only told when to come again."""
    visit = listener.log.visits[-1]
    return bool(visit.events) or visit.began < since
