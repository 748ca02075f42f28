"""A change that takes something away takes it from the tokens and sockets that are out, too."""

import pytest

from gateway.domain.errors import (
    Conflict,
    InvalidCredentials,
    InvalidRequest,
    InvalidToken,
    NotFound,
    Unavailable,
)
from gateway.domain.principal import Principal
from gateway.domain.revocations import RevocationKind
from tests.unit.core.desk import NOW, PASSWORD, Desk


@pytest.fixture
def desk() -> Desk:
    return Desk()


def assert_refused(desk: Desk, principal: Principal, reason: str) -> None:
    with pytest.raises(InvalidToken, match=f"revoked: {reason}"):
        desk.revocations.check(principal)


async def test_an_account_is_added_as_it_was_given(desk: Desk) -> None:
    user = await desk.accounts.add(
        "Alice", PASSWORD, email="alice@example.com", roles=["user", "publisher"]
    )
    assert (user.name, user.email) == ("Alice", "alice@example.com")
    assert user.roles == {"user", "publisher"}
    assert await desk.accounts.find("ALICE") == user
    assert "correct" not in repr(user)


@pytest.mark.parametrize(
    ("name", "password", "email", "roles"),
    [
        ("", PASSWORD, "", []),
        ("a\0b", PASSWORD, "", []),
        (" alice", PASSWORD, "", []),
        ("\u200b", PASSWORD, "", []),
        ("x" * 151, PASSWORD, "", []),
        ("alice", "short", "", []),
        ("alice", "with a NUL\0 in it", "", []),
        ("alice", "x" * 5000, "", []),
        ("alice", PASSWORD, "no address", []),
        ("alice", PASSWORD, "", ["a role\n"]),
        ("alice", PASSWORD, "", ["r"] * 33),
    ],
)
async def test_what_cannot_be_used_is_refused_before_a_password_is_hashed(
    desk: Desk, name: str, password: str, email: str, roles: list[str]
) -> None:
    """S31"""
    with pytest.raises(InvalidRequest):
        await desk.accounts.add(name, password, email=email, roles=roles)
    assert await desk.users.count() == 0


@pytest.mark.parametrize("name", ["ALICE", "alice\u200b", "\uff41lice"])
async def test_a_name_is_taken_in_every_spelling(desk: Desk, name: str) -> None:
    """S29"""
    await desk.add("alice")
    with pytest.raises(Conflict, match="name"):
        await desk.add(name)


async def test_an_address_belongs_to_one_account(desk: Desk) -> None:
    await desk.accounts.add("alice", PASSWORD, email="a@example.com")
    with pytest.raises(Conflict, match="address"):
        await desk.accounts.add("bob", PASSWORD, email="A@example.com")


async def test_who_is_not_there_is_not_found(desk: Desk) -> None:
    for question in (
        desk.accounts.find("nobody"),
        desk.accounts.set_roles("nobody", ["x"]),
        desk.accounts.disable("nobody"),
        desk.accounts.enable("nobody"),
        desk.accounts.reset_password("nobody", PASSWORD),
    ):
        with pytest.raises(NotFound):
            await question
    assert desk.ended == []


async def test_new_roles_revoke_the_tokens_with_the_old_ones(desk: Desk) -> None:
    """S13"""
    await desk.add("alice", "publisher")
    before = await desk.log_in()
    principal = desk.who(before)

    user = await desk.accounts.set_roles("ALICE", ["user"])

    assert user.roles == {"user"}
    assert_refused(desk, principal, "roles")
    assert [(entry.kind, entry.user) for entry in desk.ended] == [(RevocationKind.USER, "alice")]
    after = await desk.desk.refresh(before.refresh_token)  # in the same second
    assert desk.who(after).roles == {"user"}


async def test_a_disabled_user_is_out_and_stays_out(desk: Desk) -> None:
    """S13"""
    await desk.add()
    tokens = await desk.log_in()
    principal = desk.who(tokens)

    assert (await desk.accounts.disable("alice")).is_disabled

    assert_refused(desk, principal, "disabled")
    assert [entry.reason for entry in desk.ended] == ["disabled"]
    with pytest.raises(InvalidToken):
        await desk.desk.refresh(tokens.refresh_token)
    assert await desk.desk.count_live() == 0

    assert not (await desk.accounts.enable("alice")).is_disabled
    assert_refused(desk, principal, "disabled")
    with pytest.raises(InvalidToken):
        await desk.desk.refresh(tokens.refresh_token)
    desk.who(await desk.log_in())


async def test_a_clock_that_is_behind_revokes_what_others_issued_until_now(desk: Desk) -> None:
    user = await desk.add()
    tokens = await desk.log_in()
    principal = desk.who(tokens)
    desk.now -= 600
    desk.behind = 600

    await desk.accounts.disable("alice")
    assert_refused(desk, principal, "disabled")
    (revocation,) = desk.ended
    assert revocation.before == int(NOW) + 1
    assert revocation.expires_at > principal.expires_at

    await desk.accounts.end_login(user.name, principal.session_id, "logout")
    assert desk.ended[-1].expires_at > principal.expires_at
    await desk.accounts.end_all("carol", "logout")
    assert desk.ended[-1].before == int(NOW) + 1


async def test_a_password_that_was_reset_throws_everybody_out(desk: Desk) -> None:
    """S13"""
    await desk.add()
    tokens = [await desk.log_in() for _ in range(2)]
    principals = [desk.who(token) for token in tokens]

    await desk.accounts.reset_password("alice", "another password")

    for principal, token in zip(principals, tokens, strict=True):
        assert_refused(desk, principal, "password")
        with pytest.raises(InvalidToken):
            await desk.desk.refresh(token.refresh_token)
    with pytest.raises(InvalidCredentials):
        await desk.log_in()
    desk.who(await desk.log_in(password="another password"))


