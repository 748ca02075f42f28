"""Where a request comes from: what can be made up must not be believed."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.addresses import bucket_of, client_address

PROXIES = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("address", "bucket"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:c000:201", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("testclient", "testclient"),
        ("192.0.2.01", "192.0.2.01"),
    ],
)
def test_addresses_that_cost_nothing_to_change_are_one(address: str, bucket: str) -> None:
    """S29"""
    assert bucket_of(address) == bucket


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
def test_no_hop_within_a_64_leaves_the_bucket(address: object, low: int) -> None:
    """S29"""
    high = int(address) >> 64 << 64  # type: ignore[call-overload]
    if high:
        assert bucket_of(str(ip_network((high | low, 128)).network_address)) == bucket_of(
            str(address)
        )


@given(st.text())
def test_a_bucket_can_be_found_for_any_text(text: str) -> None:
    bucket_of(text)
    client_address(text, text, PROXIES)
    assert client_address("10.0.0.1", text, []) == "10.0.0.1"


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        # Nobody but our proxies is believed.
        ("192.0.2.1", "203.0.113.9", "192.0.2.1"),
        ("192.0.2.1", None, "192.0.2.1"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        # What the client wrote itself stands on the left.
        ("10.0.0.1", "198.51.100.7, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "junk, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "10.9.9.9, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "203.0.113.9, 10.0.0.2,10.0.0.3 ", "203.0.113.9"),
        ("10.0.0.1", "198.51.100.7, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        # A client within our own network.
        ("10.0.0.1", "10.0.0.9, 10.0.0.2", "10.0.0.9"),
        # What cannot be read.
        ("10.0.0.1", "junk", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9, junk", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9, junk, 10.0.0.2", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9,", "10.0.0.1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.999", "10.0.0.1"),
        # Spellings.
        ("::ffff:10.0.0.1", "::ffff:203.0.113.9", "203.0.113.9"),
        ("fd00::1", "2001:DB8::0001", "2001:db8::1"),
        ("fd00::1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("fd00::1", "[2001:db8::1]", "2001:db8::1"),
        ("10.0.0.1", "203.0.113.9:4711", "203.0.113.9"),
        ("10.0.0.1", "203.0.113.9:x", "10.0.0.1"),
        # No address at all.
        ("", "203.0.113.9", ""),
        ("testclient", "203.0.113.9", "testclient"),
    ],
)
def test_the_client_is_whom_our_own_proxies_saw(
    peer: str, forwarded_for: str | None, client: str
) -> None:
    """S29"""
    assert client_address(peer, forwarded_for, PROXIES) == client


@given(st.text(alphabet="0123456789.:abcdef,[] %", max_size=60))
def test_whatever_a_client_writes_the_proxy_has_the_last_word(text: str) -> None:
    """S29"""
    assert client_address("10.0.0.1", f"{text},203.0.113.9", PROXIES) == "203.0.113.9"
    assert client_address("203.0.113.9", text, PROXIES) == "203.0.113.9"
