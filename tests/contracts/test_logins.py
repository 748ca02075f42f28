"""The promises of `gateway.ports.logins`, on every adapter."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import NamedTuple

import pytest

from gateway.adapters.memory.logins import MemoryLogins
from gateway.adapters.memory.users import MemoryUsers
from gateway.adapters.sql.logins import SqlLogins
from gateway.adapters.sql.users import SqlUsers
from gateway.domain.accounts import Login
from gateway.domain.errors import Conflict, NotFound
from gateway.ports.logins import Logins
from gateway.ports.users import Users
from tests.support.databases import DATABASES, dump, emptied, opened, url_of

NOW = 1_700_000_000.123456
EXPIRES = NOW + 1000


class Stores(NamedTuple):
    users: Users
    logins: Logins
    elsewhere: Logins  # the same logins, seen from another replica


@pytest.fixture(params=["memory", *DATABASES])
async def stores(request: pytest.FixtureRequest) -> AsyncIterator[Stores]:
    if request.param == "memory":
        users = MemoryUsers()
        logins = MemoryLogins(users, clock=lambda: NOW)
        yield Stores(users, logins, logins)
        return
    async with (
        emptied(request.param, request) as database,
        opened(url_of(request.param, request)) as other,
    ):
        yield Stores(
            SqlUsers(database),
            SqlLogins(database, clock=lambda: NOW),
            SqlLogins(other, clock=lambda: NOW),
        )


@pytest.fixture
def logins(stores: Stores) -> Logins:
    return stores.logins


@pytest.fixture
async def alice(stores: Stores) -> int:
    return (await stores.users.add("Alice", "hash")).id


@pytest.fixture
async def bob(stores: Stores) -> int:
    return (await stores.users.add("Bob", "hash")).id


async def test_a_login_begins_at_generation_0(stores: Stores, alice: int) -> None:
    login = await stores.logins.start(alice, "one", EXPIRES)

    assert login == Login("one", alice, "Alice", 0, NOW, NOW, EXPIRES, None)
    assert await stores.logins.find("one") == login
    assert await stores.elsewhere.find("one") == login


async def test_a_login_needs_a_user_and_an_id_of_its_own(logins: Logins, alice: int) -> None:
    await logins.start(alice, "one", EXPIRES)

    with pytest.raises(NotFound):
        await logins.start(alice + 1000, "two", EXPIRES)
    with pytest.raises(Conflict):
        await logins.start(alice, "one", EXPIRES)
    assert await logins.find("two") is None


@pytest.mark.parametrize("login_id", ["", "ONE", "one ", "on\x00e", "\ud800", "x" * 65, "é"])
async def test_an_id_that_no_login_has_finds_nothing(
    logins: Logins, alice: int, login_id: str
) -> None:
    await logins.start(alice, "one", EXPIRES)

    assert await logins.find(login_id) is None
    assert await logins.rotate(login_id, 0, NOW) is None
    assert not await logins.end(login_id, NOW)


async def test_rotating_goes_on_from_the_valid_generation_only(logins: Logins, alice: int) -> None:
    started = await logins.start(alice, "one", EXPIRES)

    first = await logins.rotate("one", 0, NOW + 1.25)
    assert first == replace(started, generation=1, rotated_at=NOW + 1.25)
    assert await logins.rotate("one", 0, NOW + 2) is None
    assert await logins.rotate("one", 2, NOW + 2) is None
    assert await logins.find("one") == first
    assert await logins.rotate("one", 1, NOW + 3) == await logins.find("one")


async def test_of_many_who_rotate_at_once_one_wins(stores: Stores, alice: int) -> None:
    """S16: parallel refreshes have exactly one winner, on whatever replicas they arrive."""
    await stores.logins.start(alice, "one", EXPIRES)

    for generation in range(3):
        outcomes = await asyncio.gather(
            *(
                (stores.logins if n % 2 else stores.elsewhere).rotate("one", generation, NOW + n)
                for n in range(20)
            )
        )
        (winner,) = [outcome for outcome in outcomes if outcome is not None]
        assert winner.generation == generation + 1
        assert await stores.logins.find("one") == winner


async def test_an_ended_login_is_not_rotated_and_does_not_end_twice(
    stores: Stores, alice: int
) -> None:
    """S15: a family that is dead stays dead."""
    login = await stores.logins.start(alice, "one", EXPIRES)

    assert await stores.logins.end("one", NOW + 5)
    assert not await stores.elsewhere.end("one", NOW + 6)
    assert await stores.elsewhere.rotate("one", 0, NOW + 7) is None
    assert await stores.logins.find("one") == replace(login, ended_at=NOW + 5)


async def test_an_expired_login_is_not_rotated(logins: Logins, alice: int) -> None:
    await logins.start(alice, "one", EXPIRES)

    assert await logins.rotate("one", 0, EXPIRES) is None
    assert await logins.rotate("one", 0, EXPIRES - 0.001) is not None


async def test_ending_and_rotating_at_once_leaves_an_ended_login(
    stores: Stores, alice: int
) -> None:
    await stores.logins.start(alice, "one", EXPIRES)
    await asyncio.gather(
        stores.elsewhere.rotate("one", 0, NOW),
        stores.logins.end("one", NOW),
        stores.logins.rotate("one", 0, NOW),
    )

    login = await stores.logins.find("one")
    assert login is not None
    assert login.ended_at == NOW
    assert await stores.logins.rotate("one", login.generation, NOW) is None


async def test_all_logins_of_one_user_end_but_one(logins: Logins, alice: int, bob: int) -> None:
    for login_id in ("a1", "a2", "a3", "ended"):
        await logins.start(alice, login_id, EXPIRES)
    await logins.start(bob, "b1", EXPIRES)
    await logins.end("ended", NOW)

    assert sorted(await logins.end_all(alice, NOW, except_id="a2")) == ["a1", "a3"]
    assert [login.id for login in await logins.live(alice)] == ["a2"]
    assert [login.id for login in await logins.live(bob)] == ["b1"]
    assert await logins.end_all(alice, NOW) == ["a2"]
    assert await logins.end_all(alice, NOW) == []


async def test_a_login_is_ended_by_one_of_many(stores: Stores, alice: int) -> None:
    for n in range(5):
        await stores.logins.start(alice, f"login{n}", EXPIRES)
    ended = await asyncio.gather(
        *((stores.logins if n % 2 else stores.elsewhere).end_all(alice, NOW) for n in range(6))
    )

    assert sorted(login_id for ids in ended for login_id in ids) == [f"login{n}" for n in range(5)]


async def test_live_logins_are_listed_from_the_oldest_and_counted(
    logins: Logins, alice: int, bob: int
) -> None:
    for login_id in ("one", "two", "three"):
        await logins.start(alice, login_id, EXPIRES)
    await logins.start(alice, "expired", NOW)
    await logins.start(bob, "ended", EXPIRES)
    await logins.end("ended", NOW)

    assert {login.id for login in await logins.live(alice)} == {"one", "two", "three"}
    assert await logins.live(bob) == []
    assert await logins.count_live(NOW) == 3
    assert await logins.count_live(EXPIRES) == 0


async def test_pruning_forgets_what_ended_or_expired_before(logins: Logins, alice: int) -> None:
    await logins.start(alice, "live", EXPIRES)
    await logins.start(alice, "expired", NOW - 10)
    await logins.start(alice, "ended", EXPIRES)
    await logins.end("ended", NOW - 5)
    await logins.start(alice, "just-ended", EXPIRES)
    await logins.end("just-ended", NOW)

    assert await logins.prune(NOW) == 2
    assert [await logins.find(login_id) for login_id in ("expired", "ended")] == [None, None]
    assert await logins.find("just-ended") is not None
    assert await logins.prune(NOW) == 0
    assert await logins.count_live(NOW) == 1


@pytest.mark.parametrize("kind", DATABASES)
async def test_a_stolen_database_has_no_token_and_no_password_in_it(
    kind: str, request: pytest.FixtureRequest
) -> None:
    """S17: of a refresh token not even a hash is kept, only which generation is valid."""
    password = "a canary among the passwords"
    salt = b"0123456789abcdef"
    async with emptied(kind, request) as database:
        users, logins = SqlUsers(database), SqlLogins(database)
        hashed = hashlib.scrypt(password.encode(), salt=salt, n=2, r=8, p=1).hex()
        user = await users.add("alice", hashed, "alice@example.com")
        await logins.start(user.id, "family", EXPIRES)
        await logins.rotate("family", 0, NOW)
        stolen = await dump(database)

    assert hashed in stolen  # so it was all of it
    assert "'generation': 1" in stolen
    assert password not in stolen
    assert not re.search(r"[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}", stolen)
    columns = set(re.findall(r"'(\w+)':", next(x for x in stolen.splitlines() if "family" in x)))
    times = {"rotated_at", "started_at", "expires_at", "ended_at"}
    assert columns == {"id", "user_id", "generation", *times}
