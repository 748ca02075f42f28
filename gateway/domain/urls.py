"""Which addresses may be trusted to say who somebody is."""

import re
from ipaddress import ip_address
from urllib.parse import urlsplit


def is_trustworthy_url(url: str) -> bool:
    """Whether it is https, or http to this machine itself, and holds no user name."""
    if re.search(r"[\s\x00-\x1f\x7f\\#]", url) or not url.isascii():
        return False
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or "@" in parts.netloc:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))


def is_loopback(host: str) -> bool:
    """Whether the name or address means this machine, without asking anybody."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
