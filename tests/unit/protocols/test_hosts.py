"""Which Host headers name this gateway."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocols.hosts import Hosts, name_of

HOSTS = Hosts(["api.example", "*.chat.example", "[2001:db8::1]", "127.0.0.1"])


@pytest.mark.parametrize(
    "host",
    [
        "api.example",
        "API.Example",
        "api.example:8443",
        "api.example.",
        "api.example.:443",
        "eu.chat.example",
        "a.b.chat.example:80",
        "127.0.0.1:8000",
        "[2001:db8::1]",
        "[2001:db8::1]:8000",
    ],
)
def test_a_name_on_the_list_is_ours_in_every_spelling(host: str) -> None:
    """S60"""
    assert host in HOSTS


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "api.example.evil",
        "evil-api.example",
        "evilchat.example",
        "chat.example",  # what is below it is listed, not the name itself
        ".chat.example.evil",
        "api.example@evil",
        "evil/api.example",
        "api.example, evil",
        "evil:80, api.example",
        "api.example:x",
        "api.example:",
        "[2001:db8::2]",
        "2001:db8::1",
        "::ffff:127.0.0.1",
    ],
)
def test_any_other_name_is_not(host: str) -> None:
    """S60"""
    assert host not in HOSTS


def test_without_a_list_every_name_will_do() -> None:
    assert Hosts().is_any
    assert "anything at all" in Hosts()
    assert "" in Hosts()


@given(st.text(max_size=60))
def test_whatever_is_claimed_is_one_name_or_none(host: str) -> None:
    assert (host in HOSTS) == (
        name_of(host) in ("api.example", "[2001:db8::1]", "127.0.0.1")
        or name_of(host).endswith(".chat.example")
    )
