"""A ticket stands for a token: once, for seconds, and for nothing more than the token did."""

import asyncio
import dataclasses
import re

import pytest

from gateway.adapters.memory.tickets import MemoryTickets
from gateway.core.tickets import TicketOffice
from gateway.domain.errors import InvalidToken
from gateway.domain.principal import Action, Principal

ALICE = Principal(
    subject="ali\u00e7e \U0001f511",
    token_id="jti",
    issued_at=1_000,
    expires_at=2_000,
    roles=frozenset({"publisher", "editor"}),
    grants={Action.PUBLISH: ("news.*", "a"), Action.SUBSCRIBE: ()},
    session_id="login",
)


class Clock:
    def __init__(self) -> None:
        self.now = 1_500.0

    def __call__(self) -> float:
        return self.now


class OpenTickets(MemoryTickets):
    """Shows what it is asked, and can be given what no office wrote."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock=clock)
        self.asked: list[str] = []
        self.lifetimes: list[float] = []

    async def put(self, ticket_key: str, value: bytes, lifetime_seconds: float) -> None:
        self.lifetimes.append(lifetime_seconds)
        await super().put(ticket_key, value, lifetime_seconds)

    async def take(self, ticket_key: str) -> bytes | None:
        self.asked.append(ticket_key)
        return await super().take(ticket_key)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tickets(clock: Clock) -> OpenTickets:
    return OpenTickets(clock)


@pytest.fixture
def office(tickets: OpenTickets, clock: Clock) -> TicketOffice:
    return TicketOffice(tickets, clock=clock)


async def test_a_ticket_admits_whom_it_was_given_to_with_every_claim(office: TicketOffice) -> None:
    principal = await office.redeem(await office.issue(ALICE))
    assert principal == ALICE
    assert all(isinstance(action, Action) for action in principal.grants)
    unset = [
        field.name
        for field in dataclasses.fields(Principal)
        if getattr(ALICE, field.name) in (field.default, {}, frozenset())
    ]
    assert unset == [], "give the new claim a value here: it must survive, too"


async def test_a_token_without_grants_and_roles_stays_one(office: TicketOffice) -> None:
    bare = Principal("bob", "jti", 1, 1 << 40)
    assert await office.redeem(await office.issue(bare)) == bare


async def test_a_ticket_admits_once(office: TicketOffice) -> None:
    ticket = await office.issue(ALICE)
    await office.redeem(ticket)
    with pytest.raises(InvalidToken, match="unknown, used or expired"):
        await office.redeem(ticket)


async def test_of_many_who_bring_the_same_ticket_one_is_admitted(office: TicketOffice) -> None:
    ticket = await office.issue(ALICE)
    outcomes = await asyncio.gather(
        *(office.redeem(ticket) for _ in range(20)), return_exceptions=True
    )
    assert outcomes.count(ALICE) == 1
    assert sum(isinstance(outcome, InvalidToken) for outcome in outcomes) == 19


async def test_a_ticket_lives_for_seconds(
    office: TicketOffice, tickets: OpenTickets, clock: Clock
) -> None:
    ticket = await office.issue(ALICE)
    assert tickets.lifetimes == [30] == [office.lifetime_seconds]
    clock.now += 30
    with pytest.raises(InvalidToken):
        await office.redeem(ticket)


async def test_a_ticket_does_not_outlive_its_token(office: TicketOffice, clock: Clock) -> None:
    """S11"""
    clock.now = 1_999
    first, second = await office.issue(ALICE), await office.issue(ALICE)
    assert (await office.redeem(first)).expires_at == 2_000
    clock.now = 2_000
    with pytest.raises(InvalidToken, match="the token has expired"):
        await office.redeem(second)


async def test_tickets_are_random_and_fit_into_an_address(office: TicketOffice) -> None:
    made = [await office.issue(ALICE) for _ in range(100)]
    assert len(set(made)) == 100
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{32}", ticket) for ticket in made)


@pytest.mark.parametrize(
    "ticket",
    ["", "x", "a" * 31, "a" * 33, "a" * 100_000, "\u0430" * 32, "\ud800" * 32, "a" * 32 + "\n"],
)
async def test_what_is_no_ticket_is_refused_without_asking(
    office: TicketOffice, tickets: OpenTickets, ticket: str
) -> None:
    with pytest.raises(InvalidToken):
        await office.redeem(ticket)
    assert tickets.asked == []


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"junk",
        b"[]",
        b'"text"',
        b"{}",
        b'{"subject":"alice"}',
        b'{"subject":"a","token_id":"j","issued_at":1,"expires_at":"never"}',
        b'{"subject":"a","token_id":"j","issued_at":1,"expires_at":9999999999,"grants":{"fly":[]}}',
        b'{"subject":"a","token_id":"j","issued_at":1,"expires_at":9999999999,"only_on":"x"}',
    ],
)
async def test_claims_that_cannot_be_heeded_admit_nobody(
    office: TicketOffice, tickets: OpenTickets, value: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    await tickets.put("a" * 32, value, 30)
    with pytest.raises(InvalidToken, match="cannot be understood"):
        await office.redeem("a" * 32)
    assert "do all replicas run one version?" in caplog.text
