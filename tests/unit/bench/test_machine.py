"""Cores and limits."""

import os

from gateway.bench.machine import Cores, pinned, sockets_that_fit


def test_the_server_has_a_core_of_its_own() -> None:
    cores = Cores.divide(frozenset([2, 5, 7]))

    assert cores == Cores(frozenset([2]), frozenset([5, 7]))
    assert cores.are_apart


def test_one_core_is_shared() -> None:
    cores = Cores.divide(frozenset([3]))

    assert cores == Cores(frozenset([3]), frozenset([3]))
    assert not cores.are_apart


def test_processes_are_pinned_only_inside_the_block() -> None:
    before = os.sched_getaffinity(0)

    with pinned(frozenset([min(before)])):
        assert os.sched_getaffinity(0) == {min(before)}

    assert os.sched_getaffinity(0) == before


def test_sockets_are_limited_by_the_server_and_by_the_generator() -> None:
    assert sockets_that_fit(2300, workers=4, servers=1) == 2000
    assert sockets_that_fit(2300, workers=1, servers=2) == 1000
