"""A revoked token is refused on every replica, whatever was away while it was revoked."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict

import orjson
import pytest

from gateway.adapters.memory.broker import MemoryBroker
from gateway.adapters.memory.revocation_log import MemoryRevocationLog
from gateway.core import revocations as module
from gateway.core.revocations import Revocations
from gateway.core.signals import Signals
from gateway.domain.errors import InvalidToken, Unavailable
from gateway.domain.principal import Principal
from gateway.domain.revocations import Revocation, RevocationKind

NOW = 1_000_000
SECONDS = 5.0


class Log(MemoryRevocationLog):
    """A log that can go away."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = False
        self.read = asyncio.Event()

    async def add(self, revocation: Revocation) -> None:
        self._reach()
        await super().add(revocation)

    async def live(self, now: float) -> list[Revocation]:
        self.read.set()
        self._reach()
        return await super().live(now)

    async def empty(self) -> None:
        self._entries.clear()

    def _reach(self) -> None:
        if self.is_away:
            raise Unavailable("the log is away")


class Bus(MemoryBroker):
    """Carries signals between the replicas of one test, until it is cut."""

    def __init__(self) -> None:
        super().__init__(idempotency_seconds=60)
        self.replicas: list[Signals] = []
        self.is_cut = False

    async def signal(self, data: bytes, near: str = "") -> int:
        if self.is_cut:
            raise Unavailable("cut off")
        for signals in self.replicas:
            signals.received(data)
        return len(self.replicas)


class Cluster:
    def __init__(self) -> None:
        self.durable, self.shared, self.bus = Log(), Log(), Bus()
        self.now = float(NOW)

    def replica(self) -> tuple[Revocations, list[Revocation]]:
        ended: list[Revocation] = []
        signals = Signals(self.bus)
        self.bus.replicas.append(signals)
        made = Revocations(self.durable, self.shared, signals, ended.append, clock=lambda: self.now)
        return made, ended


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@contextlib.asynccontextmanager
async def running(revocations: Revocations) -> AsyncIterator[None]:
    task = asyncio.create_task(revocations.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], object], value: object) -> None:
    async with asyncio.timeout(SECONDS):
        while condition() != value:  # noqa: ASYNC110
            await asyncio.sleep(0)  # the other task of this test runs meanwhile


def who(
    user: str = "alice", token: str = "t1", session: str = "s1", issued_at: int = NOW - 10
) -> Principal:
    return Principal(user, token, issued_at, NOW + 900, session_id=session)


def token_revoked(subject: str = "t1") -> Revocation:
    return Revocation(RevocationKind.TOKEN, subject, "alice", 0, NOW + 900, "logout")


def session_revoked(subject: str = "s1") -> Revocation:
    return Revocation(RevocationKind.SESSION, subject, "alice", 0, NOW + 900, "logout")


def user_revoked(before: int = NOW, reason: str = "disabled") -> Revocation:
    return Revocation(RevocationKind.USER, "alice", "alice", before, NOW + 900, reason)


@pytest.mark.parametrize(
    ("revocation", "meant", "others"),
    [
        (token_revoked(), who(), who(token="t2")),
        (session_revoked(), who(token="t2"), who(session="s2")),
        (user_revoked(), who(token="t2", session="s2"), who(issued_at=NOW)),
        (user_revoked(), who(), who(user="bob")),
    ],
)
async def test_it_means_these_tokens_and_no_others(
    cluster: Cluster, revocation: Revocation, meant: Principal, others: Principal
) -> None:
    """S04, S12, S13"""
    revocations, ended = cluster.replica()
    revocations.check(meant)
    assert await revocations.revoke(revocation)
    with pytest.raises(InvalidToken, match=f"revoked: {revocation.reason}"):
        revocations.check(meant)
    revocations.check(others)
    assert ended == [revocation]


async def test_a_token_without_a_session_is_not_hit_by_one(cluster: Cluster) -> None:
    revocations, _ = cluster.replica()
    await revocations.revoke(session_revoked())
    revocations.check(who(session=""))


async def test_every_replica_learns_it_at_once(cluster: Cluster) -> None:
    """S12"""
    here, _ = cluster.replica()
    there, ended_there = cluster.replica()
    await here.revoke(session_revoked())
    with pytest.raises(InvalidToken):
        there.check(who())
    assert ended_there == [session_revoked()]


async def test_what_no_replica_tells_is_neither_kept_nor_stumbled_over(cluster: Cluster) -> None:
    """S36"""
    here, ended = cluster.replica()
    told = asdict(user_revoked()) | {"expires_at": "soon", "before": "now"}
    await cluster.bus.signal(orjson.dumps({"kind": "revoked", "revocation": told}))
    here.check(who())
    async with running(here):  # which goes through all that is known
        await until(here.first_read.is_set, True)
    assert (ended, len(here)) == ([], 0)


