"""What ``GATEWAY_REDIS_URL`` says: one Redis, one that Sentinel watches, a cluster, or several.

The forms stand in ``docs/redis.md``. Every error names the part that is wrong and never its
value, because the value may be, or contain, the password.
"""

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias
from urllib.parse import parse_qsl, unquote

from gateway.adapters.redis.places.address import Address

_REDIS_PORT = 6379
_SENTINEL_PORT = 26379
_SCHEMES = (
    "redis://, rediss:// or unix://, redis+sentinel:// or rediss+sentinel://, redis+cluster:// or "
    "rediss+cluster://"
)
_TLS_PARAMETERS = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}
_SENTINEL_PARAMETERS = {"sentinel_username", "sentinel_password"}


@dataclass(frozen=True, slots=True)
class Single:
    """One Redis that stays where it is."""

    address: Address

    def __str__(self) -> str:
        return str(self.address)


@dataclass(frozen=True, slots=True)
class Sentinels:
    """One Redis that moves: these know where it is."""

    sentinels: tuple[Address, ...]
    master_name: str
    node: Address  # the login of whichever node is master; its host and port are the sentinels' say

    def __str__(self) -> str:
        return f"{self.master_name} of Sentinel at {_list(self.sentinels)}"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A Redis Cluster; some of its nodes, from which the others are learnt."""

    seeds: tuple[Address, ...]

    def __str__(self) -> str:
        return f"the cluster at {_list(self.seeds)}"


@dataclass(frozen=True, slots=True)
class Shards:
    """Several that know nothing of each other; each has its part of the channels."""

    shards: tuple[Single | Sentinels, ...]

    def __str__(self) -> str:
        return " and ".join(map(str, self.shards))


Topology: TypeAlias = Single | Sentinels | Cluster | Shards


def parse_topology(url: str) -> Topology:
    """Read what the setting says; raises `ValueError` with a text that is safe to show."""
    parts = [_parse(part) for part in url.split()]
    if not parts:
        raise ValueError("is empty")
    if len(parts) == 1:
        return parts[0]
    shards = [part for part in parts if not isinstance(part, Cluster)]
    if len(shards) < len(parts):
        raise ValueError("a cluster spreads its channels by itself: it stands alone")
    names = [str(shard) for shard in shards]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"{twice} stands there twice")
    return Shards(tuple(shards))


class _Parts(NamedTuple):
    """A URL, taken apart: the library's parsers know one host only."""

    scheme: str
    username: str
    password: str
    hosts: str
    path: str
    parameters: dict[str, str]


def _parse(url: str) -> Single | Sentinels | Cluster:
    parts = _take_apart(url)
    match parts.scheme:
        case "redis" | "rediss" | "unix":
            return _single(parts)
        case "redis+sentinel" | "rediss+sentinel":
            return _sentinels(parts)
        case "redis+cluster" | "rediss+cluster":
            return _cluster(parts)
    raise ValueError(f"a Redis URL starts with {_SCHEMES}")


def _take_apart(url: str) -> _Parts:
    scheme, slashes, rest = url.partition("://")
    if not slashes:
        raise ValueError(f"a Redis URL starts with {_SCHEMES}")
    rest, _, query = rest.partition("?")
    authority, slash, path = rest.partition("/")
    login, _, hosts = authority.rpartition("@")
    username, _, password = login.partition(":")
    # Anything else would be taken for another part, and might be shown as its name.
    if "#" in url or "@" in query or ("@" in path and scheme.lower() != "unix"):
        raise ValueError("in a password # is written %23, / %2F, ? %3F and @ %40")
    return _Parts(
        scheme.lower(),
        unquote(username),
        unquote(password),
        hosts,
        unquote(slash + path),
        dict(parse_qsl(query, keep_blank_values=True)),
    )


