"""A gateway that is there no more from one moment to the next."""

import asyncio
from pathlib import Path

import pytest

from tests.faults.support.cluster import cluster, eventually
from tests.faults.support.oracle import judge
from tests.faults.support.publishers import Retry, publishing, several
from tests.faults.support.records import Journal
from tests.faults.support.results import record, seconds
from tests.faults.support.subscribers import audience, crowd
from tests.faults.support.timing import interruption_seconds
from tests.faults.support.watching import Watch

LISTENERS = 300
PER_SECOND = 500
CHANNELS = [f"room-{n}" for n in range(10)]
LEASE_SECONDS = 3


@pytest.mark.busy
@pytest.mark.timeout(120)
async def test_listeners_of_a_killed_gateway_go_on_elsewhere(directory: Path) -> None:
    """F01"""
    journal = Journal()
    async with cluster(directory, lease_seconds=LEASE_SECONDS) as gateways:
        listeners = crowd(LISTENERS, CHANNELS, gateways.ports)
        publishers = several(
            5, CHANNELS, gateways.ports, journal,
            per_second=PER_SECOND, batch=5, retry=Retry.UNTIL_STORED,
        )  # fmt: skip
        async with audience(journal, *listeners) as everybody:
            assert set(gateways.listening_replicas(CHANNELS).values()) == {3}
            with Watch(gateways.gateways) as watch:
                async with publishing(*publishers):
                    await asyncio.sleep(seconds(2, 10))
                    killed_at = gateways.kill(0)
                    await asyncio.sleep(seconds(4, 20))
                await everybody.until_caught_up()
            await eventually(
                lambda: set(gateways.listening_replicas(CHANNELS).values()) == {2},
                "Redis has forgotten the gateway",
                5,
            )
            sockets = {listener.log.name: 1 for listener in listeners}
            await eventually(
                lambda: gateways.connected(1) == sockets,
                "nobody is counted on the dead gateway",
                LEASE_SECONDS + 3,
            )
        verdict = judge(journal)
    verdict.require_clean()
    assert verdict.announced == 0
    moved = [listener for listener in listeners if len(listener.log.visits) > 1]
    assert len(moved) >= LISTENERS / 3
    assert {listener.log.visits[-1].replica for listener in listeners} == {
        str(port) for port in gateways.ports[1:]
    }
    assert watch.lag_p99_seconds() < 0.2
    silence = interruption_seconds(journal, killed_at)
    assert silence < 5
    record(
        "F01",
        f"kill -9 of one of 3 gateways, {LISTENERS} listeners, {PER_SECOND} messages/s",
        verdict.figures(),
        longest_silence_seconds=round(silence, 2),
        lag_p99_ms=round(watch.lag_p99_seconds() * 1000),
    )
