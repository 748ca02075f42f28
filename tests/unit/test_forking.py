"""Which gateways the tests may fork, see tests/support/forking.py."""

import os

import pytest

from tests.support.forking import can_fork
from tests.support.servers import gateway_environment


def test_one_that_differs_in_its_settings_alone_is_forked() -> None:
    assert can_fork(gateway_environment(sockets_max=3))


@pytest.mark.parametrize(
    "changed", [{"LD_PRELOAD": "clock.so"}, {"PATH": "/elsewhere"}, {"GATEWAY_WORKERS": "2"}]
)
def test_whatever_has_to_be_there_from_the_start_is_started_anew(changed: dict[str, str]) -> None:
    assert not can_fork({**os.environ, **gateway_environment(), **changed})
