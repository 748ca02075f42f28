"""Dividing work among the generator's processes."""

from gateway.bench.crew import Count, divide


def test_work_is_divided_without_a_rest() -> None:
    divided = divide(10, 3)

    assert [len(share) for share in divided] == [3, 3, 4]
    assert [number for share in divided for number in share] == list(range(10))


def test_a_count_without_time_has_no_rate() -> None:
    assert Count(10, 2.0).per_second == 5.0
    assert Count(0, 0.0).per_second == 0.0
