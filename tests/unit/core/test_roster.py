"""Counting connections, and keeping the shared table current whatever it answers."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping

import pytest

from gateway.adapters.memory.presence import MemoryPresence
from gateway.core import roster as module
from gateway.core.roster import Roster
from gateway.domain.errors import Denied, GatewayError, Unavailable
from gateway.domain.principal import Principal

HERE, THERE = "replica-1", "replica-2"
SECONDS = 5.0


class FakeConnection:
    def __init__(self, principal: Principal) -> None:
        self.principal = principal

    def end(self, error: GatewayError) -> None:
        raise NotImplementedError


def who(user: str) -> Principal:
    return Principal(user, "jti", 0, 2**31)


def join(roster: Roster, user: str) -> FakeConnection:
    connection = FakeConnection(who(user))
    roster.join(connection)
    return connection


def leave(roster: Roster, user: str) -> None:
    roster.leave(next(iter(roster.connections_of(user))))


class FakePresence(MemoryPresence):
    """A table with another replica in it, which can be made slow, unreachable or forgetful."""

    def __init__(self) -> None:
        super().__init__(replica=HERE)
        self.announced: list[dict[str, int]] = []
        self.elsewhere: dict[str, dict[str, int]] = {}
        self.is_reachable = True
        self.open = asyncio.Event()
        self.open.set()
        self.entered = asyncio.Event()
        self.changed = asyncio.Event()
        self.renewals = 0
        self.withdrawn = False

    async def announce(self, counts: Mapping[str, int]) -> None:
        self.entered.set()
        await self.open.wait()
        self._reach()
        self.announced.append(dict(counts))
        await super().announce(counts)
        self.changed.set()

    async def renew(self) -> bool:
        self._reach()
        self.renewals += 1
        self.changed.set()
        return await super().renew()

    async def withdraw(self) -> None:
        self._reach()
        self.withdrawn = True
        await super().withdraw()

    async def connected(self) -> dict[str, dict[str, int]]:
        self._reach()
        table = await super().connected()
        for user, replicas in self.elsewhere.items():
            table.setdefault(user, {}).update(replicas)
        return table

    def lose_the_lease(self) -> None:
        self._counts = None

    @property
    def table(self) -> dict[str, int]:
        return dict(self._counts or {})

    def _reach(self) -> None:
        if not self.is_reachable:
            self.changed.set()
            raise Unavailable("the table is away")

    async def until(self, condition: str, value: object) -> None:
        """Wait until an attribute has a value; every call of ours wakes us."""
        async with asyncio.timeout(SECONDS):
            while getattr(self, condition) != value:
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture
def presence() -> FakePresence:
    return FakePresence()


@pytest.fixture
def roster(presence: FakePresence) -> Roster:
    return Roster(presence, replica=HERE, renew_interval_seconds=60)


@contextlib.asynccontextmanager
async def running(roster: Roster) -> AsyncIterator[None]:
    task = asyncio.create_task(roster.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def test_connections_are_counted_per_user(roster: Roster) -> None:
    for user in ("alice", "alice", "bob"):
        join(roster, user)
    assert [roster.count_of(user) for user in ("alice", "bob", "carol")] == [2, 1, 0]
    assert roster.connection_count == 3
    leave(roster, "alice")
    assert (roster.count_of("alice"), roster.connection_count) == (1, 2)


def test_users_who_left_take_no_memory(roster: Roster) -> None:
    for number in range(100):
        join(roster, f"user{number}")
        leave(roster, f"user{number}")
    assert roster._connections == {}


def test_nobody_leaves_without_having_joined(roster: Roster) -> None:
    connection = join(roster, "alice")
    roster.leave(connection)
    with pytest.raises(KeyError):
        roster.leave(connection)
    assert (roster.count_of("alice"), roster.connection_count) == (0, 0)


def test_a_users_connections_can_be_ended_one_by_one(roster: Roster) -> None:
    class Ending(FakeConnection):
        def end(self, error: GatewayError) -> None:
            roster.leave(self)

    for _ in range(3):
        roster.join(Ending(who("alice")))
    join(roster, "bob")
    for connection in roster.connections_of("alice"):
        connection.end(Denied("go"))
    assert (roster.count_of("alice"), roster.count_of("bob")) == (0, 1)


async def test_the_table_follows_at_once(roster: Roster, presence: FakePresence) -> None:
    async with running(roster):
        join(roster, "alice")
        await presence.until("table", {"alice": 1})
        join(roster, "alice")
        join(roster, "bob")
        await presence.until("table", {"alice": 2, "bob": 1})
        leave(roster, "bob")
        await presence.until("table", {"alice": 2})


async def test_who_came_before_the_start_is_announced(
    roster: Roster, presence: FakePresence
) -> None:
    join(roster, "alice")
    async with running(roster):
        await presence.until("table", {"alice": 1})


async def test_what_changes_during_a_call_goes_into_the_next_one(
    roster: Roster, presence: FakePresence
) -> None:
    presence.open.clear()
    join(roster, "alice")
    async with running(roster):
        await presence.entered.wait()
        for _ in range(100):
            join(roster, "alice")
            join(roster, "bob")
        leave(roster, "bob")
        presence.open.set()
        await presence.until("table", {"alice": 101, "bob": 99})
    assert presence.announced == [{"alice": 1}, {"alice": 101, "bob": 99}]


async def test_a_user_who_came_and_went_during_a_call_is_announced_as_gone(
    roster: Roster, presence: FakePresence
) -> None:
    presence.open.clear()
    join(roster, "alice")
    async with running(roster):
        await presence.entered.wait()
        leave(roster, "alice")
        presence.open.set()
        await presence.until("announced", [{"alice": 1}, {"alice": 0}])
    assert presence.table == {}


async def test_a_storm_of_users_is_announced_in_calls_of_a_thousand(
    roster: Roster, presence: FakePresence
) -> None:
    for number in range(2500):
        join(roster, f"user{number}")
    async with running(roster):
        await presence.until("table", {f"user{number}": 1 for number in range(2500)})
    assert [len(counts) for counts in presence.announced] == [1000, 1000, 500]


async def test_a_lost_lease_makes_everybody_be_announced_anew(presence: FakePresence) -> None:
    roster = Roster(presence, replica=HERE, renew_interval_seconds=0.01)
    join(roster, "alice")
    join(roster, "bob")
    async with running(roster):
        await presence.until("table", {"alice": 1, "bob": 1})
        presence.lose_the_lease()
        await presence.until("table", {})
        await presence.until("table", {"alice": 1, "bob": 1})
    assert len(presence.announced) == 2


async def test_the_lease_is_renewed_while_nothing_changes(presence: FakePresence) -> None:
    roster = Roster(presence, replica=HERE, renew_interval_seconds=0.01)
    async with running(roster):
        await presence.until("renewals", 3)
    assert presence.announced == []


async def test_what_could_not_be_announced_is_announced_later(
    roster: Roster,
    presence: FakePresence,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0)
    presence.open.clear()
    join(roster, "alice")
    async with running(roster):
        await presence.entered.wait()
        presence.is_reachable = False
        presence.changed.clear()
        presence.open.set()
        await asyncio.wait_for(presence.changed.wait(), SECONDS)
        join(roster, "bob")
        presence.is_reachable = True
        await presence.until("table", {"alice": 1, "bob": 1})
    assert "cannot be announced: the table is away" in caplog.text


async def test_a_stopping_replica_withdraws(roster: Roster, presence: FakePresence) -> None:
    async with running(roster):
        join(roster, "alice")
        await presence.until("table", {"alice": 1})
    assert presence.withdrawn
    assert presence.table == {}


async def test_a_replica_stops_even_where_it_cannot_withdraw(
    roster: Roster, presence: FakePresence, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(roster):
        await presence.until("renewals", 1)
        presence.is_reachable = False
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "its lease will run out" in caplog.text


async def test_everybody_on_every_replica_is_listed(roster: Roster, presence: FakePresence) -> None:
    join(roster, "zoe")
    join(roster, "alice")
    join(roster, "alice")
    presence.elsewhere = {"bob": {THERE: 3}, "alice": {THERE: 1}}
    table = await roster.connected()
    assert table == {"alice": {THERE: 1, HERE: 2}, "bob": {THERE: 3}, "zoe": {HERE: 1}}
    assert list(table) == ["alice", "bob", "zoe"]


async def test_our_own_line_is_never_older_than_we_are(
    roster: Roster, presence: FakePresence
) -> None:
    """The announcement of what changed just now may still be under way."""
    await presence.announce({"alice": 5, "bob": 1})
    join(roster, "alice")
    assert await roster.connected() == {"alice": {HERE: 1}}


async def test_who_is_connected_is_unknown_while_the_table_is_away(
    roster: Roster, presence: FakePresence
) -> None:
    presence.is_reachable = False
    with pytest.raises(Unavailable):
        await roster.connected()
