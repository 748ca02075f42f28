"""Secrets of the first start: random, private, and never changed by the second one."""

import hashlib
import os
import re
import shutil
import stat
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import gateway.adapters.redis as redis_adapters
from gateway.adapters.redis.places.topology import Single, parse_topology
from gateway.adapters.sql.address import parse
from gateway.configuration import load
from gateway.secret_files import write_cluster_secrets, write_env_file
from gateway.signing import make_verifier

pytestmark = pytest.mark.usefixtures("no_settings")


PAIRS = [
    ("gateway/gateway_redis_url", "redis/users.acl"),
    ("gateway/gateway_database_url", "mariadb/users.sql"),
]


def make(directory: Path) -> list[Path]:
    return write_cluster_secrets(directory, "redis:6379", "mariadb:3306")


def redis_hash(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


def mariadb_hash(password: str) -> str:
    """As MariaDB's own PASSWORD() makes it."""
    twice = hashlib.sha1(hashlib.sha1(password.encode()).digest())
    return "*" + twice.hexdigest().upper()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def contents(directory: Path) -> dict[str, str]:
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_text() for path in files}


@pytest.fixture(params=[0o022, 0o000, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> object:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_an_env_file_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    assert write_env_file(path) == [path]
    assert mode_of(path) == 0o600
    assert path.read_text().startswith("GATEWAY_JWT_SECRET=")


def test_the_gateway_starts_with_a_made_env_file(tmp_path: Path) -> None:
    """S08"""
    write_env_file(tmp_path / "made.env")
    settings = load(env_file=tmp_path / "made.env")
    assert settings.jwt_secret is not None
    make_verifier(settings)


def test_an_existing_env_file_is_never_changed(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("MINE=1\n")
    assert write_env_file(path) == []
    assert contents(tmp_path) == {".env": "MINE=1\n"}


def test_no_two_secrets_are_the_same(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_env_file(tmp_path / f"{name}.env")
        make(tmp_path / name)
    assert len(set(contents(tmp_path).values())) == 12


@pytest.mark.usefixtures("umask")
def test_the_secrets_of_a_cluster_are_private_and_the_lists_of_users_are_not(
    tmp_path: Path,
) -> None:
    made = make(tmp_path)
    assert {path.relative_to(tmp_path).as_posix(): mode_of(path) for path in made} == {
        "gateway/gateway_jwt_secret": 0o400,
        "gateway/gateway_redis_url": 0o400,
        "gateway/gateway_database_url": 0o400,
        "redis/users.acl": 0o444,
        "mariadb/users.sql": 0o444,
    }


def test_the_gateway_reads_the_secrets_of_a_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cluster_secrets(tmp_path, "redis.example:6380", "mariadb.example:3307")
    monkeypatch.setenv("GATEWAY_SECRETS_DIR", str(tmp_path / "gateway"))
    settings = load()
    assert settings.jwt_secret is not None
    assert settings.redis_url is not None
    assert settings.database_url is not None
    topology = parse_topology(settings.redis_url.get_secret_value())
    assert isinstance(topology, Single)
    redis = topology.address
    assert (redis.username, redis.host, redis.port) == ("gateway", "redis.example", 6380)
    database, _ = parse(settings.database_url.get_secret_value())
    assert (database.username, database.host, database.port, database.database) == (
        "gateway",
        "mariadb.example",
        3307,
        "gateway",
    )


def test_both_sides_know_the_same_password_and_a_server_only_its_hash(tmp_path: Path) -> None:
    """S17, S53"""
    make(tmp_path)
    files = contents(tmp_path)
    passwords = [urlsplit(files[url]).password or "" for url, _ in PAIRS]
    for password in passwords:
        assert len(password) >= 64
        assert not any(password in files[users] for _, users in PAIRS)
    assert f" #{redis_hash(passwords[0])} " in files["redis/users.acl"]
    assert f" BY PASSWORD '{mariadb_hash(passwords[1])}';" in files["mariadb/users.sql"]


def test_the_user_of_the_gateway_may_do_only_what_the_gateway_does(tmp_path: Path) -> None:
    """S53"""
    make(tmp_path)
    lines = contents(tmp_path)["redis/users.acl"].splitlines()
    users = {line.split()[1]: line.split()[2:] for line in lines}
    assert set(users) == {"default", "gateway", "health"}
    assert "off" in users["default"]
    allowed = {word for word in users["gateway"] if word.startswith("+")}
    assert "-@all" in users["gateway"]
    assert not any(word.startswith("+@") for word in allowed)
    dangerous = {"keys", "scan", "flushall", "flushdb", "config", "psubscribe", "debug", "acl"}
    assert not allowed & {f"+{word}" for word in dangerous}
    assert [word for word in users["gateway"] if word[0] in "~&"] == ["~gw:*", "&gw:*"]
    assert [word for word in users["health"] if word.startswith(("+", "~", "&"))] == ["+ping"]


def test_every_command_in_a_script_is_allowed(tmp_path: Path) -> None:
    make(tmp_path)
    allowed = set(re.findall(r"\+(\w+)", contents(tmp_path)["redis/users.acl"]))
    scripts = [*Path(redis_adapters.__file__).parent.rglob("*.lua")]
    assert scripts
    for script in scripts:
        called = {name.lower() for name in re.findall(r"\bcall\('(\w+)'", script.read_text())}
        assert called
        assert called <= allowed, script.name


def test_a_second_start_changes_nothing(tmp_path: Path) -> None:
    make(tmp_path)
    before = contents(tmp_path)
    assert make(tmp_path) == []
    assert contents(tmp_path) == before


@pytest.mark.parametrize(("url", "users"), PAIRS)
def test_a_lost_url_is_made_anew_together_with_the_list(
    tmp_path: Path, url: str, users: str
) -> None:
    make(tmp_path)
    before = contents(tmp_path)
    (tmp_path / url).unlink()
    assert {path.relative_to(tmp_path).as_posix() for path in make(tmp_path)} == {url, users}
    after = contents(tmp_path)
    assert {name for name in after if after[name] != before[name]} == {url, users}
    password = urlsplit(after[url]).password or ""
    assert redis_hash(password) in after[users] or mariadb_hash(password) in after[users]


@pytest.mark.parametrize(("url", "users"), PAIRS)
def test_a_lost_list_is_made_again_for_the_password_that_there_is(
    tmp_path: Path, url: str, users: str
) -> None:
    make(tmp_path)
    before = contents(tmp_path)
    (tmp_path / users).unlink()
    assert make(tmp_path) == [tmp_path / users]
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("own", "password"),
    [("mariadb://me:pass%40word@db.example/mine\n", "pass@word"), ("mariadb://db.example/x", "")],
)
def test_a_url_of_the_operators_own_is_kept(tmp_path: Path, own: str, password: str) -> None:
    (tmp_path / "gateway").mkdir()
    (tmp_path / "gateway/gateway_database_url").write_text(own)
    make(tmp_path)
    files = contents(tmp_path)
    assert files["gateway/gateway_database_url"] == own
    # Where the URL has no password, the list has one that nobody knows, and not an empty one.
    assert (mariadb_hash(password) in files["mariadb/users.sql"]) is bool(password)


def test_what_an_older_version_made_gets_what_it_lacks(tmp_path: Path) -> None:
    """Volumes from before there were accounts, when Redis was asked for less."""
    make(tmp_path)
    new = contents(tmp_path)
    shutil.rmtree(tmp_path / "mariadb")
    for name in ("gateway/gateway_database_url", "redis/users.acl"):
        (tmp_path / name).unlink()
    users = tmp_path / "redis/users.acl"
    users.write_text(re.sub(r" \+xrange .* \+time .*", " +zadd +time", new["redis/users.acl"]))
    assert users.read_text() != new["redis/users.acl"]
    made = {path.name for path in make(tmp_path)}
    assert made == {"users.acl", "users.sql", "gateway_database_url"}
    after = contents(tmp_path)
    for name in ("gateway/gateway_jwt_secret", "gateway/gateway_redis_url", "redis/users.acl"):
        assert after[name] == new[name]  # the password stays
    assert mode_of(users) == 0o444


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (" +select", " +select +keys"),
        ("~gw:*", "~mine:*"),
        ("-@all +ping", "-@all +ping +info"),
        ("user health", "user somebody on nopass\nuser health"),
    ],
    ids=["more commands", "another prefix", "more for health", "one user more"],
)
def test_a_list_that_somebody_changed_is_left_alone(tmp_path: Path, ours: str, theirs: str) -> None:
    make(tmp_path)
    users = tmp_path / "redis/users.acl"
    changed = users.read_text().replace(" +xrange", "").replace(ours, theirs)
    users.unlink()
    users.write_text(changed)
    assert theirs in changed
    assert make(tmp_path) == []
    assert users.read_text() == changed


def test_a_start_that_was_cut_off_leaves_no_half_a_secret(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    (tmp_path / ".env.new").write_text("GATEWAY_JWT_SEC")
    write_env_file(path)
    assert set(contents(tmp_path)) == {".env"}
    assert load(env_file=path).jwt_secret is not None


def test_a_link_that_waits_where_the_secret_is_written_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    (tmp_path / ".env.new").symlink_to(target)
    write_env_file(tmp_path / ".env")
    assert target.read_text() == "mine"
