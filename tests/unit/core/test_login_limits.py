"""Guessing passwords comes to an end; logging in does not."""

import asyncio
import logging
from collections.abc import Sequence

import pytest

from gateway.adapters.memory.limiter import MemoryLimiter
from gateway.core.login_limits import FAMILIAR_SECONDS, LoginLimits, LoginRates
from gateway.domain.errors import LimitReached, Unavailable
from gateway.ports.limiter import Rate

RATES = LoginRates(
    address=Rate(burst=6, per_seconds=10),
    account=Rate(burst=3, per_seconds=60),
    familiar=Rate(burst=2, per_seconds=30),
)
SECRET = b"a secret for tests"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class SharedLimiter(MemoryLimiter):
    """Stands in for Redis: yields as it does, can be unavailable, and shows what it was told."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock=clock)
        self.is_away = False
        self.calls = 0
        self.told: list[str] = []

    async def _reach(self, *keys: str) -> None:
        self.calls += 1
        self.told += keys
        await asyncio.sleep(0)
        if self.is_away:
            raise Unavailable("Redis did not answer")

    async def take(self, takes: Sequence[tuple[str, Rate]]) -> float:
        await self._reach(*(key for key, _ in takes))
        return await super().take(takes)

    async def give_back(self, key: str, rate: Rate) -> None:
        await self._reach(key)
        await super().give_back(key, rate)

    async def remember(self, key: str, seconds: float) -> None:
        await self._reach(key)
        await super().remember(key, seconds)

    async def remembers(self, key: str) -> bool:
        await self._reach(key)
        return await super().remembers(key)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shared(clock: Clock) -> SharedLimiter:
    return SharedLimiter(clock)


def replica(shared: SharedLimiter, clock: Clock) -> LoginLimits:
    return LoginLimits(shared, MemoryLimiter(clock=clock), secret=SECRET, rates=RATES, clock=clock)


@pytest.fixture
def limits(shared: SharedLimiter, clock: Clock) -> LoginLimits:
    return replica(shared, clock)


async def guess(limits: LoginLimits, address: str, name: str) -> bool:
    """One wrong password; False when it was not even looked at."""
    try:
        await limits.attempt(address, name)
    except LimitReached:
        return False
    await limits.failed(address, name)
    return True


async def log_in(limits: LoginLimits, address: str, name: str) -> None:
    await limits.attempt(address, name)
    await limits.succeeded(address, name)


async def guesses(limits: LoginLimits, address: str, name: str) -> int:
    count = 0
    while await guess(limits, address, name):
        count += 1
    return count


async def test_guesses_at_one_account_end_from_wherever_they_come(limits: LoginLimits) -> None:
    """S28"""
    tried = [await guess(limits, f"192.0.2.{n}", "alice") for n in range(5)]
    assert tried == [True, True, True, False, False]


async def test_guesses_from_one_address_end_at_whomever_they_are_aimed(limits: LoginLimits) -> None:
    """S28"""
    tried = [await guess(limits, "192.0.2.1", f"user{n}") for n in range(8)]
    assert tried == [True] * 6 + [False] * 2


async def test_a_refusal_says_when_to_come_back_and_then_it_works(
    limits: LoginLimits, clock: Clock
) -> None:
    assert await guesses(limits, "192.0.2.1", "alice") == 3
    with pytest.raises(LimitReached, match=r"^too many attempts to log in$") as refusal:
        await limits.attempt("192.0.2.1", "alice")
    assert refusal.value.retry_after_seconds == pytest.approx(60)
    clock.now += 60
    assert await guesses(limits, "192.0.2.1", "alice") == 1


async def test_whether_an_account_exists_cannot_be_seen_from_its_limit(
    limits: LoginLimits, clock: Clock
) -> None:
    """S27"""
    await log_in(limits, "198.51.100.1", "alice")
    assert await guesses(limits, "192.0.2.1", "alice") == 3
    assert await guesses(limits, "192.0.2.2", "nobody") == 3


async def test_replicas_count_together(shared: SharedLimiter, clock: Clock) -> None:
    """S28"""
    one, two = replica(shared, clock), replica(shared, clock)
    assert await guess(one, "192.0.2.1", "alice")
    assert await guesses(two, "192.0.2.2", "alice") == 2
    assert not await guess(one, "192.0.2.3", "alice")


async def test_a_hundred_guesses_at_once_are_no_way_around(limits: LoginLimits) -> None:
    """S28"""
    tried = await asyncio.gather(*(guess(limits, f"192.0.2.{n}", "alice") for n in range(100)))
    assert sum(tried) == 3


@pytest.mark.parametrize(
    "spelling", ["ALICE", "Alice", "\uff21lice", "\uff41\uff4c\uff49\uff43\uff45", "al\u00adice"]
)
async def test_another_spelling_of_the_name_is_the_same_account(
    limits: LoginLimits, spelling: str
) -> None:
    """S29"""
    assert await guesses(limits, "192.0.2.1", "alice") == 3
    assert not await guess(limits, "192.0.2.2", spelling)


@pytest.mark.parametrize("name", ["", "\x00", "\ud800", "x" * 1_000_000, "\u0301\u0316" * 100_000])
async def test_a_name_that_nobody_can_have_is_counted_like_any_other(
    limits: LoginLimits, name: str
) -> None:
    assert await guesses(limits, "192.0.2.1", name) == 3


@pytest.mark.parametrize(
    ("first", "other"),
    [("2001:db8::1", "2001:db8::ffff:1"), ("192.0.2.1", "::ffff:192.0.2.1")],
)
async def test_another_address_of_the_same_customer_is_the_same_bucket(
    limits: LoginLimits, first: str, other: str
) -> None:
    """S29"""
    for n in range(6):
        assert await guess(limits, first, f"user{n}")
    assert not await guess(limits, other, "another")


async def test_right_passwords_use_nothing_up(limits: LoginLimits, clock: Clock) -> None:
    for n in range(20):
        await log_in(limits, f"192.0.2.{n}", "alice")
    assert await guesses(limits, "198.51.100.1", "alice") == 3


async def test_many_logins_from_one_address_are_limited_though_right(limits: LoginLimits) -> None:
    """S30: each costs a hash."""
    for _ in range(6):
        await log_in(limits, "192.0.2.1", "alice")
    with pytest.raises(LimitReached):
        await limits.attempt("192.0.2.1", "alice")


async def test_a_right_password_does_not_wipe_out_wrong_ones(limits: LoginLimits) -> None:
    """S28: or an attacker would log in with an own account in between."""
    for n in range(3):
        assert await guess(limits, f"192.0.2.{n}", "alice")
    await log_in(limits, "192.0.2.9", "mallory")
    assert not await guess(limits, "192.0.2.9", "alice")
    for n in range(5):
        assert await guess(limits, "192.0.2.9", f"user{n}")
    assert not await guess(limits, "192.0.2.9", "another")


async def test_what_was_never_looked_at_uses_nothing_up(limits: LoginLimits) -> None:
    for n in range(20):
        await limits.attempt(f"192.0.2.{n}", "alice")
        await limits.abandoned(f"192.0.2.{n}", "alice")
    assert await guesses(limits, "198.51.100.1", "alice") == 3


async def test_a_refused_address_does_not_use_up_the_account(limits: LoginLimits) -> None:
    for n in range(6):
        assert await guess(limits, "192.0.2.1", f"user{n}")
    for _ in range(10):
        assert not await guess(limits, "192.0.2.1", "alice")
    assert await guesses(limits, "198.51.100.1", "alice") == 3


async def test_strangers_cannot_lock_a_user_out_of_a_familiar_address(
    limits: LoginLimits, clock: Clock
) -> None:
    """S28"""
    await log_in(limits, "198.51.100.1", "alice")
    for n in range(50):
        clock.now += 3600
        for m in range(10):
            await guess(limits, f"192.0.{n}.{m}", "alice")
        await log_in(limits, "198.51.100.1", "Alice")
    assert not await guess(limits, "192.0.2.250", "alice")


async def test_the_next_address_of_a_familiar_customer_is_familiar(limits: LoginLimits) -> None:
    await log_in(limits, "2001:db8::1", "alice")
    assert await guesses(limits, "192.0.2.1", "alice") == 3
    await log_in(limits, "2001:db8::2", "alice")


async def test_a_familiar_address_is_limited_too(limits: LoginLimits, clock: Clock) -> None:
    await log_in(limits, "198.51.100.1", "alice")
    clock.now += 600
    assert await guesses(limits, "198.51.100.1", "alice") == 2


async def test_an_address_is_familiar_to_one_account_only(limits: LoginLimits) -> None:
    """S28: or an own account would open a bucket at everybody else's."""
    await log_in(limits, "192.0.2.1", "mallory")
    for n in range(2, 5):
        assert await guess(limits, f"192.0.2.{n}", "alice")
    assert not await guess(limits, "192.0.2.1", "alice")


