"""A gateway whose process stands still for a while, and then goes on as if nothing had been."""

import asyncio
import time
from functools import partial
from pathlib import Path

import pytest

from tests.faults.support.cluster import Cluster, cluster, eventually
from tests.faults.support.oracle import judge
from tests.faults.support.publishers import Publisher, Retry, publishing, several
from tests.faults.support.records import Journal
from tests.faults.support.results import record, seconds
from tests.faults.support.subscribers import Listener, audience, crowd
from tests.faults.support.timing import interruption_seconds, recovery_seconds

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

CHANNELS = [f"room-{n}" for n in range(5)]


async def test_who_hears_nothing_any_more_leaves_a_frozen_gateway(directory: Path) -> None:
    """F04: some leave when the pings stop, and some stay; both lose nothing."""
    journal = Journal()
    async with cluster(directory, ping_interval_seconds=1, ping_timeout_seconds=5) as gateways:
        alert = crowd(90, CHANNELS, gateways.ports, silence_seconds_max=3.0)
        patient = [Listener(f"patient-{n}", CHANNELS[0], gateways.ports) for n in range(5)]
        publishers = several(
            4, CHANNELS, gateways.ports, journal, per_second=200, retry=Retry.UNTIL_STORED,
            timeout_seconds=3,
        )  # fmt: skip
        async with audience(journal, *alert, *patient) as everybody:
            async with publishing(*publishers):
                await asyncio.sleep(seconds(2, 5))
                gateways.gateways[0].freeze()
                frozen_at = time.monotonic()
                await asyncio.sleep(seconds(10, 30))
                left = [n for n in alert if n.port != gateways.ports[0] and n.is_open]
                gateways.gateways[0].thaw()
                thawed_at = time.monotonic()
                await gateways.until_ready(0, seconds=10)
                await asyncio.sleep(seconds(3, 10))
            await everybody.until_caught_up()
            names = {listener.log.name: 1 for listener in (*alert, *patient)}
            # Nobody is counted on the gateway that they left, on any of the gateways.
            for index in range(3):
                await eventually(
                    partial(is_said, gateways, index, names), "everybody is counted once"
                )
        verdict = judge(journal)
    verdict.require_clean()
    assert verdict.announced == 0
    assert len(left) == len(alert)
    record(
        "F04",
        f"gateway frozen for {seconds(10, 30)} s",
        verdict.figures(),
        longest_silence_of_the_alert_seconds=round(
            interruption_seconds(Journal(listeners=[n.log for n in alert]), frozen_at), 2
        ),
        recovered_seconds=round(recovery_seconds(journal, thawed_at), 2),
    )


def is_said(gateways: Cluster, index: int, connected: dict[str, int]) -> bool:
    return gateways.connected(index) == connected


@pytest.mark.parametrize(
    "outbox_bytes",
    [100_000_000, 1_048_576],
)
async def test_a_gateway_that_redis_gave_up_reads_what_it_missed(
    directory: Path, outbox_bytes: int
) -> None:
    """F14: it reads its link too slowly, and Redis cuts what it has no more room for."""
    journal = Journal()
    async with cluster(
        directory, 2, history_messages=3000, outbox_bytes_max=outbox_bytes
    ) as gateways:
        gateways.ask_redis("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 512kb 5")
        before = gateways.health(0)["messages_repaired"]
        ports = gateways.ports
        listeners = [Listener(f"l{n}", "big", [ports[n % 2]]) for n in range(4)]
        # Through the other gateway, as fast as it goes: megabytes a second.
        publishers = [
            Publisher(
                f"p{n}", ["big"], [ports[1]], journal, per_second=150, batch=10, data_bytes=20_000,
            )
            for n in range(2)
        ]  # fmt: skip
        async with audience(journal, *listeners) as everybody:
            async with publishing(*publishers):
                await asyncio.sleep(1)
                gateways.gateways[0].freeze()
                await asyncio.sleep(4)
                gateways.gateways[0].thaw()
                thawed_at = time.monotonic()
                await asyncio.sleep(seconds(2, 5))
            await everybody.until_caught_up(30)
            repaired = gateways.health(0)["messages_repaired"] - before
            assert "output buffer limits" in gateways.redis.log
        verdict = judge(journal)
    verdict.require_clean()
    assert repaired > 0
    assert verdict.announced == 0
    assert {len(listener.log.visits) for listener in listeners} == {1}
    record(
        "F14",
        "gateway frozen for 4 s while Redis keeps 1 MB for it",
        verdict.figures(),
        repaired=repaired,
        recovered_seconds=round(recovery_seconds(journal, thawed_at), 2),
    )
