"""Clients who are gone without a word: no end arrives, and nothing else does."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.support.cluster import cluster, eventually
from tests.faults.support.namespaces import namespace
from tests.faults.support.oracle import judge
from tests.faults.support.proxy import proxy_to
from tests.faults.support.publishers import publishing, several
from tests.faults.support.records import Journal
from tests.faults.support.results import record, seconds
from tests.faults.support.subscribers import audience, crowd
from tests.support.clients import RawClient, make_token

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]

GONE = 20
STAYING = 20
BUSY, IDLE = "busy", "idle"


@pytest.mark.parametrize("is_proxy", [False, True], ids=["link down", "black hole"])
async def test_who_is_cut_off_without_a_word_is_gone_in_time(
    directory: Path, is_proxy: bool
) -> None:
    """F19: by a link that goes down, and by a path that takes everything and brings nothing."""
    journal = Journal()
    ping = int(seconds(3, 10))
    async with contextlib.AsyncExitStack() as stack:
        far = None if is_proxy else stack.enter_context(namespace())
        host = "127.0.0.1" if far is None else far.host_address
        gateways = await stack.enter_async_context(
            cluster(directory, 1, host=host, ping_interval_seconds=ping, ping_timeout_seconds=ping)
        )
        near = await stack.enter_async_context(proxy_to(gateways.ports[0], host))
        hole = await stack.enter_async_context(proxy_to(gateways.ports[0], host))
        listeners = crowd(STAYING, [BUSY, IDLE], [near.port])
        publishers = several(1, [BUSY], [near.port], journal, per_second=50)
        users = {f"gone-{n}": (BUSY, IDLE)[n % 2] for n in range(GONE)}

        def come(port: int, host: str) -> list[RawClient]:
            made = []
            for user, channel in users.items():
                client = RawClient(port, host=host)
                stack.callback(client.close)
                made.append(client.listen(channel, make_token(user)))
            return made

        async with audience(journal, *listeners) as everybody:
            async with publishing(*publishers):
                if far is None:
                    await asyncio.to_thread(come, hole.port, "127.0.0.1")
                else:
                    port = gateways.ports[0]
                    await asyncio.to_thread(far.call, lambda: come(port, host))
                await eventually(lambda: users.keys() <= gateways.connected(0).keys(), "all in")
                assert gateways.health(0)["sockets_open"] == GONE + STAYING
                cut: Callable[[], None] = hole.black_hole if far is None else far.cut
                cut()
                cut_at = time.monotonic()
                await eventually(
                    lambda: gateways.health(0)["sockets_open"] == STAYING, "closed", 60
                )
                closed_seconds = time.monotonic() - cut_at
                await eventually(
                    lambda: users.keys().isdisjoint(gateways.connected(0)), "forgotten", 60
                )
                forgotten_seconds = time.monotonic() - cut_at
                dead = gateways.health(0)["sockets_dead_closed"]
            await everybody.until_caught_up()
        verdict = judge(journal)
    verdict.require_clean()
    assert dead == GONE
    assert {len(listener.log.visits) for listener in listeners} == {1}
    assert forgotten_seconds < 2 * ping + 1.5
    record(
        "F19b" if is_proxy else "F19",
        f"{GONE} clients behind {'a black hole' if is_proxy else 'a link that goes down'}, "
        f"ping {ping} s, time-out {ping} s",
        verdict.figures(),
        closed_seconds=round(closed_seconds, 2),
        forgotten_seconds=round(forgotten_seconds, 2),
    )
