"""The promises of `gateway.ports.revocation_log`, on every adapter."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace

import pytest

from gateway.adapters.memory.revocation_log import MemoryRevocationLog
from gateway.adapters.redis.keys import Keys
from gateway.adapters.redis.places.connection import connect
from gateway.adapters.redis.shared.revocation_log import RedisRevocationLog
from gateway.adapters.sql.revocation_log import SqlRevocationLog
from gateway.domain.revocations import Revocation, RevocationKind
from gateway.ports.revocation_log import RevocationLog
from tests.support.brokers import assembled
from tests.support.databases import DATABASES, emptied

NOW = 1_700_000_000
USER = Revocation(RevocationKind.USER, "alice", "alice", NOW, NOW + 100, "roles")
TOKEN = Revocation(RevocationKind.TOKEN, "a-jti", "alice", 0, NOW + 100, "admin")
SESSION = Revocation(RevocationKind.SESSION, "a-sid", "alice", 0, NOW + 100, "logout")


@pytest.fixture(params=["memory", "fakeredis", "redis", "cluster", *DATABASES])
async def log(request: pytest.FixtureRequest) -> AsyncIterator[RevocationLog]:
    if request.param == "memory":
        yield MemoryRevocationLog()
        return
    if request.param in ("fakeredis", "redis"):
        name = {"fakeredis": "fakeredis_url", "redis": "cluster_redis_url"}[request.param]
        url = request.getfixturevalue(name)
        redis = connect(url, timeout_seconds=2, connections_max=2)
        yield RedisRevocationLog(redis, Keys("gw"))
        await redis.delete(Keys("gw").revocations)
        await redis.aclose()
        return
    if request.param == "cluster":
        keys = Keys(f"gw:{secrets.token_hex(4)}")
        async with assembled(request.getfixturevalue("redis_cluster_url"), keys.prefix) as made:
            yield RedisRevocationLog(made.redis_for(keys.revocations), keys)
        return
    async with emptied(request.param, request) as database:
        yield SqlRevocationLog(database)


async def live(log: RevocationLog, now: float = NOW) -> list[Revocation]:
    return in_order(await log.live(now))


def in_order(revocations: Iterable[Revocation]) -> list[Revocation]:
    return sorted(revocations, key=lambda entry: (entry.kind, entry.subject))


async def test_what_was_added_is_there_until_it_expires(log: RevocationLog) -> None:
    for revocation in (USER, TOKEN, SESSION):
        await log.add(revocation)

    assert await live(log) == in_order([USER, TOKEN, SESSION])
    assert await live(log, NOW + 99.9) == in_order([USER, TOKEN, SESSION])
    assert await live(log, NOW + 100) == []


async def test_adding_again_changes_nothing(log: RevocationLog) -> None:
    await log.add(SESSION)
    await log.add(SESSION)

    assert await live(log) == [SESSION]


async def test_an_entry_only_gets_stricter(log: RevocationLog) -> None:
    later = replace(USER, before=NOW + 5, expires_at=NOW + 200, reason="disabled")
    mixed = replace(USER, before=NOW - 5, expires_at=NOW + 300, reason="password")
    await log.add(USER)

    await log.add(later)
    assert await live(log) == [later]
    await log.add(USER)
    assert await live(log) == [later]
    await log.add(mixed)
    assert await live(log) == [replace(later, expires_at=NOW + 300)]


async def test_entries_that_differ_in_kind_or_in_one_character_are_two(log: RevocationLog) -> None:
    """S04: no spelling of a subject hides behind another one."""
    subjects = ["alice", "ALICE", "alice ", "álice", "a" * 150, "🔑" * 150, "alice\u200b"]
    expected = [replace(USER, subject=subject, user=subject) for subject in subjects]
    expected += [replace(TOKEN, subject=subject, user=subject) for subject in subjects]
    for revocation in expected:
        await log.add(revocation)

    assert await live(log) == in_order(expected)


async def test_all_who_add_at_once_are_heard(log: RevocationLog) -> None:
    added = [replace(USER, before=NOW + n, expires_at=NOW + 500 - n) for n in range(20)]
    await asyncio.gather(*(log.add(revocation) for revocation in added))

    assert await live(log) == [replace(USER, before=NOW + 19, expires_at=NOW + 500)]


async def test_pruning_forgets_the_expired(log: RevocationLog) -> None:
    await log.add(replace(TOKEN, expires_at=NOW))
    await log.add(SESSION)

    assert await log.prune(NOW) == 1
    assert await log.prune(NOW) == 0
    assert await live(log, 0) == [SESSION]


async def test_a_far_future_fits(log: RevocationLog) -> None:
    far = replace(USER, before=(1 << 53) - 1, expires_at=(1 << 53) - 1)
    await log.add(far)

    assert await live(log) == [far]


async def test_an_entry_that_this_version_cannot_read_hides_none_of_the_others(
    cluster_redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """While a newer version is rolled out, the older replicas go on."""
    redis = connect(cluster_redis_url, timeout_seconds=2, connections_max=2)
    log, key = RedisRevocationLog(redis, Keys("gw")), Keys("gw").revocations
    try:
        await log.add(SESSION)
        for name, entry in (("a", b"{}"), ("b", b"\xff"), ("c", b'{"kind":"grant"}'), ("d", b"[]")):
            await redis.hset(key, name, entry)
        assert await log.live(NOW) == [SESSION]
        assert "does not understand" in caplog.text
    finally:
        await redis.delete(key)
        await redis.aclose()
