"""A master that dies or freezes while everybody publishes and listens, and what is lost then."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.faults.support.oracle import judge
from tests.faults.support.publishers import publishing, several
from tests.faults.support.records import Attempt, Heard, Journal, Outcome, Place
from tests.faults.support.results import record
from tests.faults.support.subscribers import Listener, audience, crowd
from tests.faults.support.timing import publishing_recovery_seconds, recovery_seconds
from tests.support.certificates import make_certificate
from tests.support.clients import listen, make_token, publish, receive_json
from tests.support.redis_sets import DOWN_AFTER_SECONDS, SentinelSet, TlsFiles, sentinel_set
from tests.support.servers import GatewayProcess, RedisServer, replicas, status_of

CHANNELS = [f"room-{n}" for n in range(4)]
DEAF_SECONDS_MAX = DOWN_AFTER_SECONDS + 5
_PATIENCE_SECONDS = 20.0

pytestmark = pytest.mark.long


@pytest.fixture
def redis(request: pytest.FixtureRequest, directory: Path) -> Iterator[SentinelSet]:
    """Without TLS, unless the test has it as its parameter."""
    is_tls = getattr(request, "param", "") == "tls"
    tls = TlsFiles(*make_certificate(directory / "tls")) if is_tls else None
    with sentinel_set(directory, tls) as started:
        yield started


@pytest.fixture
def gateways(redis: SentinelSet, directory: Path) -> Iterator[list[GatewayProcess]]:
    with replicas(directory, 2, redis_url=redis.url, history_messages=10_000) as started:
        yield started


async def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline, f"not within {_PATIENCE_SECONDS} s: {what}"
        await asyncio.sleep(0.05)


def all_heard_since(journal: Journal, since: float) -> bool:
    """Whether every listener heard something that was published after that moment."""
    fresh = {a.id for a in journal.attempts if a.began >= since}
    return all(
        any(isinstance(event, Heard) and event.id in fresh for event in log.visits[-1].events)
        for log in journal.listeners
    )


def all_ready(gateways: Sequence[GatewayProcess]) -> bool:
    return all(status_of(gateway.http + "/readyz") == 200 for gateway in gateways)


async def publish_to(rooms: Sequence[str], gateway: GatewayProcess, journal: Journal) -> None:
    """Publish one message to each, and see that it is acknowledged."""
    for room in rooms:
        id, began = secrets.token_hex(6), time.monotonic()
        answer = await publish(gateway.http, room, {"id": id}, make_token("paula", "publisher"))
        assert answer.status == 200, answer
        place = Place(answer.json["epoch"], answer.json["offset"])
        journal.attempts.append(
            Attempt(id, room, "paula", began, time.monotonic(), Outcome.OK, place)
        )


def connections_of_gateways(redis: SentinelSet, node: RedisServer) -> list[str]:
    clients: list[str] = redis.ask(node, "CLIENT", "LIST").splitlines()
    return [client for client in clients if "user=gateway" in client]


@contextlib.asynccontextmanager
async def traffic(gateways: Sequence[GatewayProcess], journal: Journal) -> AsyncIterator[None]:
    """Listeners and publishers on both gateways, and everybody has heard something."""
    ports = [gateway.port for gateway in gateways]
    publishers = several(4, CHANNELS, ports, journal, per_second=200)
    async with audience(journal, *crowd(24, CHANNELS, ports)) as everybody:
        async with publishing(*publishers):
            await eventually(lambda: all_heard_since(journal, 0), "everybody hears")
            yield
        await everybody.until_caught_up()


async def test_listeners_and_publishers_go_on_after_the_master_was_killed(
    redis: SentinelSet, gateways: list[GatewayProcess]
) -> None:
    """F08"""
    journal = Journal()
    async with traffic(gateways, journal):
        killed_at = time.monotonic()
        redis.master.kill()
        await eventually(lambda: all_heard_since(journal, killed_at), "everybody hears again")
    verdict = judge(journal)
    verdict.require_clean()
    deaf_seconds = recovery_seconds(journal, killed_at)
    refusing_seconds = publishing_recovery_seconds(journal, killed_at)
    assert deaf_seconds < DEAF_SECONDS_MAX
    assert refusing_seconds < DEAF_SECONDS_MAX
    record(
        "F08",
        "kill -9 of the master that Sentinel watches, down-after 1.5 s",
        verdict.figures(),
        deaf_seconds=round(deaf_seconds, 2),
        refusing_seconds=round(refusing_seconds, 2),
    )
    assert any(a.outcome is not Outcome.OK for a in journal.attempts)  # a 200 is never a guess


@pytest.mark.parametrize("redis", ["tls"], indirect=True)
async def test_nothing_of_ours_stays_with_a_frozen_master(
    redis: SentinelSet, gateways: list[GatewayProcess]
) -> None:
    """F09: to TCP its connections look alive, and when it wakes up it takes itself for master."""
    journal = Journal()
    async with traffic(gateways, journal):
        frozen_at = time.monotonic()
        redis.master.freeze()
        await eventually(lambda: all_heard_since(journal, frozen_at), "everybody hears again")
        redis.master.thaw()
        await eventually(lambda: not connections_of_gateways(redis, redis.master), "all have left")
        is_master = redis.role(redis.master) == "master"
        thawed_at = time.monotonic()
        await eventually(lambda: redis.role(redis.master) == "slave", "it learns who is master")
        assert connections_of_gateways(redis, redis.replica)
        assert not connections_of_gateways(redis, redis.master)
        await eventually(lambda: all_heard_since(journal, thawed_at), "and everybody goes on")
    verdict = judge(journal)
    verdict.require_clean()
    assert is_master  # or this test has shown nothing
    deaf_seconds = recovery_seconds(journal, frozen_at)
    assert deaf_seconds < DEAF_SECONDS_MAX
    record(
        "F09",
        "SIGSTOP of the master that Sentinel watches, SIGCONT after the failover; TLS",
        verdict.figures(),
        deaf_seconds=round(deaf_seconds, 2),
    )


async def test_what_the_replica_never_got_is_announced_and_its_offsets_are_not_given_again(
    redis: SentinelSet, gateways: list[GatewayProcess]
) -> None:
    """Also where nobody publishes afterwards, and to somebody who comes back only then."""
    journal = Journal()
    ports = [gateway.port for gateway in gateways]
    rooms = ("busy", "quiet")
    listeners = [Listener(f"{room}-{port}", room, [port]) for room in rooms for port in ports]
    async with audience(journal, *listeners) as everybody:
        for _ in range(3):
            await publish_to(rooms, gateways[0], journal)
        await everybody.until_caught_up()
        redis.ask(redis.replica, "CONFIG", "SET", "masterauth", "wrong")
        redis.ask(redis.replica, "CLIENT", "KILL", "TYPE", "master")
        for _ in range(2):
            await publish_to(rooms, gateways[1], journal)
        await everybody.until_caught_up()
        seen = {listener.log.channel: listener.last for listener in listeners}
        assert [place.offset for place in seen.values() if place] == [5, 5]

        redis.master.kill()
        await everybody.until(
            lambda listener: bool(listener.log.visits[-1].told("gap")),
            "everybody is told, though nobody has published since",
        )
        token = make_token("returning")
        async with listen(gateways[0].ws, "quiet", token, f"?since={seen['quiet']}") as socket:
            notice = await receive_json(socket)
        await eventually(lambda: all_ready(gateways), "the gateways are ready")
        await publish_to(rooms, gateways[0], journal)
        await everybody.until_caught_up()
    judge(journal).require_clean()
    first: dict[str, Place] = {}
    for log in journal.listeners:
        (visit,) = log.visits
        (gap,) = visit.told("gap")
        heard = visit.heard()[-1].place
        assert gap.fields["reason"] == "epoch_changed"
        assert (gap.fields["since"], heard.offset) == (str(seen[log.channel]), 1)
        # Gateways and script agree on the epoch, each by itself.
        assert gap.fields["next"] == str(first.setdefault(log.channel, heard))
    assert (notice["type"], notice["since"]) == ("gap", str(seen["quiet"]))
    assert notice["next"] == str(first["quiet"])
