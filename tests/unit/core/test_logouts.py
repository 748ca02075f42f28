"""Logging out: of this login, of all of them, and of a token that belongs to none."""

import dataclasses
from collections.abc import Awaitable

import pytest

from gateway.core.logins import Tokens
from gateway.domain.errors import (
    InvalidToken,
)
from gateway.domain.principal import Principal
from tests.unit.core.desk import NOW, TIMES, Desk


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def refused(refresh: Awaitable[Tokens], match: str) -> None:
    with pytest.raises(InvalidToken, match=match):
        await refresh


async def test_logging_out_ends_this_login(desk: Desk) -> None:
    """S12"""
    await desk.add()
    one, two = await desk.log_in(), await desk.log_in()
    principal = desk.who(one)
    assert await desk.desk.logout(principal)
    with pytest.raises(InvalidToken, match="revoked: logout"):
        desk.who(one)
    await refused(desk.desk.refresh(one.refresh_token), "ended")
    desk.who(two)
    await desk.desk.refresh(two.refresh_token)


async def test_logging_out_everywhere_ends_all_of_them(desk: Desk) -> None:
    """S12"""
    await desk.add()
    one, two = await desk.log_in(), await desk.log_in()
    assert await desk.desk.logout_everywhere(desk.who(one))
    for tokens in (one, two):
        with pytest.raises(InvalidToken, match="revoked: logout"):
            desk.who(tokens)
        await refused(desk.desk.refresh(tokens.refresh_token), "ended")


async def test_a_token_without_a_login_is_revoked_by_itself(desk: Desk) -> None:
    """S04"""
    mine = Principal("alice", "t1", int(NOW), int(NOW) + 60)
    other = dataclasses.replace(mine, token_id="t2")
    assert await desk.desk.logout(mine)
    with pytest.raises(InvalidToken):
        desk.revocations.check(mine)
    desk.revocations.check(other)
    assert desk.ended[0].expires_at > mine.expires_at + TIMES.leeway


async def test_a_login_is_forgotten_when_none_of_its_tokens_can_come_back(desk: Desk) -> None:
    await desk.add()
    tokens = await desk.log_in()
    await desk.desk.logout(desk.who(tokens))
    desk.now += TIMES.refresh_token - 1
    assert await desk.desk.prune() == 0
    desk.now += 2
    assert await desk.desk.prune() == 1
