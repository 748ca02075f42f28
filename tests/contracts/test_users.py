"""The promises of `gateway.ports.users`, on every adapter."""

import asyncio
import unicodedata
from collections.abc import AsyncIterator

import pytest

from gateway.adapters.memory.users import MemoryUsers
from gateway.adapters.sql.users import SqlUsers
from gateway.domain.accounts import Credentials, User
from gateway.domain.errors import Conflict, NotFound
from gateway.ports.users import Users
from tests.support.databases import DATABASES, emptied


@pytest.fixture(params=["memory", *DATABASES])
async def users(request: pytest.FixtureRequest) -> AsyncIterator[Users]:
    if request.param == "memory":
        yield MemoryUsers(clock=lambda: 1000.5)
        return
    async with emptied(request.param, request) as database:
        yield SqlUsers(database, clock=lambda: 1000.5)


async def test_a_user_that_was_added_is_found_as_it_was_added(users: Users) -> None:
    added = await users.add("Alice", "hash", "alice@example.com", ["editor", "rôle 🔑"])

    assert added == User(
        id=added.id,
        name="Alice",
        email="alice@example.com",
        roles=frozenset({"editor", "rôle 🔑"}),
        is_disabled=False,
        tokens_valid_from=0,
        created_at=1000.5,
    )
    assert added.id > 0
    assert await users.find("Alice") == added
    assert await users.find_by_id(added.id) == added
    assert await users.credentials("Alice") == Credentials(added, "hash")


async def test_nobody_is_found_where_nobody_is(users: Users) -> None:
    await users.add("alice", "hash")

    assert await users.find("bob") is None
    assert await users.credentials("bob") is None
    assert await users.find_by_id(0) is None


@pytest.mark.parametrize("text", ["", "a\x00b", "\ud800", "x" * 1000, "a\nb", "'; --", "%"])
async def test_a_text_that_cannot_be_a_name_is_nobodys(users: Users, text: str) -> None:
    """S31: whatever is tried as a name is an unknown one, not an error."""
    await users.add("alice", "hash")

    assert await users.find(text) is None
    assert await users.credentials(text) is None


@pytest.mark.parametrize("user_id", [-1, 1 << 31, (1 << 63) - 1, 1 << 63, 1 << 200])
async def test_an_id_that_no_user_has_is_nobodys(users: Users, user_id: int) -> None:
    await users.add("alice", "hash")

    assert await users.find_by_id(user_id) is None
    assert len(await users.page(user_id, 10)) == (1 if user_id < 0 else 0)


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("Alice", "ALICE"),
        ("Zoë", unicodedata.normalize("NFD", "ZOË")),
        ("alice", "\uff21\uff2c\uff29\uff23\uff25"),  # full-width letters
        ("Straße", "STRASSE"),
        ("alice", "ali\u200bce"),  # a blank without width
        ("İstanbul", "i\u0307stanbul"),
    ],
)
async def test_one_name_has_one_user_in_every_spelling(
    users: Users, name: str, variant: str
) -> None:
    """S29: neither case nor spelling gives a second account or another one."""
    added = await users.add(name, "hash")

    assert await users.find(variant) == added
    with pytest.raises(Conflict, match="name"):
        await users.add(variant, "hash")
    assert await users.count() == 1


@pytest.mark.parametrize(
    ("name", "other"), [("resume", "résumé"), ("alice", "al1ce"), ("ß", "s"), ("и", "й")]
)
async def test_different_names_are_different_users(users: Users, name: str, other: str) -> None:
    """What a database's own collation would take for the same."""
    one, two = await users.add(name, "hash"), await users.add(other, "hash")

    assert one.id != two.id
    assert await users.find(name) == one
    assert await users.find(other) == two


async def test_an_address_belongs_to_one_user_and_none_to_many(users: Users) -> None:
    await users.add("alice", "hash", "Mail@Example.com")
    await users.add("bob", "hash")
    await users.add("carol", "hash")

    with pytest.raises(Conflict, match="e-mail"):
        await users.add("dave", "hash", "mail@example.COM")
    assert await users.find("dave") is None


