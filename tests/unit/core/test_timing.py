"""What takes time must not tell a secret, and what an attacker sends must not take time."""

import base64
import time
from collections.abc import Iterator, Sequence

import pytest

from gateway.core.passwords import Passwords
from gateway.domain.errors import InvalidCredentials, InvalidToken
from tests.unit.core.desk import Desk

_PAIRS = 100
_AS_GOOD_AS_EQUAL = 0.3  # of 0.5; by chance that far apart once in ten million runs


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    with Passwords() as passwords:
        yield passwords


async def seconds_of_a_failed_login(desk: Desk, name: str) -> float:
    desk.now += 600  # so that no limit is in the way
    start = time.perf_counter()
    with pytest.raises(InvalidCredentials):
        await desk.log_in(name, "not the password")
    return time.perf_counter() - start


def chance_to_be_longer(ones: Sequence[float], others: Sequence[float]) -> float:
    """How often one of the first is longer than one of the others (Mann and Whitney's U)."""
    wins = sum((one > other) + (one == other) / 2 for one in ones for other in others)
    return wins / (len(ones) * len(others))


@pytest.mark.long
async def test_how_long_a_refusal_takes_does_not_tell_whether_the_user_exists(
    passwords: Passwords,
) -> None:
    """S27: each pair in turn, so that a busy machine is as busy for both; no mean, no outliers."""
    desk = Desk()
    desk.use(passwords)
    await desk.add("alice")
    known, unknown = [], []
    for n in range(_PAIRS):
        known.append(await seconds_of_a_failed_login(desk, "alice"))
        unknown.append(await seconds_of_a_failed_login(desk, f"nobody-{n}"))
    assert abs(chance_to_be_longer(known, unknown) - 0.5) < _AS_GOOD_AS_EQUAL


@pytest.mark.parametrize("nested", [b"[" * 1000, b'{"a":' * 600, b'{"alg":' + b"[" * 1000])
def test_a_nested_header_that_nobody_signed_takes_no_time(nested: bytes) -> None:
    """S09: the quickest of some tries, as others may use the machine, too."""
    token = base64.urlsafe_b64encode(nested).decode().rstrip("=") + ".e30.AAAA"
    verifier = Desk().verifier
    took = []
    for _ in range(20):
        start = time.perf_counter()
        with pytest.raises(InvalidToken):
            verifier.verify(token)
        took.append(time.perf_counter() - start)
    assert min(took) < 0.005
