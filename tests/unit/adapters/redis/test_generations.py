"""When an epoch is over; `tests/integration/redis/test_generations.py`: the script agrees."""

import pytest

from gateway.adapters.redis.channels.generations import is_over, next_epoch


def test_an_epoch_is_over_where_it_began_in_another_generation() -> None:
    assert not is_over(b"2@b", "2@b")
    assert is_over(b"1@a", "2@b")
    assert is_over(b"3@a", "2@b")


@pytest.mark.parametrize(
    ("began_in", "now", "over"),
    [(b"0", "0", False), (b"0", "7", True), (b"9", "10", True), (b"10", "9", False)],
)
def test_where_generations_are_numbers_an_epoch_of_a_later_one_goes_on(
    began_in: bytes, now: str, over: bool
) -> None:
    assert is_over(began_in, now) is over


def test_of_two_kinds_of_generation_none_goes_on_in_the_other() -> None:
    assert is_over(b"1@a", "5")
    assert is_over(b"5", "6@a")


@pytest.mark.parametrize("began_in", [None, b"", b"1@a", b"5"])
def test_where_nobody_knows_the_generation_nothing_is_over(began_in: bytes | None) -> None:
    assert not is_over(began_in, "")
    if not began_in:
        assert not is_over(began_in, "2@b")
        assert not is_over(began_in, "5")


def test_the_next_epoch_depends_on_the_one_before_and_on_the_generation() -> None:
    following = next_epoch("e1", "2@b")
    assert following == next_epoch("e1", "2@b")
    assert len({following, next_epoch("e2", "2@b"), next_epoch("e1", "3@b"), "e1"}) == 4
    assert len(following) == 8
