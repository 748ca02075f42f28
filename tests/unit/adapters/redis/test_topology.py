"""What the URL says, and that no secret stands in what is said about it."""

import re
import ssl
from pathlib import Path

import pytest

from gateway.adapters.redis.places.address import Address
from gateway.adapters.redis.places.topology import (
    Cluster,
    Sentinels,
    Shards,
    Single,
    Topology,
    parse_topology,
)
from gateway.secret_files import _redis_users
from tests.support.certificates import make_certificate

SECRET = "s3cret-canary"
PAGE = Path(__file__).parents[4] / "docs" / "redis.md"


def address(
    host: str, port: int, username: str = "", password: str = "", database: int = 0
) -> Address:
    return Address(host, port, "", username, password, database, None)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://", Single(address("localhost", 6379))),
        ("redis://h", Single(address("h", 6379))),
        ("REDIS://h", Single(address("h", 6379))),
        ("redis://h:7/3", Single(address("h", 7, database=3))),
        ("redis://h?db=3", Single(address("h", 6379, database=3))),
        ("redis://:p@h", Single(address("h", 6379, password="p"))),
        ("redis://u%40x:p%2F%3F%23%25@h", Single(address("h", 6379, "u@x", "p/?#%"))),
        ("redis://u:a:b@[2001:db8::1]:7/", Single(address("2001:db8::1", 7, "u", "a:b"))),
        ("unix:///run/r.sock?db=2", Single(Address("", 0, "/run/r.sock", "", "", 2, None))),
        ("unix://u:p@/r%20s@x", Single(Address("", 0, "/r s@x", "u", "p", 0, None))),
        (
            "redis+sentinel://u:p@a,b:7,[::1]/the-master/2?sentinel_password=x",
            Sentinels(
                (
                    address("a", 26379, password="x"),
                    address("b", 7, password="x"),
                    address("::1", 26379, password="x"),
                ),
                "the-master",
                address("", 0, "u", "p", 2),
            ),
        ),
        (
            "redis+cluster://u:p@a,b:7",
            Cluster((address("a", 6379, "u", "p"), address("b", 7, "u", "p"))),
        ),
        (
            " redis://a\n redis+sentinel://s/m ",
            Shards(
                (
                    Single(address("a", 6379)),
                    Sentinels((address("s", 26379),), "m", address("", 0)),
                )
            ),
        ),
    ],
)
def test_a_url_says(url: str, expected: Topology) -> None:
    assert parse_topology(url) == expected


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "empty"),
        (SECRET, "starts with"),
        (f"http://{SECRET}", "starts with"),
        (f"redis://:{SECRET}@h?socket_timeout={SECRET}", "'socket_timeout' is not known"),
        (f"redis://:a?{SECRET}@h", "%3F"),
        (f"redis://:a/{SECRET}@h", "%2F"),
        (f"redis://:a#{SECRET}@h", "%23"),
        (f"redis://u:{SECRET}@h:99999", "host is"),
        (f"redis://u:{SECRET}@h:0", "host is"),
        (f"redis://u:{SECRET}@::1", "host is"),
        (f"redis://u:{SECRET}@h/{SECRET}", "number"),
        (f"redis://{SECRET}@h", "no password"),
        (f"redis://:{SECRET}@a,b", "several hosts"),
        (f"redis://:{SECRET}@h?ssl_ca_certs=/x", "'ssl_ca_certs' is not known without TLS"),
        (f"rediss://:{SECRET}@h?ssl_cert_reqs=none", "'ssl_cert_reqs' is not known"),
        (f"rediss://:{SECRET}@h?ssl_ca_certs=/none", "ssl_ca_certs cannot be used: No such file"),
        (f"rediss://:{SECRET}@h?ssl_certfile=/none", "ssl_certfile cannot be used"),
        (f"rediss://:{SECRET}@h?ssl_keyfile=/none", "goes with ssl_certfile"),
        (f"unix://:{SECRET}@host/path", "three slashes"),
        ("unix://", "three slashes"),
        (f"redis+sentinel://:{SECRET}@a:1", "names the master"),
        (f"redis+sentinel://:{SECRET}@a/m/x", "number"),
        (f"redis+sentinel://a/m?sentinel_username={SECRET}", "goes with sentinel_password"),
        (f"redis+cluster://:{SECRET}@a/1", "only database 0"),
        (f"redis+cluster://:{SECRET}@a redis://b", "stands alone"),
        (f"redis://:{SECRET}@a/0 redis://:{SECRET}@a/1", "a:6379 stands there twice"),
    ],
)
def test_what_is_wrong_is_said_without_what_stands_there(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)) as refusal:
        parse_topology(url)
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://{SECRET}:{SECRET}@h",
        f"redis+sentinel://u:{SECRET}@a/m?sentinel_username={SECRET}&sentinel_password={SECRET}",
        f"redis+cluster://u:{SECRET}@a,b",
        f"redis://u:{SECRET}@a redis://u:{SECRET}@b",
    ],
)
def test_no_form_shows_a_login(url: str) -> None:
    topology = parse_topology(url)
    assert SECRET not in f"{topology} {topology!r}"


def test_with_tls_the_server_is_verified_and_the_client_shows_its_certificate(
    tmp_path: Path,
) -> None:
    certificate, key = make_certificate(tmp_path / "made")
    parameters = f"ssl_ca_certs={certificate}&ssl_certfile={certificate}&ssl_keyfile={key}"
    single = parse_topology(f"rediss://h?{parameters}")
    sentinels = parse_topology(f"rediss+sentinel://a,b/m?{parameters}")
    cluster = parse_topology(f"rediss+cluster://a?{parameters}")
    assert isinstance(single, Single)
    assert isinstance(sentinels, Sentinels)
    assert isinstance(cluster, Cluster)
    for each in (single.address, *sentinels.sentinels, sentinels.node, *cluster.seeds):
        assert each.tls is not None
        assert each.tls.check_hostname
        assert each.tls.verify_mode is ssl.CERT_REQUIRED
        assert each.tls.cert_store_stats()["x509"] == 1  # ours, and no other authority
    with pytest.raises(ValueError, match="ssl_certfile cannot be used"):
        parse_topology(f"rediss://h?ssl_certfile={key}")


def test_another_node_has_the_same_login() -> None:
    node = address("a", 1, "u", "p", 2).at("2001:db8::1", 7)
    assert (node.username, node.password, node.database) == ("u", "p", 2)
    assert str(node) == "[2001:db8::1]:7"


def test_the_user_of_the_guide_is_the_one_that_we_make() -> None:
    """With another password: there it stands as a hash."""
    _, _, block = PAGE.read_text().partition("\nACL SETUSER ")
    guide = block.partition("```")[0].split()
    made = _redis_users("PASSWORD").splitlines()[1].removeprefix("user ").split()
    assert [*guide[:2], *guide[3:]] == [*made[:2], *made[3:]]
    assert guide[2] == ">PASSWORD"


def test_the_forms_of_the_guide_are_those_that_are_understood() -> None:
    written = re.findall(r"^\| `((?:redis|unix)[^`]*)`", PAGE.read_text(), re.MULTILINE)
    forms = [parse_topology(url.replace("?ssl_ca_certs=/etc/redis/ca.pem", "")) for url in written]
    assert {type(form) for form in forms} == {Single, Sentinels, Cluster, Shards}
    schemes = {url.partition("://")[0] for url in written}
    assert schemes == {
        *("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel"),
        *("redis+cluster", "rediss+cluster"),
    }
