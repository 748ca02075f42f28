"""An hour of load, of coming and going, and of one fault after the other: nothing grows."""

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.faults.support.cluster import Cluster, cluster
from tests.faults.support.oracle import Verdict, judge
from tests.faults.support.publishers import Retry, publishing, several
from tests.faults.support.records import Journal
from tests.faults.support.results import record
from tests.faults.support.subscribers import Audience, Listener, audience, crowd
from tests.support.clients import RawClient, make_token

SECONDS = float(os.environ.get("SOAK_SECONDS", "3600"))
ROUND_SECONDS = 60.0
LISTENERS = 100
PER_SECOND = 100
CHURN_PER_SECOND = 5
VISIT_SECONDS = (0.2, 10.0)
MB = 1_000_000
GROWTH_MB_MAX = 20
GROWTH_DESCRIPTORS_MAX = 10

pytestmark = [pytest.mark.soak, pytest.mark.timeout(SECONDS + 600)]


async def kill_a_gateway(gateways: Cluster) -> None:
    gateways.kill(0)
    await asyncio.sleep(5)
    await gateways.restart(0)


async def cut_the_link_to_redis(gateways: Cluster) -> None:
    for _ in range(20):
        gateways.ask_redis("CLIENT", "KILL", "TYPE", "pubsub")
        await asyncio.sleep(0.3)


async def never_read(gateways: Cluster) -> None:
    with RawClient(gateways.ports[1], receive_buffer=4096).listen("soak-deaf", make_token("deaf")):
        await asyncio.sleep(10)


async def partition(gateways: Cluster) -> None:
    for proxy in gateways.proxies:
        proxy.black_hole()
    await asyncio.sleep(8)
    for proxy in gateways.proxies:
        proxy.heal()


async def freeze_redis(gateways: Cluster) -> None:
    gateways.redis.freeze()
    await asyncio.sleep(5)
    gateways.redis.thaw()


FAULTS: list[Callable[[Cluster], Awaitable[None]]] = [
    kill_a_gateway, cut_the_link_to_redis, never_read, partition, freeze_redis,
]  # fmt: skip


async def come_and_go(everybody: Audience, channels: list[str], ports: list[int]) -> None:
    """Short visits, several a second; their logs count like everybody's."""

    async def visit(listener: Listener) -> None:
        try:
            async with asyncio.timeout(random.uniform(*VISIT_SECONDS)):
                await listener.run()
        except TimeoutError:
            pass  # that was its visit
        finally:
            for visit in listener.log.visits:
                visit.closed = min(visit.closed, time.monotonic())

    async with asyncio.TaskGroup() as group:
        while True:
            name = f"churn-{random.randrange(10**9)}"
            listener = Listener(name, random.choice(channels), random.sample(ports, len(ports)))
            everybody.note(listener)
            group.create_task(visit(listener))
            await asyncio.sleep(1 / CHURN_PER_SECOND)


async def one_round(gateways: Cluster, number: int) -> Verdict:
    """Load, churn and one fault, judged by themselves: an hour's journal would fill the memory."""
    journal = Journal()
    channels = [f"soak-{number}-{n}" for n in range(5)]
    ports = gateways.ports
    publishers = several(
        4, channels, ports, journal, per_second=PER_SECOND, retry=Retry.UNTIL_STORED
    )
    async with audience(journal, *crowd(LISTENERS, channels, ports)) as everybody:
        churn = asyncio.create_task(come_and_go(everybody, channels, ports))
        async with publishing(*publishers, seconds=30):
            await asyncio.sleep(5)
            await FAULTS[number % len(FAULTS)](gateways)
            await asyncio.sleep(min(ROUND_SECONDS, SECONDS / len(FAULTS)))
        churn.cancel()
        await asyncio.gather(churn, return_exceptions=True)
        await everybody.until_caught_up(30)
    return judge(journal)


async def test_nothing_grows_and_nothing_is_lost_in_the_long_run(directory: Path) -> None:
    """F34"""
    total = Verdict()
    footprints: list[dict[int, tuple[int, int]]] = []
    async with cluster(directory, is_proxied=True) as gateways:
        began = time.monotonic()
        number = 0
        while time.monotonic() < began + SECONDS or number < 2:
            verdict = await one_round(gateways, number)
            verdict.require_clean()
            total.sent_ok += verdict.sent_ok
            total.delivered += verdict.delivered
            total.announced += verdict.announced
            await asyncio.sleep(5)  # what was left is let go
            footprints.append(gateways.footprint())
            number += 1
    # The first rounds fill what may be filled; the gateway that is killed starts anew.
    settled, last = footprints[min(len(FAULTS), len(footprints) - 2)], footprints[-1]
    grown = max((last[index][0] - settled[index][0]) / MB for index in (1, 2))
    opened = max(last[index][1] - settled[index][1] for index in (1, 2))
    assert total.announced == 0
    assert grown < GROWTH_MB_MAX
    assert opened < GROWTH_DESCRIPTORS_MAX
    record(
        "F34",
        f"{SECONDS / 60:.0f} minutes of load, churn and faults in turn",
        total.figures(),
        rounds=number,
        grown_mb=round(grown, 1),
        descriptors=opened,
    )