async def test_a_changed_password_ends_every_login_but_the_one_that_asked(desk: Desk) -> None:
    """S13"""
    await desk.add()
    mine, other = await desk.log_in(), await desk.log_in()
    stays, goes = desk.who(mine), desk.who(other)

    await desk.accounts.change_password(
        "alice", PASSWORD, "another password", session_id=stays.session_id
    )

    desk.revocations.check(stays)
    assert_refused(desk, goes, "password")
    await desk.desk.refresh(mine.refresh_token)
    with pytest.raises(InvalidToken):
        await desk.desk.refresh(other.refresh_token)
    desk.who(await desk.log_in(password="another password"))


async def test_a_password_changes_only_for_who_knows_the_old_one(desk: Desk) -> None:
    await desk.add()
    tokens = await desk.log_in()
    for name, old, new, error in (
        ("alice", "not the password", "another password", InvalidCredentials),
        ("nobody", PASSWORD, "another password", InvalidCredentials),
        ("alice", PASSWORD, "short", InvalidRequest),
    ):
        with pytest.raises(error):
            await desk.accounts.change_password(name, old, new, session_id="")
    desk.who(tokens)
    desk.who(await desk.log_in())


async def test_ending_everything_reaches_every_login_of_this_user_alone(desk: Desk) -> None:
    """S12"""
    await desk.add("alice")
    await desk.add("bob")
    alice = [desk.who(await desk.log_in("alice")) for _ in range(2)]
    bob = desk.who(await desk.log_in("bob"))

    assert await desk.accounts.end_all("Alice", "admin")

    for principal in alice:
        assert_refused(desk, principal, "admin")
    desk.revocations.check(bob)
    assert [entry.user for entry in desk.ended] == ["alice"]


async def test_a_user_of_another_issuer_can_be_thrown_out(desk: Desk) -> None:
    elsewhere = Principal("carol", "t", int(NOW), int(NOW) + 60)
    assert await desk.accounts.end_all("carol", "admin")
    assert_refused(desk, elsewhere, "admin")


@pytest.mark.parametrize("name", ["", "x" * 151, "a\nb"])
async def test_a_name_that_no_token_can_have_is_not_found(desk: Desk, name: str) -> None:
    with pytest.raises(NotFound):
        await desk.accounts.end_all(name, "admin")
    assert len(desk.revocations) == 0


async def test_ending_one_login_leaves_the_other(desk: Desk) -> None:
    """S12"""
    await desk.add()
    one, two = [desk.who(await desk.log_in()) for _ in range(2)]
    assert await desk.accounts.end_login("alice", one.session_id, "logout")
    assert_refused(desk, one, "logout")
    desk.revocations.check(two)
    assert await desk.desk.count_live() == 1


async def test_a_token_of_the_same_second_is_valid_when_it_came_after_the_change(
    desk: Desk,
) -> None:
    """S13: its iat says the next second, which the verifier's leeway allows."""
    await desk.add()
    early = desk.who(await desk.log_in())
    await desk.accounts.end_all("alice", "logout")
    late = desk.who(await desk.log_in())
    assert (early.issued_at, late.issued_at) == (int(NOW), int(NOW) + 1)
    assert_refused(desk, early, "logout")
    desk.revocations.check(late)


async def test_two_changes_in_one_second_each_revoke_what_came_before(desk: Desk) -> None:
    """S13: a token that was issued between them says the next second already."""
    await desk.add("alice", "admin")
    first = await desk.log_in()
    await desk.accounts.set_roles("alice", ["publisher"])
    between = desk.who(await desk.desk.refresh(first.refresh_token))
    assert between.roles == {"publisher"}

    await desk.accounts.set_roles("alice", ["user"])

    assert_refused(desk, between, "roles")
    assert desk.who(await desk.log_in()).roles == {"user"}


@pytest.mark.parametrize("change", ["roles", "disabled", "password"])
async def test_a_token_that_is_made_during_the_change_is_revoked_by_it(
    desk: Desk, change: str
) -> None:
    """S13: who has read the user before the change may sign a second later."""
    await desk.add("alice", "admin")
    tokens = await desk.log_in()

    async def change_it() -> None:
        desk.now += 1
        if change == "roles":
            await desk.accounts.set_roles("alice", ["user"])
        elif change == "disabled":
            await desk.accounts.disable("alice")
        else:
            await desk.accounts.reset_password("alice", "another password")
        desk.now += 1

    desk.users.after_read = change_it
    made_meanwhile = await desk.desk.refresh(tokens.refresh_token)
    with pytest.raises(InvalidToken, match=f"revoked: {change}"):
        desk.who(made_meanwhile)


async def test_a_revocation_lasts_as_long_as_any_token_that_it_means(desk: Desk) -> None:
    await desk.add()
    last = desk.who(await desk.log_in())
    await desk.accounts.end_all("alice", "logout")
    await desk.accounts.end_login("alice", "some-login", "logout")
    assert min(entry.expires_at for entry in desk.ended) > last.expires_at


async def test_what_cannot_be_written_down_is_an_error_to_be_repeated(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.add()
    principal = desk.who(await desk.log_in())

    async def away(revocation: object) -> None:
        raise Unavailable("the database is away")

    with monkeypatch.context() as patch:
        patch.setattr(desk.log, "add", away)
        with pytest.raises(Unavailable):
            await desk.accounts.disable("alice")
    await desk.accounts.disable("alice")
    assert_refused(desk, principal, "disabled")