async def test_of_many_who_want_a_name_one_gets_it(users: Users) -> None:
    outcomes = await asyncio.gather(
        *(users.add("Alice" if n % 2 else "ALICE", f"hash{n}") for n in range(12)),
        return_exceptions=True,
    )

    assert sum(isinstance(outcome, User) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 11
    assert await users.count() == 1


async def test_the_longest_names_and_hashes_fit(users: Users) -> None:
    # Each of these letters becomes two when its case is folded.
    name, roles = "ß" * 150, [f"{n:02}" + "🔑" * 62 for n in range(32)]
    email = "ß" * 242 + "@example.com"
    added = await users.add(name, "h" * 255, email, roles)

    assert await users.credentials(name) == Credentials(added, "h" * 255)
    assert (added.email, added.roles) == (email, frozenset(roles))


async def test_pages_follow_the_ids(users: Users) -> None:
    added = [await users.add(f"user{n}", "hash") for n in range(5)]

    assert await users.page(0, 2) == added[:2]
    assert await users.page(added[1].id, 2) == added[2:4]
    assert await users.page(added[3].id, 2) == added[4:]
    assert await users.page(added[4].id, 2) == []
    assert await users.count() == 5


async def test_changes_are_returned_and_kept(users: Users) -> None:
    await users.add("Alice", "hash", roles=["editor"])

    changed = await users.set_roles("ALICE", ["admin", "reader"], 10)
    assert changed.roles == {"admin", "reader"}
    assert changed.tokens_valid_from == 10
    changed = await users.set_disabled("alice", True, 20)
    assert (changed.is_disabled, changed.tokens_valid_from) == (True, 20)
    changed = await users.set_password("alice", "new hash", 30)
    assert changed.tokens_valid_from == 30
    changed = await users.set_tokens_valid_from("alice", 40)
    assert await users.credentials("alice") == Credentials(changed, "new hash")
    assert changed == User(
        changed.id, "Alice", "", frozenset({"admin", "reader"}), True, 40, 1000.5
    )
    assert not (await users.set_disabled("alice", False, 40)).is_disabled


async def test_a_change_that_changes_nothing_is_no_error(users: Users) -> None:
    added = await users.add("alice", "hash", roles=["editor"])

    assert await users.set_roles("alice", ["editor"], 0) == added
    assert await users.upgrade_hash("alice", "hash", "hash")


async def test_the_time_from_which_tokens_are_valid_never_goes_back(users: Users) -> None:
    await users.add("alice", "hash")
    await users.set_tokens_valid_from("alice", 100)

    for change in (
        users.set_tokens_valid_from("alice", 50),
        users.set_roles("alice", [], 50),
        users.set_disabled("alice", True, 50),
        users.set_password("alice", "hash", 50),
    ):
        assert (await change).tokens_valid_from == 100


async def test_a_hash_is_upgraded_only_while_it_is_the_one_that_was_checked(users: Users) -> None:
    await users.add("Alice", "old")

    assert await users.upgrade_hash("alice", "old", "better")
    assert not await users.upgrade_hash("alice", "old", "worse")
    found = await users.credentials("alice")
    assert found is not None
    assert found.password_hash == "better"


@pytest.mark.parametrize("name", ["bob", "a\x00b", ""])
async def test_a_change_of_nobody_is_an_error(users: Users, name: str) -> None:
    await users.add("alice", "hash")

    for change in (
        users.set_roles(name, [], 1),
        users.set_disabled(name, True, 1),
        users.set_password(name, "hash", 1),
        users.set_tokens_valid_from(name, 1),
    ):
        with pytest.raises(NotFound):
            await change
    with pytest.raises(NotFound):
        await users.upgrade_hash(name, "hash", "hash")


async def test_changes_at_the_same_time_do_not_undo_each_other(users: Users) -> None:
    await users.add("alice", "hash", roles=["editor"])
    await asyncio.gather(
        users.set_roles("alice", ["admin"], 10),
        users.set_disabled("alice", True, 30),
        users.set_password("alice", "new", 20),
    )

    found = await users.credentials("alice")
    assert found is not None
    assert found.password_hash == "new"
    assert found.user.roles == {"admin"}
    assert found.user.is_disabled
    assert found.user.tokens_valid_from == 30
