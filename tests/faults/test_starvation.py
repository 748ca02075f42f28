"""A machine that has too little of something: no core that is free, no file descriptor."""

import asyncio
import contextlib
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.faults.support.cluster import cluster, eventually
from tests.faults.support.http import HttpConnection
from tests.faults.support.oracle import judge
from tests.faults.support.publishers import publishing, several
from tests.faults.support.records import Journal
from tests.faults.support.results import record, seconds
from tests.faults.support.subscribers import Listener, audience, crowd
from tests.faults.support.timing import latency_p99_seconds, recovery_seconds
from tests.faults.support.watching import Watch, descriptors
from tests.support.clients import RawClient, call
from tests.support.servers import GatewayProcess, status_of

pytestmark = [pytest.mark.faults, pytest.mark.busy, pytest.mark.timeout(150)]

CHANNELS = ["room-0", "room-1", "room-2"]
BUSY_LOOPS = 24
PING: dict[str, Any] = {"ping_interval_seconds": 5, "ping_timeout_seconds": 20}
LATE_SECONDS = 0.025
FILES = 256


@contextlib.contextmanager
def starved(pids: Sequence[int], duration: float) -> Iterator[None]:
    """These processes share one core with so many others that want it all."""
    core = max(os.sched_getaffinity(0))
    before = os.sched_getaffinity(pids[0])
    program = (
        f"import time\nend = time.monotonic() + {duration}\nwhile time.monotonic() < end: pass"
    )
    loops = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(BUSY_LOOPS)]
    try:
        for pid in (*pids, *(loop.pid for loop in loops)):
            _confine(pid, {core})
        yield
        for loop in loops:
            assert loop.wait(duration) == 0
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
        for pid in pids:
            _confine(pid, before)


def _confine(pid: int, cores: set[int]) -> None:
    for thread in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread), cores)


def late_samples(gateway: GatewayProcess) -> int:
    """How often its event loop came too late to what was due, by its own account."""
    metrics = call(gateway.http + "/metrics").body.decode()
    name = "gateway_loop_lag_seconds"
    (in_time,) = re.findall(rf'^{name}_bucket{{.*le="{LATE_SECONDS}".*}} (\S+)$', metrics, re.M)
    (all_in_all,) = re.findall(rf"^{name}_count(?:{{.*}})? (\S+)$", metrics, re.M)
    return round(float(all_in_all) - float(in_time))


async def test_who_gets_no_core_is_slow_and_cuts_nobody_off(directory: Path) -> None:
    """F26: an answer to a ping that waits to be read is not an answer that is missing."""
    journal = Journal()
    async with cluster(directory, **PING) as gateways:
        listeners = crowd(60, CHANNELS, gateways.ports)
        # Pings go to those to whom nothing else goes.
        quiet = [f"quiet-{n}" for n in range(60)]
        listeners += [
            Listener(f"at-{name}", name, [gateways.ports[n % 3]]) for n, name in enumerate(quiet)
        ]
        publishers = several(4, CHANNELS, gateways.ports, journal, per_second=50)
        async with audience(journal, *listeners) as everybody:
            before = sum(map(late_samples, gateways.gateways))
            async with publishing(*publishers):
                began = time.monotonic()
                pids = [gateway.pid for gateway in gateways.gateways]
                with starved([*pids, gateways.redis.pid], seconds(10, 30)):
                    await asyncio.sleep(seconds(8, 28))
                ended = time.monotonic()
                async with publishing(*several(1, quiet, gateways.ports, journal, per_second=60)):
                    await asyncio.sleep(3)
            await everybody.until_caught_up()
            late = sum(map(late_samples, gateways.gateways)) - before
            health = [gateways.health(index) for index in range(3)]
        verdict = judge(journal)
    verdict.require_clean()
    assert verdict.announced == 0
    assert {len(listener.log.visits) for listener in listeners} == {1}
    assert {each["sockets_dead_closed"] + each["sockets_slow_closed"] for each in health} == {0}
    assert late > 0  # an operator can see what is the matter
    record(
        "F26",
        f"3 gateways and Redis on one core with {BUSY_LOOPS} busy loops for {seconds(10, 30)} s",
        verdict.figures(),
        late_loops=late,
        latency_p99_ms=round(latency_p99_seconds(journal, began, ended) * 1000),
        recovered_seconds=round(recovery_seconds(journal, ended), 2),
    )