async def test_wrong_passwords_make_no_address_familiar(limits: LoginLimits) -> None:
    assert await guesses(limits, "192.0.2.1", "alice") == 3
    await limits.abandoned("192.0.2.1", "alice")
    assert await guesses(limits, "192.0.2.1", "alice") == 1


async def test_an_address_is_familiar_for_a_month(limits: LoginLimits, clock: Clock) -> None:
    await log_in(limits, "198.51.100.1", "alice")
    clock.now += FAMILIAR_SECONDS - 1
    assert await guesses(limits, "198.51.100.1", "alice") == 2
    clock.now += 600
    assert await guesses(limits, "198.51.100.1", "alice") == 3


async def test_without_an_address_the_account_is_counted_alone(limits: LoginLimits) -> None:
    for n in range(20):
        assert await guess(limits, "", f"user{n}")
    await log_in(limits, "", "alice")
    assert await guesses(limits, "", "alice") == 3


async def test_while_redis_is_away_a_replica_counts_alone(
    limits: LoginLimits, shared: SharedLimiter, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """S28"""
    caplog.set_level(logging.INFO)
    shared.is_away = True
    assert await guesses(limits, "192.0.2.1", "alice") == 3
    clock.now += 10
    assert not await guess(limits, "192.0.2.2", "alice")
    assert caplog.text.count("this replica counts logins alone: Redis did not answer") == 1

    shared.is_away = False
    clock.now += 10
    assert await guesses(limits, "192.0.2.3", "alice") == 3
    assert caplog.text.count("all replicas count logins together again") == 1


async def test_while_redis_is_away_not_every_login_waits_for_it(
    limits: LoginLimits, shared: SharedLimiter, clock: Clock
) -> None:
    shared.is_away = True
    for n in range(100):
        await guess(limits, f"192.0.2.{n}", f"user{n}")
    assert shared.calls == 1


async def test_while_redis_is_away_familiar_addresses_stay_familiar(
    limits: LoginLimits, shared: SharedLimiter
) -> None:
    """S28"""
    await log_in(limits, "198.51.100.1", "alice")
    shared.is_away = True
    assert await guesses(limits, "192.0.2.1", "alice") == 3
    await log_in(limits, "198.51.100.1", "alice")


async def test_a_success_that_redis_does_not_hear_of_is_one_all_the_same(
    limits: LoginLimits, shared: SharedLimiter
) -> None:
    await limits.attempt("198.51.100.1", "alice")
    shared.is_away = True
    await limits.succeeded("198.51.100.1", "alice")
    assert await guesses(limits, "198.51.100.1", "alice") == 2


async def test_redis_is_told_neither_names_nor_addresses(
    limits: LoginLimits, shared: SharedLimiter, clock: Clock
) -> None:
    await log_in(limits, "192.0.2.77", "alice")
    mine = set(shared.told)
    assert {key.partition(":")[0] for key in mine} == {"account", "address", "familiar"}
    assert not any("alice" in key or "192" in key for key in mine)

    other = LoginLimits(shared, shared, secret=b"another", rates=RATES, clock=clock)
    shared.told.clear()
    await log_in(other, "192.0.2.77", "alice")
    assert not mine & set(shared.told)


async def test_a_failure_is_logged_with_its_address_and_without_the_name(
    limits: LoginLimits, caplog: pytest.LogCaptureFixture
) -> None:
    """S37: a name is what a user may have typed a password into."""
    caplog.set_level(logging.INFO)
    await limits.failed("2001:db8::5", "name-canary")
    await limits.failed("x\nfaked line", "name-canary")
    assert [record.getMessage() for record in caplog.records] == [
        "a login failed from '2001:db8::/64'",
        "a login failed from 'x\\nfaked line'",
    ]