def _single(parts: _Parts) -> Single:
    if parts.scheme == "unix":
        _check_parameters(parts, {"db"})
        if parts.hosts or len(parts.path) < 2:
            raise ValueError("a socket's URL is unix:///path, with three slashes")
        node = _node(parts, database=parts.parameters.get("db", ""))
        return Single(Address("", 0, parts.path, node.username, node.password, node.database, None))
    _check_parameters(parts, {"db", *_TLS_PARAMETERS})
    ((host, port),) = _hosts(parts.hosts or "localhost", _REDIS_PORT, many=False)
    # The form with a parameter is one that redis-py and others know, too.
    database = parts.path.strip("/") or parts.parameters.get("db", "")
    return Single(_node(parts, database=database).at(host, port))


def _sentinels(parts: _Parts) -> Sentinels:
    _check_parameters(parts, _TLS_PARAMETERS | _SENTINEL_PARAMETERS)
    master_name, _, database = parts.path.strip("/").partition("/")
    if not re.fullmatch(r"[A-Za-z0-9._\-]+", master_name):
        raise ValueError("the path names the master, as in redis+sentinel://host:26379/mymaster")
    node = _node(parts, database=database)
    given = parts.parameters
    login = {
        "username": given.get("sentinel_username", ""),
        "password": given.get("sentinel_password", ""),
    }
    if login["username"] and not login["password"]:
        raise ValueError("sentinel_username goes with sentinel_password")
    sentinels = (
        Address(host, port, "", **login, database=0, tls=node.tls)
        for host, port in _hosts(parts.hosts, _SENTINEL_PORT)
    )
    return Sentinels(tuple(sentinels), master_name, node)


def _cluster(parts: _Parts) -> Cluster:
    _check_parameters(parts, _TLS_PARAMETERS)
    if parts.path.strip("/") not in ("", "0"):
        raise ValueError("a cluster has only database 0")
    node = _node(parts, database="")
    return Cluster(tuple(node.at(*place) for place in _hosts(parts.hosts, _REDIS_PORT)))


def _node(parts: _Parts, *, database: str) -> Address:
    """The login, for any host."""
    if not re.fullmatch(r"[0-9]{0,5}", database):
        raise ValueError("the database at the end is a number")
    if parts.username and not parts.password:
        raise ValueError("the user has no password: user:password@host, or :password@host")
    tls = _tls(parts.parameters) if parts.scheme.startswith("rediss") else None
    return Address("", 0, "", parts.username, parts.password, int(database or 0), tls)


def _tls(parameters: Mapping[str, str]) -> ssl.SSLContext:
    certificate, key = parameters.get("ssl_certfile"), parameters.get("ssl_keyfile")
    if key and not certificate:
        raise ValueError("ssl_keyfile goes with ssl_certfile")
    try:
        context = ssl.create_default_context(cafile=parameters.get("ssl_ca_certs"))
    except OSError as error:
        raise ValueError(f"ssl_ca_certs cannot be used: {error.strerror}") from None
    if certificate:
        try:
            context.load_cert_chain(certificate, key)
        except OSError as error:
            raise ValueError(f"ssl_certfile cannot be used: {error.strerror}") from None
    return context


def _hosts(text: str, default_port: int, *, many: bool = True) -> list[tuple[str, int]]:
    if not many and "," in text:
        raise ValueError("several hosts are for Sentinel and clusters; shards are whole URLs")
    found = []
    for part in text.split(","):
        matched = re.fullmatch(r"(?:\[([^\[\]]+)\]|([^\[\]:]+))(?::([0-9]{1,5}))?", part)
        if matched is None or not 0 < (port := int(matched[3] or default_port)) < 65536:
            raise ValueError("a host is name:port, 192.0.2.1:port or [2001:db8::1]:port")
        found.append((matched[1] or matched[2], port))
    return found


def _check_parameters(parts: _Parts, known: set[str]) -> None:
    if not parts.scheme.startswith("rediss"):
        known = known - _TLS_PARAMETERS
    for name in parts.parameters:
        if name not in known:
            where = " without TLS" if name in _TLS_PARAMETERS else ""
            raise ValueError(f"the parameter {name[:40]!r} is not known{where}")


def _list(addresses: tuple[Address, ...]) -> str:
    return ", ".join(map(str, addresses))
