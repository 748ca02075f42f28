"""Logging in, staying logged in, logging out: who gets tokens, and who gets none any more."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from gateway.core.logins import Tokens
from gateway.core.passwords import Passwords
from gateway.domain.errors import (
    Denied,
    GatewayError,
    InvalidCredentials,
    InvalidRequest,
    InvalidToken,
    LimitReached,
    Unavailable,
)
from tests.unit.core.desk import ADDRESS, NOW, PASSWORD, Desk


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def refused(refresh: Awaitable[Tokens], match: str) -> None:
    with pytest.raises(InvalidToken, match=match):
        await refresh


async def test_a_login_gives_a_token_that_says_who_and_which_login(desk: Desk) -> None:
    await desk.add("Alice", "publisher", "user")
    tokens = await desk.log_in("alice")

    principal = desk.who(tokens)
    assert principal.subject == "Alice"
    assert principal.roles == {"publisher", "user"}
    assert (principal.issued_at, principal.expires_at) == (int(NOW), int(NOW) + 900)
    login = await desk.logins.find(principal.session_id)
    assert login is not None
    assert (login.user_name, login.generation) == ("Alice", 0)
    assert tokens.expires_in == 900
    for secret in (tokens.access_token, tokens.refresh_token):
        assert secret not in repr(tokens)


@pytest.mark.parametrize("name", ["ALICE", "alice\u200b", "\uff41lice"])
async def test_a_name_logs_in_in_every_spelling_that_is_the_same(desk: Desk, name: str) -> None:
    """S29: and counts as the same account."""
    await desk.add("alice")
    assert desk.who(await desk.log_in(name)).subject == "alice"


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("nobody", PASSWORD),
        ("alice", "not the password"),
        ("", ""),
        ("alice", ""),
        ("alice\0", PASSWORD),
        ("x" * 4000, PASSWORD),
    ],
)
async def test_whatever_is_wrong_is_told_in_the_same_words(
    desk: Desk, name: str, password: str
) -> None:
    """S27, S31: and a password is compared each time, so that it takes as long."""
    await desk.add("alice")
    with pytest.raises(InvalidCredentials, match=r"^Incorrect username or password$"):
        await desk.log_in(name, password)
    assert len(desk.passwords.compared) == 1
    assert await desk.desk.count_live() == 0


async def test_only_who_knows_the_password_learns_that_the_account_is_disabled(desk: Desk) -> None:
    await desk.add()
    await desk.accounts.disable("alice")
    with pytest.raises(Denied, match="disabled"):
        await desk.log_in()
    with pytest.raises(InvalidCredentials):
        await desk.log_in(password="not the password")
    assert await desk.desk.count_live() == 0


async def test_a_hash_that_is_too_weak_by_now_is_replaced_at_the_next_login(desk: Desk) -> None:
    await desk.users.add("alice", f"old:{PASSWORD}")
    await desk.log_in()
    assert desk.passwords.compared == [f"old:{PASSWORD}"]
    credentials = await desk.users.credentials("alice")
    assert credentials is not None
    assert credentials.password_hash == f"new:{PASSWORD}"


async def test_a_wrong_password_replaces_no_hash(desk: Desk) -> None:
    await desk.users.add("alice", f"old:{PASSWORD}")
    with pytest.raises(InvalidCredentials):
        await desk.log_in(password="not the password")
    credentials = await desk.users.credentials("alice")
    assert credentials is not None
    assert credentials.password_hash == f"old:{PASSWORD}"


async def test_two_who_upgrade_a_hash_at_once_both_come_in(desk: Desk) -> None:
    await desk.users.add("alice", f"old:{PASSWORD}")

    async def log_in_meanwhile() -> None:
        await desk.log_in()

    desk.passwords.meanwhile = log_in_meanwhile
    desk.who(await desk.log_in())
    assert await desk.desk.count_live() == 2


async def disable(desk: Desk) -> None:
    await desk.accounts.disable("alice")


async def reset(desk: Desk) -> None:
    await desk.accounts.reset_password("alice", "another password")


async def change(desk: Desk) -> None:
    await desk.accounts.change_password("alice", PASSWORD, "another password", session_id="")


@pytest.mark.parametrize(
    ("event", "error"),
    [(disable, Denied), (reset, InvalidCredentials), (change, InvalidCredentials)],
)
@pytest.mark.parametrize("seconds", [0, 5])
async def test_what_happens_while_a_password_is_compared_counts(
    desk: Desk, event: Callable[[Desk], Awaitable[None]], error: type[GatewayError], seconds: int
) -> None:
    """S13: a login may wait for seconds; it must not outlive what ended all logins meanwhile."""
    await desk.add()

    async def meanwhile() -> None:
        await event(desk)
        desk.now += seconds

    desk.passwords.meanwhile = meanwhile
    with pytest.raises(error):
        await desk.log_in()
    assert await desk.desk.count_live() == 0


async def test_roles_that_change_while_a_password_is_compared_are_the_new_ones(desk: Desk) -> None:
    """S13"""
    await desk.add("alice", "admin")

    async def take_away() -> None:
        await desk.accounts.set_roles("alice", ["user"])

    desk.passwords.meanwhile = take_away
    assert desk.who(await desk.log_in()).roles == {"user"}


async def test_guessing_ends_with_the_time_to_wait_and_starts_again(desk: Desk) -> None:
    """S28"""
    await desk.add()
    for _ in range(10):
        with pytest.raises(InvalidCredentials):
            await desk.log_in(password="not the password")
    with pytest.raises(LimitReached) as refusal:
        await desk.log_in()
    assert len(desk.passwords.compared) == 10
    desk.now += refusal.value.retry_after_seconds
    await desk.log_in()


@pytest.mark.parametrize("names", [["alice", "ALICE", "alice\u200b", "\uff41lice"] * 5])
async def test_spelling_a_name_differently_is_no_way_around_the_limit(
    desk: Desk, names: list[str]
) -> None:
    """S29"""
    await desk.add()
    compared = 0
    for name in names:
        try:
            await desk.log_in(name, "not the password")
        except InvalidCredentials:
            compared += 1
        except LimitReached:
            break
    assert compared == 10


async def test_a_right_password_costs_the_account_nothing(desk: Desk) -> None:
    """S28"""
    await desk.add()
    for _ in range(30):
        await desk.log_in()
        desk.now += 2  # the address's own bucket


@pytest.mark.parametrize("trouble", [Unavailable("away"), LimitReached("full", 1)])
async def test_an_attempt_that_was_never_compared_costs_the_account_nothing(
    desk: Desk, trouble: GatewayError
) -> None:
    await desk.add()

    async def fail() -> None:
        raise trouble

    for _ in range(20):
        desk.passwords.meanwhile = fail
        with pytest.raises(type(trouble)):
            await desk.log_in()
        desk.now += 2
    await desk.log_in()


async def test_a_changed_password_is_limited_as_a_login_is(desk: Desk) -> None:
    """S28"""
    await desk.add()
    me = desk.who(await desk.log_in())
    for _ in range(10):
        with pytest.raises(InvalidCredentials):
            await desk.desk.change_password(me, "wrong", "another password", ADDRESS)
    with pytest.raises(LimitReached):
        await desk.desk.change_password(me, PASSWORD, "another password", ADDRESS)


async def test_an_unusable_new_password_is_no_failed_attempt(desk: Desk) -> None:
    await desk.add()
    me = desk.who(await desk.log_in())
    for _ in range(20):
        with pytest.raises(InvalidRequest):
            await desk.desk.change_password(me, PASSWORD, "short", ADDRESS)
        desk.now += 2
    await desk.desk.change_password(me, PASSWORD, "another password", ADDRESS)
    desk.revocations.check(me)


async def test_the_demo_makes_whom_it_does_not_know(desk: Desk) -> None:
    tokens = await asyncio.gather(*(desk.desk.login_without_password("dora") for _ in range(3)))
    assert {desk.who(token).subject for token in tokens} == {"dora"}
    assert desk.who(tokens[0]).roles == {"user"}
    await desk.accounts.disable("dora")
    with pytest.raises(Denied):
        await desk.desk.login_without_password("dora")
    with pytest.raises(InvalidRequest):
        await desk.desk.login_without_password("")


async def test_passwords_are_one_in_every_spelling_and_unusable_ones_are_wrong() -> None:
    """S31: with the real hash."""
    desk = Desk()
    with Passwords() as passwords:
        desk.use(passwords)
        await desk.accounts.add("alice", "cafe\u0301 au lait")
        desk.who(await desk.log_in(password="caf\u00e9 au lait"))
        for wrong in ("cafe au lait", "caf\u00e9 au lait\0", "x" * 5000, ""):
            with pytest.raises(InvalidCredentials):
                await desk.log_in(password=wrong)


async def test_no_step_writes_a_secret_into_the_log(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """S21"""
    caplog.set_level(logging.DEBUG)
    await desk.add()
    first = await desk.log_in()
    second = await desk.desk.refresh(first.refresh_token)
    desk.now += 60
    await refused(desk.desk.refresh(first.refresh_token), "used before")
    with pytest.raises(InvalidCredentials):
        await desk.log_in(password="canary password")
    assert "came back" in caplog.text
    for secret in (
        PASSWORD,
        "canary password",
        *(tokens.access_token for tokens in (first, second)),
        *(tokens.refresh_token for tokens in (first, second)),
    ):
        assert secret not in caplog.text