async def test_without_file_descriptors_those_who_are_there_go_on(directory: Path) -> None:
    """F27: also when the way to Redis breaks meanwhile, and a new one needs a descriptor, too."""
    journal = Journal()
    async with cluster(directory, request_timeout_seconds=60) as gateways:
        poor = gateways.gateways[0]
        listeners = crowd(30, CHANNELS, gateways.ports)
        publishers = several(4, CHANNELS, gateways.ports, journal, per_second=100)
        async with audience(journal, *listeners) as everybody:
            with Watch(gateways.gateways) as watch:
                async with publishing(*publishers):
                    await asyncio.sleep(2)
                    before = descriptors(poor.pid)
                    hard = resource.prlimit(poor.pid, resource.RLIMIT_NOFILE)[1]
                    resource.prlimit(poor.pid, resource.RLIMIT_NOFILE, (FILES, hard))
                    # A new connection would not be answered, so who asks comes early.
                    asking = HttpConnection(poor.port)
                    assert (await asking.ask("GET", "/readyz")).status == 200
                    broken_at = time.monotonic()
                    crowding = [RawClient(poor.port) for _ in range(FILES + 50)]
                    try:
                        await eventually(
                            lambda: "no connection can be accepted" in poor.log, "it says so", 10
                        )
                        answer = await asking.ask("GET", "/readyz")
                        asking.close()
                        assert answer.status == 503
                        assert "no connection can be accepted" in answer.json["reason"]
                        busy, since = cpu_seconds(poor.pid), time.monotonic()
                        await asyncio.sleep(seconds(3, 8))
                        cut_at = time.monotonic()
                        gateways.ask_redis("CLIENT", "KILL", "TYPE", "pubsub")
                        await asyncio.sleep(seconds(3, 8))
                        busy = (cpu_seconds(poor.pid) - busy) / (time.monotonic() - since)
                    finally:
                        for client in crowding:
                            client.close()
                    healed_at = time.monotonic()
                    await eventually(
                        lambda: status_of(poor.http + "/readyz") == 200, "it is ready again", 10
                    )
                    ready = time.monotonic() - healed_at
                    await asyncio.sleep(2)
                await everybody.until_caught_up()
            await eventually(
                lambda: descriptors(poor.pid) <= before + 5, "the descriptors are given back", 20
            )
            assert "Traceback" not in poor.log, poor.log[-3000:]
            pauses = gateways.health(0)["accept_pauses"]
        verdict = judge(journal)
    verdict.require_clean()
    assert verdict.announced == 0
    # Whoever was connected to it stays; who only asked it for something new goes elsewhere.
    assert {len(listener.log.visits) for listener in listeners} == {1}
    assert busy < 0.5
    assert pauses >= 1
    meanwhile = [s for s in watch.of(0, broken_at + 2, healed_at) if s.answered < healed_at]
    assert meanwhile
    assert 200 not in {sample.ready for sample in meanwhile}
    for other in (1, 2):
        assert {sample.ready for sample in watch.of(other, until=cut_at)} == {200}
    record(
        "F27",
        f"one of 3 gateways with {FILES} file descriptors, all taken, and cut off from Redis",
        verdict.figures(),
        core_share=round(busy, 2),
        ready_again_seconds=round(ready, 2),
        recovered_seconds=round(recovery_seconds(journal, healed_at), 2),
        lag_p99_ms=round(watch.lag_p99_seconds() * 1000),
    )


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
