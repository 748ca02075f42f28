"""Redis forgets what was revoked, and those who were shut out knock all the time."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from tests.faults.support.cluster import Cluster, cluster, eventually
from tests.faults.support.oracle import judge
from tests.faults.support.publishers import Retry, publishing, several
from tests.faults.support.records import Journal
from tests.faults.support.results import is_full, record, seconds
from tests.faults.support.subscribers import Listener, audience, crowd
from tests.support.clients import call, make_token
from tests.support.redis_sets import sentinel_set
from tests.support.servers import replicas

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

LISTENERS = 30
SHUT_OUT = 12
CHANNELS = ["room-0", "room-1"]
REFUSED, LATER = 1008, 1013


async def emptied(gateways: Cluster) -> None:
    """No connection breaks, so nobody looks before the minute is over in which each replica does.

    That is too long for every run; `make faults` waits until Redis knows again what it lost.
    """
    gateways.ask_redis("FLUSHALL")
    if is_full():
        await until_put_back(gateways, 75)


async def emptied_and_the_gateways_killed(gateways: Cluster) -> None:
    """Who starts afterwards never knew what was revoked, and Redis does not know it any more."""
    gateways.ask_redis("FLUSHALL")
    for index in range(len(gateways.gateways)):
        gateways.kill(index)
        await gateways.restart(index)


async def killed_and_empty_after_two_seconds(gateways: Cluster) -> None:
    gateways.redis.kill()
    await asyncio.sleep(2)
    await asyncio.to_thread(gateways.redis.start)
    await gateways.until_ready()


async def until_put_back(gateways: Cluster, seconds: float) -> None:
    await eventually(
        lambda: gateways.ask_redis("HLEN", "gw:revocations") == SHUT_OUT,
        "Redis has been given back what was revoked",
        seconds,
    )


@pytest.mark.parametrize(
    ("fault", "lose"),
    [
        ("F15", emptied),
        ("F15b", emptied_and_the_gateways_killed),
        ("F15c", killed_and_empty_after_two_seconds),
    ],
)
async def test_a_redis_that_has_lost_everything_lets_nobody_in_again(
    directory: Path, fault: str, lose: Callable[[Cluster], Awaitable[None]]
) -> None:
    """F15"""
    async with cluster(directory) as gateways:
        title = f"Redis {lose.__name__.replace('_', ' ')}"
        await knock_while(fault, title, gateways.ports, lambda: lose(gateways))
        if lose is not emptied:
            await until_put_back(gateways, 15)  # whoever connects anew looks at once


async def test_a_replica_that_becomes_master_and_never_heard_of_it_lets_nobody_in_again(
    directory: Path,
) -> None:
    """F15"""
    with contextlib.ExitStack() as stack:
        redis = await asyncio.to_thread(stack.enter_context, sentinel_set(directory))
        settings = {
            "redis_url": redis.url,
            "database_url": f"sqlite:///{directory / 'accounts.db'}",
            "history_messages": 10_000,
            "drain_seconds": 0,
        }
        gateways = await asyncio.to_thread(stack.enter_context, replicas(directory, 3, **settings))
        redis.ask(redis.replica, "CONFIG", "SET", "masterauth", "wrong")
        redis.ask(redis.replica, "CLIENT", "KILL", "TYPE", "master")

        async def fail_over() -> None:
            assert not redis.ask(redis.replica, "EXISTS", "gw:revocations")
            redis.master.kill()
            await eventually(lambda: redis.role(redis.replica) == "master", "the failover", 20)

        title = "failover to a replica without the revocations"
        await knock_while("F15d", title, [gateway.port for gateway in gateways], fail_over)
        assert redis.ask(redis.replica, "HLEN", "gw:revocations") == SHUT_OUT


async def knock_while(
    fault: str, title: str, ports: Sequence[int], lose: Callable[[], Awaitable[None]]
) -> None:
    """Others publish and listen meanwhile; whatever one of the shut out hears is a leak."""
    journal = Journal()
    shut_out = [revoked(f"shut-out-{n}", CHANNELS[n % 2], ports) for n in range(SHUT_OUT)]
    listeners = crowd(LISTENERS, CHANNELS, ports)
    publishers = several(3, CHANNELS, ports, journal, per_second=60, retry=Retry.UNTIL_STORED)
    async with audience(journal, *listeners) as everybody:
        everybody.add(*shut_out)
        async with publishing(*publishers):
            await asyncio.sleep(seconds(1, 3))
            await lose()
            lost_at = time.monotonic()
            everywhere = {str(port) for port in ports}
            await everybody.until(
                lambda one: one.log.may_listen or refusals_of(one, lost_at) == everywhere,
                "everybody who is shut out was refused by every gateway",
                40,
            )
            await asyncio.sleep(seconds(1, 5))
        await everybody.until_caught_up(30)
    verdict = judge(journal)
    verdict.require_clean()
    visits = [visit for listener in shut_out for visit in listener.log.visits if not visit.is_open]
    assert {visit.code for visit in visits} <= {REFUSED, LATER, 1006}
    refused = [visit for visit in visits if visit.code == REFUSED]
    assert {visit.reason for visit in refused} == {"the token has been revoked: logout"}
    assert {visit.is_open for one in shut_out for visit in one.log.visits[:-1]} == {False}
    record(fault, title, verdict.figures(), knocks=len(visits), refused=len(refused))


def revoked(name: str, channel: str, ports: Sequence[int]) -> Listener:
    token = make_token(name)
    answer = call(f"http://127.0.0.1:{ports[0]}/logout", token=token, method="POST")
    assert answer.status == 200, answer.body
    return Listener(name, channel, ports, token=token, may_listen=False)


def refusals_of(listener: Listener, since: float) -> set[str]:
    """The gateways that have refused it since."""
    visits = [visit for visit in listener.log.visits if visit.code == REFUSED]
    return {visit.replica for visit in visits if visit.opened >= since}