async def test_being_told_twice_ends_sockets_once(cluster: Cluster) -> None:
    here, ended = cluster.replica()
    await here.revoke(session_revoked())
    await here.revoke(session_revoked())
    assert ended == [session_revoked()]


async def test_a_later_cutoff_replaces_an_earlier_one_and_not_the_reverse(
    cluster: Cluster,
) -> None:
    here, ended = cluster.replica()
    await here.revoke(user_revoked(NOW))
    await here.revoke(user_revoked(NOW - 100))
    with pytest.raises(InvalidToken):
        here.check(who(issued_at=NOW - 1))
    await here.revoke(user_revoked(NOW + 100, "roles"))
    with pytest.raises(InvalidToken, match="roles"):
        here.check(who(issued_at=NOW + 50))
    assert [revocation.before for revocation in ended] == [NOW, NOW + 100]


async def test_what_cannot_be_written_down_is_not_revoked(cluster: Cluster) -> None:
    here, ended = cluster.replica()
    cluster.durable.is_away = True
    with pytest.raises(Unavailable):
        await here.revoke(token_revoked())
    here.check(who())
    assert ended == []


async def test_without_redis_it_holds_here_and_reaches_the_others_later(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A revocation during an outage of Redis is not lost."""
    monkeypatch.setattr(module, "_RELOAD_SECONDS_WHILE_CUT_OFF", 0.01)
    here, _ = cluster.replica()
    cluster.bus.is_cut = cluster.shared.is_away = True
    assert not await here.revoke(token_revoked())
    with pytest.raises(InvalidToken):
        here.check(who())

    cluster.bus.is_cut = cluster.shared.is_away = False
    async with running(here):
        await until(lambda: here.stale, "")
        await until(lambda: cluster.shared._entries != {}, True)
    assert await cluster.shared.live(NOW) == [token_revoked()]


async def test_a_replica_that_starts_reads_both_logs(cluster: Cluster) -> None:
    """F15: an empty Redis revives nothing, and an old database hides nothing."""
    await cluster.durable.add(token_revoked())
    await cluster.shared.add(session_revoked("s2"))
    late, _ = cluster.replica()
    assert late.stale
    async with running(late):
        await until(lambda: late.stale, "")
    for principal in (who(), who(token="t2", session="s2")):
        with pytest.raises(InvalidToken):
            late.check(principal)
    assert len(await cluster.shared.live(NOW)) == 2


async def test_an_emptied_redis_is_filled_again_and_the_others_are_told(
    cluster: Cluster,
) -> None:
    """F15"""
    here, _ = cluster.replica()
    await here.revoke(token_revoked())
    await cluster.shared.empty()
    there, _ = cluster.replica()
    async with running(here):
        await until(lambda: here.stale, "")
    with pytest.raises(InvalidToken):
        there.check(who())


async def test_what_was_missed_while_cut_off_is_read_after_a_reconnect(cluster: Cluster) -> None:
    here, _ = cluster.replica()
    async with running(here):
        await until(lambda: here.stale, "")
        await cluster.shared.add(token_revoked())
        here.connected()
        await until(lambda: len(here), 1)
    with pytest.raises(InvalidToken):
        here.check(who())


async def test_a_copy_that_may_lack_something_is_stale(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S14"""
    monkeypatch.setattr(module, "_RELOAD_SECONDS_WHILE_CUT_OFF", 0.01)
    here, _ = cluster.replica()
    cluster.durable.is_away = True
    async with running(here):
        await until(lambda: "the log is away" in here.stale, True)
        cluster.durable.is_away = False
        await until(lambda: here.stale, "")
        # Once it has been read, the database may go: Redis has everything that comes later.
        cluster.durable.is_away = True
        cluster.durable.read.clear()
        here.connected()
        await asyncio.wait_for(cluster.durable.read.wait(), SECONDS)
        await asyncio.sleep(0)
        assert here.stale == ""
        cluster.shared.is_away = True
        here.connected()
        await until(lambda: "the log is away" in here.stale, True)


async def test_what_has_expired_takes_no_memory(cluster: Cluster) -> None:
    here, _ = cluster.replica()
    await here.revoke(token_revoked())
    await here.revoke(user_revoked())
    cluster.now = NOW + 901
    async with running(here):
        await until(lambda: len(here), 0)
    # By another replica's clock, some of them may still be needed.
    assert len(cluster.durable._entries) == len(cluster.shared._entries) == 2
    cluster.now += 86_400
    async with running(here):
        await until(lambda: (cluster.durable._entries, cluster.shared._entries), ({}, {}))
