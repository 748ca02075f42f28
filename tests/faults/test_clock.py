"""A replica whose clock jumps by ten minutes while everybody else's goes on."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.faults.support.clocks import Clock
from tests.faults.support.cluster import Cluster, cluster, eventually
from tests.faults.support.oracle import judge
from tests.faults.support.publishers import Retry, publishing, several
from tests.faults.support.records import Journal
from tests.faults.support.results import record, seconds
from tests.faults.support.subscribers import audience, crowd
from tests.faults.support.watching import Watch
from tests.support.accounts import TRUSTED, Person, member
from tests.support.clients import ISSUER, Answer, call, make_token

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

LISTENERS = 60
PER_SECOND = 100
CHANNELS = ["room-0", "room-1", "room-2"]
WRONG, RIGHT = 0, 1  # whose clock is wrong, and one whose clock is right
SHIFT = 600
LEASE_SECONDS = 3  # of `cluster`


@contextlib.asynccontextmanager
async def with_a_clock(directory: Path) -> AsyncIterator[tuple[Cluster, Clock]]:
    """Three gateways, and the hands of the first one's clock."""
    async with cluster(directory, **TRUSTED) as gateways:
        clock = Clock(directory / "clock")
        gateways.kill(WRONG)
        clock.set_in(gateways.gateways[WRONG])
        await gateways.restart(WRONG)
        yield gateways, clock


async def until_shifted(gateways: Cluster, shift: int) -> None:
    def is_shifted() -> bool:
        said = datetime.fromisoformat(gateways.health(WRONG)["timestamp"]).timestamp()
        return abs(said - time.time() - shift) < 5

    await eventually(is_shifted, f"the clock is {shift} s off")


def old_token(sub: str, *roles: str) -> str:
    """Made long enough ago to count whatever time it is."""
    issued_at = int(time.time()) - 2 * SHIFT
    return ISSUER.issue(sub, lifetime_seconds=7200, roles=roles, issued_at=issued_at)


def is_accepted_by(gateways: Cluster, token: str) -> list[bool]:
    return [Person(gateway.http).is_accepted(token) for gateway in gateways.gateways]


def publish_with_key(gateways: Cluster, index: int, key: str) -> Answer:
    return call(
        f"{gateways.gateways[index].http}/publish/keys",
        token=old_token("paula", "publisher"),
        json_body={"data": key},
        headers={"Idempotency-Key": key},
    )


async def check_keys(gateways: Cluster) -> None:
    """What was published with a key is known by it, whoever's clock says what."""
    for n, (first, second) in enumerate([(WRONG, RIGHT), (RIGHT, WRONG)]):
        key = f"key-{time.monotonic()}-{n}"
        answers = [
            await asyncio.to_thread(publish_with_key, gateways, index, key)
            for index in (first, second, first)
        ]
        assert {answer.status for answer in answers} == {200}
        assert len({(answer.json["epoch"], answer.json["offset"]) for answer in answers}) == 1


async def check_tokens(gateways: Cluster, shift: int) -> None:
    """A token counts by the clock of whoever is asked, and no further than the leeway."""
    short = make_token("short", ttl=300)
    assert is_accepted_by(gateways, short) == [False, True, True]
    assert is_accepted_by(gateways, old_token("old")) == [True, True, True]
    person = await asyncio.to_thread(member, gateways.gateways[WRONG].http)
    # From the future it counts nowhere else; from the past it has five of its 15 minutes left.
    assert is_accepted_by(gateways, person.access_token) == [True, shift < 0, shift < 0]


