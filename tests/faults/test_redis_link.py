"""Connections to Redis that break again and again, and a Redis that is told to pause."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.faults.support.cluster import Cluster, cluster
from tests.faults.support.oracle import judge
from tests.faults.support.publishers import Retry, publishing, several
from tests.faults.support.records import Journal, Outcome
from tests.faults.support.results import record, seconds
from tests.faults.support.subscribers import audience, crowd
from tests.faults.support.timing import interruption_seconds, recovery_seconds
from tests.faults.support.watching import Watch

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

LISTENERS = 60
PER_SECOND = 200
CHANNELS = [f"room-{n}" for n in range(6)]
STORM_SECONDS = 0.3


async def by_redis(gateways: Cluster) -> None:
    await asyncio.to_thread(gateways.ask_redis, "CLIENT", "KILL", "TYPE", "pubsub")


async def by_the_network(gateways: Cluster) -> None:
    for proxy in gateways.proxies:
        proxy.reset_all()


@pytest.mark.parametrize("cut", [by_redis, by_the_network])
async def test_a_storm_of_resets_loses_nothing(
    directory: Path, cut: Callable[[Cluster], Awaitable[None]]
) -> None:
    """F12"""
    journal = Journal()
    async with cluster(directory, is_proxied=cut is by_the_network) as gateways:
        listeners = crowd(LISTENERS, CHANNELS, gateways.ports)
        publishers = several(
            5, CHANNELS, gateways.ports, journal, per_second=PER_SECOND, retry=Retry.UNTIL_STORED
        )
        # Without a key: a gateway that repeats what got no answer makes a copy that is heard.
        keyless = several(3, CHANNELS, gateways.ports, journal, per_second=PER_SECOND / 2)
        for number, publisher in enumerate(keyless):
            publisher.name = f"keyless-{number}"
        # One message on each channel, while the gateways are cut off for the last time: no later
        # one shows that it is missing.
        last_words = several(len(CHANNELS), CHANNELS, gateways.ports, journal, per_second=6)
        for number, publisher in enumerate(last_words):
            publisher.name = f"last-words-{number}"
        async with audience(journal, *listeners) as everybody:
            with Watch(gateways.gateways) as watch:
                async with publishing(*publishers, *keyless):
                    await asyncio.sleep(1)
                    began = time.monotonic()
                    cuts = 0
                    while time.monotonic() < began + seconds(10, 60):
                        await cut(gateways)
                        cuts += 1
                        await asyncio.sleep(STORM_SECONDS)
                    ended = time.monotonic()
                    await asyncio.sleep(3)
                await cut(gateways)
                async with publishing(*last_words):
                    await asyncio.sleep(0.1)
                await everybody.until_caught_up()
            repaired = sum(gateways.health(index)["messages_repaired"] for index in range(3))
        verdict = judge(journal)
    verdict.require_clean()
    assert verdict.announced == 0
    repeated = [a for a in journal.attempts if a.publisher.startswith("publisher")]
    stored = {attempt.id for attempt in repeated if attempt.outcome is Outcome.OK}
    assert {attempt.id for attempt in repeated} == stored
    assert {len(listener.log.visits) for listener in listeners} == {1}
    assert repaired > 0
    assert watch.lag_p99_seconds() < 0.2
    name = "pub/sub" if cut is by_redis else "all"
    record(
        "F12" if cut is by_redis else "F12b",
        f"{name} connections to Redis reset every {STORM_SECONDS} s for {seconds(10, 60)} s",
        verdict.figures(),
        cuts=cuts,
        repaired=repaired,
        longest_silence_seconds=round(interruption_seconds(journal, began), 2),
        recovered_seconds=round(recovery_seconds(journal, ended), 2),
    )


@pytest.mark.parametrize("mode", ["ALL", "WRITE"])
async def test_a_pause_of_redis_makes_no_copies(directory: Path, mode: str) -> None:
    """F13"""
    journal = Journal()
    async with cluster(directory) as gateways:
        listeners = crowd(LISTENERS, CHANNELS, gateways.ports)
        # Without a key nothing is repeated, and what is unknown may have come through.
        publishers = several(2, CHANNELS, gateways.ports, journal, per_second=40)
        publishers += several(
            4, CHANNELS, gateways.ports, journal, per_second=PER_SECOND, retry=Retry.UNTIL_STORED
        )
        for number, publisher in enumerate(publishers):
            publisher.name = f"{publisher.name}-{number}"
        async with audience(journal, *listeners) as everybody:
            with Watch(gateways.gateways) as watch:
                async with publishing(*publishers):
                    await asyncio.sleep(1)
                    paused_at = time.monotonic()
                    gateways.ask_redis("CLIENT", "PAUSE", 5000, mode)
                    await asyncio.sleep(5)
                    over_at = time.monotonic()
                    await asyncio.sleep(seconds(5, 10))
                await everybody.until_caught_up()
        verdict = judge(journal)
    verdict.require_clean()
    assert verdict.announced == 0
    assert {len(listener.log.visits) for listener in listeners} == {1}
    # Degraded, not dead: it goes on answering, and says that it is not ready.
    for index in range(3):
        assert all(sample.ready for sample in watch.of(index, paused_at))
        assert watch.first(index, paused_at, ready=False) is not None
        assert watch.of(index)[-1].ready == 200
    assert watch.lag_p99_seconds() < 0.2
    record(
        "F13" if mode == "ALL" else "F13b",
        f"CLIENT PAUSE 5000 {mode}",
        verdict.figures(),
        recovered_seconds=round(recovery_seconds(journal, over_at), 2),
    )
