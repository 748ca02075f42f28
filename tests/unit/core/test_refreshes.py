"""Refresh tokens: each is good once, an honest repetition is forgiven, and a thief is noticed."""

import asyncio
from collections.abc import Awaitable

import pytest

from gateway.core.logins import Tokens
from gateway.domain.errors import InvalidToken
from gateway.domain.revocations import RevocationKind
from tests.unit.core.desk import KEYS, TIMES, Desk


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
async def first(desk: Desk) -> Tokens:
    await desk.add("alice", "user")
    return await desk.log_in()


async def refused(refresh: Awaitable[Tokens], match: str) -> None:
    with pytest.raises(InvalidToken, match=match):
        await refresh


async def test_a_refresh_goes_on_with_the_same_login(desk: Desk, first: Tokens) -> None:
    """S15"""
    desk.now += 600
    second = await desk.desk.refresh(first.refresh_token)
    desk.now += 600
    third = await desk.desk.refresh(second.refresh_token)

    assert len({tokens.refresh_token for tokens in (first, second, third)}) == 3
    principal = desk.who(third)
    assert principal.expires_at == int(desk.now) + 900
    login = await desk.logins.find(principal.session_id)
    assert login is not None
    assert login.generation == 2
    assert await desk.desk.count_live() == 1


async def test_a_used_token_that_comes_back_ends_the_login_for_everybody(
    desk: Desk, first: Tokens
) -> None:
    """S15"""
    second = await desk.desk.refresh(first.refresh_token)
    desk.now += TIMES.refresh_grace + 1

    await refused(desk.desk.refresh(first.refresh_token), "used before, so the login has ended")

    assert [(entry.kind, entry.reason) for entry in desk.ended] == [
        (RevocationKind.SESSION, "reuse")
    ]
    for tokens in (first, second):
        with pytest.raises(InvalidToken, match="revoked: reuse"):
            desk.who(tokens)
        await refused(desk.desk.refresh(tokens.refresh_token), "the login has ended")


async def test_a_token_before_the_last_one_is_a_stolen_one_at_once(
    desk: Desk, first: Tokens
) -> None:
    """S15: nobody repeats a request whose answer was used already."""
    second = await desk.desk.refresh(first.refresh_token)
    third = await desk.desk.refresh(second.refresh_token)
    await refused(desk.desk.refresh(first.refresh_token), "used before")
    await refused(desk.desk.refresh(third.refresh_token), "ended")


async def test_other_logins_of_the_user_stay(desk: Desk, first: Tokens) -> None:
    """S15"""
    other = await desk.log_in()
    await desk.desk.refresh(first.refresh_token)
    desk.now += 60
    await refused(desk.desk.refresh(first.refresh_token), "used before")
    desk.who(await desk.desk.refresh(other.refresh_token))


async def test_of_many_at_once_one_rotates_and_all_get_its_token(desk: Desk, first: Tokens) -> None:
    """S16"""
    answers = await asyncio.gather(*(desk.desk.refresh(first.refresh_token) for _ in range(20)))
    assert len({tokens.refresh_token for tokens in answers}) == 1
    principal = desk.who(answers[0])
    login = await desk.logins.find(principal.session_id)
    assert login is not None
    assert login.generation == 1
    await desk.desk.refresh(answers[-1].refresh_token)


@pytest.mark.parametrize("seconds", [0, 1, TIMES.refresh_grace])
async def test_a_lost_answer_can_be_asked_for_again(
    desk: Desk, first: Tokens, seconds: int
) -> None:
    """S16"""
    lost = await desk.desk.refresh(first.refresh_token)
    desk.now += seconds
    again = await desk.desk.refresh(first.refresh_token)
    assert again.refresh_token == lost.refresh_token
    desk.who(again)
    assert desk.ended == []


async def test_without_a_grace_a_repetition_is_a_reuse(desk: Desk, first: Tokens) -> None:
    """S16"""
    desk.without_grace()
    await desk.desk.refresh(first.refresh_token)
    desk.now += 0.001
    await refused(desk.desk.refresh(first.refresh_token), "used before")


async def test_a_key_that_changes_in_between_does_not_look_like_theft(
    desk: Desk, first: Tokens
) -> None:
    """S10, S16: the text differs then, and says the same."""
    lost = await desk.desk.refresh(first.refresh_token)
    desk.rotate_keys(KEYS[0])
    again = await desk.desk.refresh(first.refresh_token)
    assert again.refresh_token != lost.refresh_token
    third = await desk.desk.refresh(lost.refresh_token)
    assert (await desk.desk.refresh(again.refresh_token)).refresh_token == third.refresh_token
    desk.who(third)


async def test_a_key_that_is_gone_ends_what_it_signed(desk: Desk, first: Tokens) -> None:
    """S10"""
    desk.rotate_keys()
    await refused(desk.desk.refresh(first.refresh_token), "not valid")


async def test_a_refresh_token_is_no_access_token_nor_the_reverse(
    desk: Desk, first: Tokens
) -> None:
    """S06"""
    with pytest.raises(InvalidToken):
        desk.verifier.verify(first.refresh_token)
    await refused(desk.desk.refresh(first.access_token), ".")


async def test_a_login_ends_by_itself(desk: Desk, first: Tokens) -> None:
    desk.now = int(desk.now) + TIMES.refresh_token
    await refused(desk.desk.refresh(first.refresh_token), "ended")
    desk.now += TIMES.leeway
    await refused(desk.desk.refresh(first.refresh_token), "expired")


@pytest.mark.parametrize("left_seconds", [0.01, 0.5, 0.99, 1.5])
async def test_the_last_moment_of_a_login_is_like_any_other(
    desk: Desk, first: Tokens, left_seconds: float
) -> None:
    login = await desk.logins.find(desk.who(first).session_id)
    assert login is not None
    desk.now = login.expires_at - left_seconds
    desk.who(await desk.desk.refresh(first.refresh_token))


async def test_a_token_of_a_time_that_the_database_has_forgotten_is_only_refused(
    desk: Desk, first: Tokens
) -> None:
    """A restored backup must not look like a theft."""
    before = dict(desk.logins._logins)
    second = await desk.desk.refresh(first.refresh_token)
    third = await desk.desk.refresh(second.refresh_token)
    desk.logins._logins = before
    await refused(desk.desk.refresh(third.refresh_token), "not known")
    assert desk.ended == []
    desk.who(await desk.desk.refresh(first.refresh_token))


async def test_a_login_that_nobody_knows_is_refused(desk: Desk, first: Tokens) -> None:
    desk.logins._logins.clear()
    await refused(desk.desk.refresh(first.refresh_token), "ended")


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "é" * 50, "x" * 20_000])
async def test_what_is_no_token_is_refused(desk: Desk, text: str) -> None:
    """S01, S03"""
    await refused(desk.desk.refresh(text), ".")


async def test_nothing_that_is_kept_is_of_use_to_a_thief(desk: Desk, first: Tokens) -> None:
    """S17: neither the tokens nor their signatures stand anywhere."""
    second = await desk.desk.refresh(first.refresh_token)
    kept = repr((vars(desk.logins), vars(desk.users), vars(desk.log), vars(desk.limiter)))
    for tokens in (first, second):
        for secret in (tokens.access_token, tokens.refresh_token):
            for part in secret.split(".")[1:]:
                assert part not in kept
