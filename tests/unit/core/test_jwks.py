"""When the keys of another issuer are fetched, and what counts while they cannot be."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from gateway.core.jwks import JwksKeeper
from gateway.core.tokens import ExternalIssuer, KeyRing, TokenVerifier
from gateway.domain.errors import InvalidToken, Unavailable
from gateway.ports.jwks import JwksSource
from tests.unit.core.tokens.forging import (
    CLAIMS,
    as_jwk,
    as_jwks,
    family,
    make_verifier,
    rsa_key,
)

ONE, TWO = as_jwk(rsa_key("one"), "one"), as_jwk(rsa_key("two"), "two")


class Source(JwksSource):
    """Answers with its document, fails with its trouble, or waits while it is held."""

    def __init__(self, *entries: object) -> None:
        self.document = as_jwks(*entries)
        self.trouble = ""
        self.fetches = 0
        self.open = asyncio.Event()
        self.open.set()

    async def fetch(self) -> bytes:
        self.fetches += 1
        await self.open.wait()
        if self.trouble:
            raise Unavailable(self.trouble)
        return self.document


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def make_keeper(source: Source, clock: Clock | None = None, **changes: float) -> JwksKeeper:
    return JwksKeeper(source, KeyRing("login.example"), clock=clock or Clock(), **changes)


@asynccontextmanager
async def running(keeper: JwksKeeper) -> AsyncIterator[None]:
    task = asyncio.create_task(keeper.run())
    try:
        yield
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    pytest.fail("it never came to that")


def verifier_of(keeper: JwksKeeper) -> TokenVerifier:
    return make_verifier(
        external=[ExternalIssuer("https://login.example", "us", ["RS256"], keeper.ring)]
    )


def token_of(kid: str) -> str:
    claims = CLAIMS | {"iss": "https://login.example", "aud": "us"}
    return family("RS256", kid).forge({"kid": kid}, claims)


async def test_the_keys_are_there_soon_after_the_start() -> None:
    keeper = make_keeper(Source(ONE))
    async with running(keeper):
        await until(lambda: len(keeper.ring) == 1)
        assert verifier_of(keeper).verify(token_of("one")).subject == "alice"


async def test_before_that_a_token_is_neither_right_nor_wrong() -> None:
    source = Source(ONE)
    source.open.clear()
    keeper = make_keeper(source)
    verifier = verifier_of(keeper)
    with pytest.raises(Unavailable, match="try again"):
        verifier.verify(token_of("one"))
    async with running(keeper):
        await until(lambda: source.fetches == 1)
        with pytest.raises(Unavailable, match="try again"):
            verifier.verify(token_of("one"))
        source.open.set()
        await until(lambda: len(keeper.ring) == 1)
        assert verifier.verify(token_of("one")).subject == "alice"


async def test_the_keys_are_refreshed_in_the_background() -> None:
    """S10"""
    source = Source(ONE)
    keeper = make_keeper(source, refresh_seconds=0.01)
    async with running(keeper):
        await until(lambda: keeper.ring.find("one") is not None)
        source.document = as_jwks(ONE, TWO)
        await until(lambda: keeper.ring.find("two") is not None)
        assert keeper.ring.find("one") is not None
        source.document = as_jwks(TWO)
        await until(lambda: keeper.ring.find("one") is None)


async def test_a_token_of_a_new_key_is_accepted_after_one_fetch() -> None:
    """S07, S10: long before the next regular refresh."""
    source = Source(ONE)
    keeper = make_keeper(source)
    verifier = verifier_of(keeper)
    async with running(keeper):
        await until(lambda: len(keeper.ring) == 1)
        source.document = as_jwks(ONE, TWO)
        with pytest.raises(Unavailable, match="try again") as trouble:
            verifier.verify(token_of("two"))
        assert trouble.value.retry_after_seconds == 1.0
        await until(lambda: len(keeper.ring) == 2)
        assert verifier.verify(token_of("two")).subject == "alice"
        assert source.fetches == 2


async def test_a_storm_of_unknown_keys_costs_one_fetch() -> None:
    """S07: whoever sends them cannot make us hammer the issuer."""
    source, clock = Source(ONE), Clock()
    keeper = make_keeper(source, clock)
    verifier = verifier_of(keeper)
    unknown = token_of("two")
    async with running(keeper):
        await until(lambda: len(keeper.ring) == 1)
        source.open.clear()
        for _ in range(100):
            with pytest.raises(Unavailable):
                verifier.verify(unknown)
        await until(lambda: source.fetches == 2)
        for _ in range(100):  # while the fetch is under way
            with pytest.raises(Unavailable):
                verifier.verify(unknown)
        source.open.set()
        await until(lambda: keeper.ring.seconds_until_known() is None)
        for clock.now in (1000.0, 1029.9):
            with pytest.raises(InvalidToken, match="the token is not valid"):
                verifier.verify(unknown)
        assert source.fetches == 2
        clock.now = 1030.0
        with pytest.raises(Unavailable):
            verifier.verify(unknown)
        await until(lambda: source.fetches == 3)


async def test_a_regular_fetch_under_way_is_waited_for() -> None:
    """S07: it may bring the key, and does not count as the one that the token may cause."""
    source = Source(ONE)
    keeper = make_keeper(source)
    verifier = verifier_of(keeper)
    assert await keeper.refresh()
    source.open.clear()
    source.document = as_jwks(ONE, as_jwk(rsa_key("new"), "new"))
    regular = asyncio.create_task(keeper.refresh())
    await until(lambda: source.fetches == 2)
    with pytest.raises(Unavailable):
        verifier.verify(token_of("two"))
    source.open.set()
    assert await regular
    with pytest.raises(Unavailable):  # this one asks for a fetch of its own
        verifier.verify(token_of("two"))
    with pytest.raises(Unavailable):
        verifier.verify(token_of("two"))
    assert await keeper.refresh()
    with pytest.raises(InvalidToken):
        verifier.verify(token_of("two"))


async def test_verifying_itself_fetches_nothing() -> None:
    """S07: no network access is caused synchronously, and a known key asks for none at all."""
    source = Source(ONE)
    keeper = make_keeper(source)
    assert await keeper.refresh()
    verifier = verifier_of(keeper)
    for _ in range(3):
        verifier.verify(token_of("one"))
    with pytest.raises(Unavailable):
        verifier.verify(token_of("two"))
    assert source.fetches == 1


async def test_the_old_keys_stay_valid_while_the_source_is_down(
    caplog: pytest.LogCaptureFixture,
) -> None:
    source, clock = Source(ONE), Clock()
    keeper = make_keeper(source, clock, stale_seconds=1000)
    verifier = verifier_of(keeper)
    assert await keeper.refresh()
    source.trouble = "login.example answered 500"
    clock.now += 999
    assert not await keeper.refresh()
    assert verifier.verify(token_of("one")).subject == "alice"
    assert "1 older ones stay valid: login.example answered 500" in caplog.text
    # A key that is not among them may be a new one, so it is no refusal, however often.
    for _ in range(3):
        with pytest.raises(Unavailable, match="try again"):
            verifier.verify(token_of("two"))
        assert not await keeper.refresh()


async def test_keys_that_nobody_confirmed_for_too_long_are_forgotten() -> None:
    """S10: a key that was withdrawn must not verify for ever."""
    source, clock = Source(ONE), Clock()
    keeper = make_keeper(source, clock, stale_seconds=1000)
    assert await keeper.refresh()
    source.trouble = "down"
    clock.now += 1000
    assert not await keeper.refresh()
    assert len(keeper.ring) == 0
    with pytest.raises(Unavailable):
        verifier_of(keeper).verify(token_of("one"))
    source.trouble = ""
    assert await keeper.refresh()
    assert verifier_of(keeper).verify(token_of("one")).subject == "alice"


async def test_a_document_that_cannot_be_used_is_like_none(
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = Source(ONE)
    keeper = make_keeper(source)
    assert await keeper.refresh()
    source.document = b"<html>down for maintenance</html>"
    assert not await keeper.refresh()
    assert len(keeper.ring) == 1
    assert "not JSON" in caplog.text


async def test_a_source_that_was_down_is_asked_again() -> None:
    source = Source(ONE)
    source.trouble = "down"
    keeper = make_keeper(source, refetch_interval_seconds=0.01)
    async with running(keeper):
        await until(lambda: source.fetches >= 3)
        source.trouble = ""
        await until(lambda: len(keeper.ring) == 1)


async def test_the_waiting_between_failures_grows_to_its_limit_and_ends_when_stale() -> None:
    source, clock = Source(ONE), Clock()
    keeper = make_keeper(source, clock, stale_seconds=1000)
    source.trouble = "down"
    delays = []
    for _ in range(7):
        await keeper.refresh()
        delays.append(keeper._delay_seconds())
    assert delays == [1, 2, 4, 8, 16, 30, 30]
    source.trouble = ""
    await keeper.refresh()
    assert keeper._delay_seconds() == 300
    source.trouble = "down"
    clock.now += 995
    for _ in range(5):
        await keeper.refresh()
    assert keeper._delay_seconds() == 5


async def test_a_bug_in_the_source_is_not_hidden() -> None:
    class Broken(Source):
        async def fetch(self) -> bytes:
            raise KeyError("bug")

    with pytest.raises(KeyError):
        await make_keeper(Broken()).run()


def test_keys_are_refreshed_before_they_are_stale() -> None:
    with pytest.raises(ValueError, match="before they are stale"):
        make_keeper(Source(), refresh_seconds=10, stale_seconds=9)
