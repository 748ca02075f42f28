"""Where a request comes from, and which addresses count as one."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network

_ONE_CUSTOMER = 64  # the leading bits of IPv6 that a provider gives to one customer


def bucket_of(address: str) -> str:
    """The name under which an address is counted: IPv6 by its /64, where hopping costs nothing.

    What is no address is its own bucket; a Unix socket has none, and is "".
    """
    parsed = _parse(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((int(parsed), _ONE_CUSTOMER), strict=False))
    return address if parsed is None else str(parsed)


def client_address(peer: str, forwarded_for: str | None, trusted: Sequence[Network]) -> str:
    """The address of the client, whatever anybody but our own proxies says about it.

    Each proxy appends the address that it saw to X-Forwarded-For, so the list is read from its
    end, and only for as long as those who wrote it are trusted. Several headers are one list,
    joined by commas. Where the list cannot be read, or the peer is none of ours, it is the peer.
    """
    parsed = _parse(peer)
    if parsed is None:
        return peer
    client = parsed
    for entry in reversed(forwarded_for.split(",") if forwarded_for else []):
        if not _is_trusted(client, trusted):
            break
        said = _parse(_without_port(entry.strip()))
        if said is None:
            return str(parsed)
        client = said
    return str(client)


def is_trusted(peer: str, trusted: Sequence[Network]) -> bool:
    """Whether the other end of a connection is one of our own proxies."""
    parsed = _parse(peer)
    return parsed is not None and _is_trusted(parsed, trusted)


def _is_trusted(address: IPv4Address | IPv6Address, trusted: Sequence[Network]) -> bool:
    return any(address in network for network in trusted)


def _without_port(entry: str) -> str:
    """Some proxies append the client's port, too; then IPv6 stands in brackets."""
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    host, colon, port = entry.partition(":")
    return host if colon and port.isdecimal() and "." in host else entry


def _parse(address: str) -> IPv4Address | IPv6Address | None:
    """One spelling for each address: a dual-stack socket shows IPv4 as ``::ffff:192.0.2.1``."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    if isinstance(parsed, IPv6Address):
        # Without its zone (%eth0), which a client could vary at will.
        return parsed.ipv4_mapped or IPv6Address(int(parsed))
    return parsed
