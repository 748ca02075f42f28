"""Which running servers may be measured at all."""

import pytest

from gateway.bench.attached import BadOptions, attach


@pytest.mark.parametrize("url", ["ws://127.0.0.1:8000", "ws://localhost:8000/", "ws://127.9.9.9"])
def test_a_server_on_this_machine_may_be_measured(url: str) -> None:
    target = attach(url, "a-token", is_own_server=False)

    assert target.host.startswith("127.")
    assert target.token == "a-token"


def test_somebody_elses_server_is_refused() -> None:
    with pytest.raises(BadOptions, match="--i-own-this-server"):
        attach("ws://192.0.2.1:8000", "a-token", is_own_server=False)
    assert attach("ws://192.0.2.1:8000", "a-token", is_own_server=True).host == "192.0.2.1"


@pytest.mark.parametrize(
    ("url", "token", "problem"),
    [
        ("wss://127.0.0.1", "t", "no TLS"),
        ("http://127.0.0.1", "t", "--url is written like"),
        ("ws://127.0.0.1:port", "t", "--url is written like"),
        ("ws://127.0.0.1/ws/room", "t", "no path"),
        ("ws://127.0.0.1", "", "--token"),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_line(url: str, token: str, problem: str) -> None:
    with pytest.raises(BadOptions, match=problem):
        attach(url, token, is_own_server=False)
