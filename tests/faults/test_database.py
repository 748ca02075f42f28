"""A database of accounts that is away, frozen or locked: those who log in wait, and nobody else."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from gateway.adapters.sql.migrate import upgrade
from tests.faults.support.cluster import Cluster, cluster, eventually
from tests.faults.support.oracle import Verdict, judge
from tests.faults.support.publishers import publishing, several
from tests.faults.support.records import Journal
from tests.faults.support.results import record, seconds
from tests.faults.support.subscribers import Audience, Listener, audience, crowd
from tests.faults.support.watching import Watch
from tests.support.accounts import PASSWORD, TRUSTED, Person, assert_problem, member
from tests.support.clients import Answer, call
from tests.support.databases import PostgresServer

pytestmark = [pytest.mark.faults, pytest.mark.timeout(150)]

LISTENERS = 60
PER_SECOND = 100
CHANNELS = ["room-0", "room-1", "room-2"]
ANSWER_SECONDS_MAX = 4.0  # the time-out of the database, and a second
AT_ONCE = 8


class Freeze:
    async def breaks(self, server: PostgresServer) -> None:
        server.freeze()

    async def heals(self, server: PostgresServer) -> None:
        server.thaw()


class Stop:
    async def breaks(self, server: PostgresServer) -> None:
        await asyncio.to_thread(server.terminate)

    async def heals(self, server: PostgresServer) -> None:
        await asyncio.to_thread(server.start)


@dataclass
class Doorbell:
    """Somebody who tries again and again to log in, at each gateway in turn."""

    gateways: Cluster
    people: list[Person]
    answers: list[tuple[float, float, Answer]] = field(default_factory=list)

    async def run(self) -> None:
        while True:
            for gateway in self.gateways.gateways:
                began = time.monotonic()
                answer = await asyncio.to_thread(log_in, gateway.http, self.people[0].name)
                self.answers.append((began, time.monotonic(), answer))
                await asyncio.sleep(0.1)

    def between(self, since: float, until: float) -> list[tuple[float, float, Answer]]:
        return [a for a in self.answers if since <= a[0] and a[1] <= until]

    def slowest_refusal(self) -> float:
        """Only of these: on a busy machine, hashing a password takes seconds, too."""
        return max(ended - began for began, ended, answer in self.answers if answer.status != 200)


def log_in(http: str, name: str) -> Answer:
    return Person(http, name).log_in(PASSWORD)  # each time from another address


@contextlib.asynccontextmanager
async def ringing(gateways: Cluster, people: list[Person]) -> AsyncIterator[Doorbell]:
    doorbell = Doorbell(gateways, people)
    task = asyncio.create_task(doorbell.run())
    try:
        yield doorbell
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def assert_all_log_in_at_once(gateways: Cluster, people: list[Person]) -> None:
    """No connection of any pool has been lost."""
    answers = await asyncio.gather(
        *(
            asyncio.to_thread(log_in, gateway.http, person.name)
            for gateway in gateways.gateways
            for person in people
        )
    )
    assert {answer.status for answer in answers} == {200}


async def assert_newcomers_are_let_in(gateways: Cluster, everybody: Audience, token: str) -> None:
    """A connect asks nobody: a token is verified by what the replica knows."""
    newcomers = [
        Listener(f"newcomer-{port}", CHANNELS[0], [port], token=token) for port in gateways.ports
    ]
    everybody.add(*newcomers)
    await everybody.until_open(2)
    for gateway in gateways.gateways:
        url = f"{gateway.http}/channels/{CHANNELS[0]}/history"
        for shown, status in ((token, 200), (token[:-8] + "A" * 8, 401)):
            answer = await asyncio.to_thread(call, url, token=shown)
            assert answer.status == status, answer.body


def assert_sockets_did_not_notice(
    gateways: Cluster, journal: Journal, verdict: Verdict, watch: Watch
) -> None:
    verdict.require_clean()
    assert (verdict.sent_fail, verdict.sent_unknown, verdict.announced) == (0, 0, 0)
    assert {len(log.visits) for log in journal.listeners} == {1}
    for index in range(len(gateways.gateways)):
        # A replica whose logins do not work still serves everybody who is logged in.
        assert {sample.ready for sample in watch.of(index)} == {200}
    assert watch.lag_p99_seconds() < 0.2


@pytest.mark.parametrize("fault", [Freeze(), Stop()], ids=["frozen", "down"])
async def test_without_the_database_only_logins_fail(directory: Path, fault: Freeze | Stop) -> None:
    """F23"""
    journal = Journal()
    with PostgresServer() as server:
        await upgrade(server.url)
        async with cluster(directory, database_url=server.url, **TRUSTED) as gateways:
            people = [
                await asyncio.to_thread(member, gateways.gateways[n % 3].http)
                for n in range(AT_ONCE)
            ]
            listeners = crowd(LISTENERS, CHANNELS, gateways.ports)
            publishers = several(4, CHANNELS, gateways.ports, journal, per_second=PER_SECOND)
            async with (
                audience(journal, *listeners) as everybody,
                ringing(gateways, people) as doorbell,
            ):
                with Watch(gateways.gateways) as watch:
                    async with publishing(*publishers):
                        await asyncio.sleep(2)
                        broken_at = time.monotonic()
                        await fault.breaks(server)
                        await asyncio.sleep(seconds(5, 15))
                        await assert_newcomers_are_let_in(
                            gateways, everybody, people[0].access_token
                        )
                        assert gateways.health(0)["database"] == "unreachable"
                        await asyncio.sleep(seconds(1, 5))
                        healed_at = time.monotonic()
                        await fault.heals(server)
                        await eventually(
                            lambda: all(
                                gateways.health(index)["database"] == "connected"
                                for index in range(3)
                            ),
                            "everybody finds the database again",
                        )
                        recovered = time.monotonic() - healed_at
                        await assert_all_log_in_at_once(gateways, people)
                        await asyncio.sleep(1)
                    await everybody.until_caught_up()
            verdict = judge(journal)
            assert_sockets_did_not_notice(gateways, journal, verdict, watch)
    meanwhile = doorbell.between(broken_at + 0.5, healed_at)
    assert meanwhile
    for _, _, answer in meanwhile:
        assert_problem(answer, 503, "unavailable")
        assert "retry-after" in {name.lower() for name in answer.headers}
    assert doorbell.slowest_refusal() < ANSWER_SECONDS_MAX
    assert recovered < 5
    is_frozen = isinstance(fault, Freeze)
    record(
        "F23" if is_frozen else "F23b",
        f"PostgreSQL {'frozen' if is_frozen else 'down'} for {seconds(6, 20)} s",
        verdict.figures(),
        logins_refused=len(meanwhile),
        slowest_refusal_seconds=round(doorbell.slowest_refusal(), 2),
        recovered_seconds=round(recovered, 2),
        lag_p99_ms=round(watch.lag_p99_seconds() * 1000),
    )


async def test_a_locked_sqlite_file_holds_up_nobody_but_those_who_write(directory: Path) -> None:
    """F24"""
    journal = Journal()
    async with cluster(directory, **TRUSTED) as gateways:
        people = [
            await asyncio.to_thread(member, gateways.gateways[n % 3].http) for n in range(AT_ONCE)
        ]
        listeners = crowd(LISTENERS, CHANNELS, gateways.ports)
        publishers = several(4, CHANNELS, gateways.ports, journal, per_second=PER_SECOND)
        async with (
            audience(journal, *listeners) as everybody,
            ringing(gateways, people) as doorbell,
        ):
            with Watch(gateways.gateways) as watch:
                async with publishing(*publishers):
                    await asyncio.sleep(2)
                    with exclusively(directory / "accounts.db"):
                        broken_at = time.monotonic()
                        await asyncio.sleep(seconds(5, 25))
                        await assert_newcomers_are_let_in(
                            gateways, everybody, people[0].access_token
                        )
                        refusals = await writes(gateways, people[1])
                        # Reading does not wait for who writes, so the database is there.
                        assert gateways.health(0)["database"] == "connected"
                        healed_at = time.monotonic()
                    await eventually(
                        lambda: any(
                            answer.status == 200
                            for _, _, answer in doorbell.between(healed_at, time.monotonic())
                        ),
                        "somebody can log in again",
                    )
                    recovered = time.monotonic() - healed_at
                    await assert_all_log_in_at_once(gateways, people)
                    assert await asyncio.to_thread(people[1].is_accepted)  # no logout went through
                await everybody.until_caught_up()
        verdict = judge(journal)
        assert_sockets_did_not_notice(gateways, journal, verdict, watch)
    meanwhile = doorbell.between(broken_at, healed_at)
    assert meanwhile
    for answer in [*refusals, *(answer for _, _, answer in meanwhile)]:
        assert_problem(answer, 503, "unavailable")
    assert doorbell.slowest_refusal() < ANSWER_SECONDS_MAX
    assert recovered < 5
    record(
        "F24",
        f"SQLite file locked for {seconds(5, 25)} s and more",
        verdict.figures(),
        logins_refused=len(meanwhile),
        slowest_refusal_seconds=round(doorbell.slowest_refusal(), 2),
        recovered_seconds=round(recovered, 2),
        lag_p99_ms=round(watch.lag_p99_seconds() * 1000),
    )


@contextlib.contextmanager
def exclusively(file: Path) -> Iterator[None]:
    other = sqlite3.connect(file, isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")
    finally:
        other.close()


async def writes(gateways: Cluster, person: Person) -> list[Answer]:
    """A registration and a logout at each gateway, all at once."""
    calls: list[Callable[[], Answer]] = []
    for gateway in gateways.gateways:
        somebody = Person(gateway.http, person.name)
        somebody.tokens = person.tokens
        calls += [Person(gateway.http).register, partial(somebody.authorized, "/logout")]
    return await asyncio.gather(*(asyncio.to_thread(call) for call in calls))
