"""A Redis without memory for one more message."""

import asyncio
import time
from pathlib import Path

import pytest

from tests.faults.support.cluster import cluster, eventually
from tests.faults.support.oracle import judge
from tests.faults.support.publishers import Publisher, publishing
from tests.faults.support.records import Journal, Outcome
from tests.faults.support.results import record, seconds
from tests.faults.support.subscribers import audience, crowd
from tests.faults.support.timing import recovery_seconds
from tests.faults.support.watching import Watch

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]

LISTENERS = 60
CHANNELS = [f"room-{n}" for n in range(6)]
KEPT_NOWHERE = ("--save", "", "--appendonly", "no")
MB = 1_048_576


async def test_a_full_redis_takes_nothing_and_says_so_until_it_has_room(directory: Path) -> None:
    """F16"""
    journal = Journal()
    options = (*KEPT_NOWHERE, "--maxmemory-policy", "noeviction", "--maxmemory", str(5 * MB))
    async with cluster(directory, redis_options=options) as gateways:
        ports = gateways.ports
        listeners = crowd(LISTENERS, CHANNELS, ports)
        publishers = [
            Publisher(
                f"publisher-{n}", CHANNELS, [ports[n]], journal, per_second=60, data_bytes=5000
            )
            for n in range(3)
        ]
        async with audience(journal, *listeners) as everybody:
            with Watch(gateways.gateways) as watch:
                async with publishing(*publishers):
                    await eventually(
                        lambda: all(refused(journal, each.name) for each in publishers),
                        "everybody is refused",
                        40,
                    )
                    await asyncio.sleep(seconds(5, 20))
                    gateways.ask_redis("CONFIG", "SET", "maxmemory", 100 * MB)
                    healed_at = time.monotonic()
                    await asyncio.sleep(seconds(3, 10))
                await everybody.until_caught_up()
            await gateways.until_ready(seconds=10)
        verdict = judge(journal)
    verdict.require_clean()
    full_at = min(a.began for a in journal.attempts if a.outcome is not Outcome.OK)
    meanwhile = [a for a in journal.attempts if full_at <= a.began and a.ended < healed_at]
    others = {a.why.partition(" ")[0] for a in meanwhile if a.outcome is not Outcome.OK}
    assert others == {"503"}
    assert verdict.sent_unknown == 0  # Redis has said no, and that is known
    assert verdict.announced == 0
    assert {len(listener.log.visits) for listener in listeners} == {1}
    assert watch.lag_p99_seconds() < 0.2
    recovered = recovery_seconds(journal, healed_at)
    assert recovered < 3
    record(
        "F16",
        f"Redis full for {seconds(5, 20)} s, noeviction",
        verdict.figures(),
        acked_while_full=sum(a.outcome is Outcome.OK for a in meanwhile),
        recovered_seconds=round(recovered, 2),
        lag_p99_ms=round(watch.lag_p99_seconds() * 1000),
    )


def refused(journal: Journal, publisher: str) -> bool:
    return any(a.outcome is not Outcome.OK for a in journal.attempts if a.publisher == publisher)


async def test_what_redis_throws_away_is_announced(directory: Path) -> None:
    """F16: a channel whose state was evicted begins again, in a new epoch."""
    journal = Journal()
    options = (*KEPT_NOWHERE, "--maxmemory-policy", "allkeys-lru", "--maxmemory", str(5 * MB))
    # Who comes back to a channel that was silent meanwhile meets a state that is not there.
    channels = [f"room-{n}" for n in range(60)]
    async with cluster(directory, redis_options=options) as gateways:
        ports = gateways.ports
        for gateway in gateways.gateways:
            assert "maxmemory-policy allkeys-lru" in gateway.log
        listeners = crowd(2 * len(channels), channels, ports)
        publishers = [
            Publisher(f"publisher-{n}", channels[n::3], [ports[n]], journal, per_second=60,
                      data_bytes=5000)
            for n in range(3)
        ]  # fmt: skip
        async with audience(journal, *listeners) as everybody:
            with Watch(gateways.gateways) as watch:
                async with publishing(*publishers):
                    await asyncio.sleep(seconds(20, 40))
                await everybody.until_caught_up(30)
            evicted = gateways.ask_redis("INFO", "stats")["evicted_keys"]
            assert evicted > 0
        verdict = judge(journal)
    verdict.require_clean()
    epochs = {a.place.epoch for a in journal.attempts if a.place is not None}
    assert watch.lag_p99_seconds() < 0.2
    record(
        "F16b",
        f"Redis full for {seconds(20, 40)} s, allkeys-lru",
        verdict.figures(),
        evicted_keys=evicted,
        epochs=len(epochs),
        channels=len(channels),
    )