@pytest.mark.parametrize("shift", [SHIFT, -SHIFT], ids=["ahead", "behind"])
async def test_a_clock_that_jumps_changes_neither_order_nor_who_is_there(
    directory: Path, shift: int
) -> None:
    """F25"""
    journal = Journal()
    async with with_a_clock(directory) as (gateways, clock):
        listeners = crowd(LISTENERS, CHANNELS, gateways.ports, token=old_token("crowd"))
        publishers = several(
            6,
            CHANNELS,
            gateways.ports,
            journal,
            per_second=PER_SECOND,
            retry=Retry.UNTIL_STORED,
            token=old_token("publisher", "publisher"),
        )
        async with audience(journal, *listeners) as everybody:
            with Watch(gateways.gateways) as watch:
                async with publishing(*publishers):
                    await asyncio.sleep(2)
                    clock.shift(shift)
                    await until_shifted(gateways, shift)
                    await asyncio.to_thread(as_crowd, gateways)
                    await check_keys(gateways)
                    await check_tokens(gateways, shift)
                    # Longer than a replica that says nothing is remembered.
                    for _ in range(round(seconds(3, 6))):
                        await asyncio.sleep(LEASE_SECONDS / 2)
                        await asyncio.to_thread(as_crowd, gateways)
                    assert {len(listener.log.visits) for listener in listeners} == {1}
                    for listener in listeners:
                        assert listener.socket is not None
                        listener.socket.abort()
                    await everybody.until(lambda one: len(one.log.visits) == 2, "all are back")
                    await everybody.until_open()
                    await asyncio.sleep(1)
                    clock.shift(0)
                    await until_shifted(gateways, 0)
                    await check_keys(gateways)
                    await asyncio.sleep(2 * LEASE_SECONDS)
                    await asyncio.to_thread(as_crowd, gateways)
                await everybody.until_caught_up()
        verdict = judge(journal)
    verdict.require_clean()
    assert (verdict.sent_fail, verdict.sent_unknown, verdict.announced) == (0, 0, 0)
    assert {len(listener.log.visits) for listener in listeners} == {2}
    for index in range(3):
        assert {sample.ready for sample in watch.of(index)} == {200}
    record(
        "F25" if shift > 0 else "F25b",
        f"the clock of one of 3 gateways {shift:+d} s, and right again",
        verdict.figures(),
        lag_p99_ms=round(watch.lag_p99_seconds() * 1000),
    )


def as_crowd(gateways: Cluster) -> None:
    """Every replica knows of every socket of every other one."""
    for gateway in gateways.gateways:
        answer = call(f"{gateway.http}/users/connected", token=old_token("root", "admin"))
        assert answer.status == 200, answer.body
        assert [(one["user"], one["connections"]) for one in answer.json["users"]] == [
            ("crowd", LISTENERS)
        ]


async def test_a_clock_that_is_ahead_revives_no_token(directory: Path) -> None:
    """F25: what it takes for expired, others do not, so it must not throw revocations away."""
    async with with_a_clock(directory) as (gateways, clock):
        token = make_token("machine", ttl=SHIFT // 2)
        answer = call(f"{gateways.gateways[RIGHT].http}/logout", token=token, method="POST")
        assert answer.status == 200
        clock.shift(SHIFT)
        await until_shifted(gateways, SHIFT)
        # It reads, and tidies up, what it may have missed.
        gateways.ask_redis("CLIENT", "KILL", "TYPE", "pubsub")
        await gateways.until_ready()
        await asyncio.sleep(2)
        assert is_accepted_by(gateways, token)[RIGHT] is False
        gateways.kill(RIGHT)
        await gateways.restart(RIGHT)
        assert is_accepted_by(gateways, token)[RIGHT] is False


async def test_a_clock_that_is_behind_revokes_what_was_issued_until_now(directory: Path) -> None:
    """F25: an administrator means now, whoever is asked to do it."""
    async with with_a_clock(directory) as (gateways, clock):
        clock.shift(-SHIFT)
        await until_shifted(gateways, -SHIFT)
        person = await asyncio.to_thread(member, gateways.gateways[RIGHT].http)
        answer = call(
            f"{gateways.gateways[WRONG].http}/users/{person.name}/disable",
            token=old_token("root", "admin"),
            method="POST",
        )
        assert answer.status == 200, answer.body
        await eventually(
            lambda: not Person(gateways.gateways[RIGHT].http).is_accepted(person.access_token),
            "the token of the user who was disabled is refused",
            5,
        )
