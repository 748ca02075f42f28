"""Secrets of the first start: random, private, and never changed by the second one."""

import hashlib
import os
import stat
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gateway.configuration import load
from gateway.secret_files import write_cluster_secrets, write_env_file
from gateway.signing import make_verifier

pytestmark = pytest.mark.usefixtures("no_settings")


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
        write_cluster_secrets(tmp_path / name, "redis:6379")
    assert len(set(contents(tmp_path).values())) == 8


@pytest.mark.usefixtures("umask")
def test_the_secrets_of_a_cluster_are_private_and_the_list_of_users_is_not(tmp_path: Path) -> None:
    made = write_cluster_secrets(tmp_path, "redis:6379")
    assert {path.relative_to(tmp_path).as_posix(): mode_of(path) for path in made} == {
        "gateway/gateway_jwt_secret": 0o400,
        "gateway/gateway_redis_url": 0o400,
        "redis/users.acl": 0o444,
    }


def test_the_gateway_reads_the_secrets_of_a_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cluster_secrets(tmp_path, "redis.example:6380")
    monkeypatch.setenv("GATEWAY_SECRETS_DIR", str(tmp_path / "gateway"))
    settings = load()
    assert settings.jwt_secret is not None
    assert settings.redis_url is not None
    url = urlsplit(settings.redis_url.get_secret_value())
    assert (url.scheme, url.username, url.hostname, url.port) == (
        "redis",
        "gateway",
        "redis.example",
        6380,
    )


def test_both_sides_know_the_same_password_and_redis_only_its_hash(tmp_path: Path) -> None:
    """S17, S53"""
    write_cluster_secrets(tmp_path, "redis:6379")
    files = contents(tmp_path)
    password = urlsplit(files["gateway/gateway_redis_url"]).password
    assert password
    assert password not in files["redis/users.acl"]
    assert f"#{hashlib.sha256(password.encode()).hexdigest()} " in files["redis/users.acl"]


def test_the_user_of_the_gateway_may_do_only_what_the_gateway_does(tmp_path: Path) -> None:
    """S53"""
    write_cluster_secrets(tmp_path, "redis:6379")
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


def test_a_second_start_changes_nothing(tmp_path: Path) -> None:
    write_cluster_secrets(tmp_path, "redis:6379")
    before = contents(tmp_path)
    assert write_cluster_secrets(tmp_path, "redis:6379") == []
    assert contents(tmp_path) == before


@pytest.mark.parametrize("lost", ["gateway/gateway_redis_url", "redis/users.acl"])
def test_where_one_half_of_the_password_is_lost_both_are_made_anew(
    tmp_path: Path, lost: str
) -> None:
    write_cluster_secrets(tmp_path, "redis:6379")
    before = contents(tmp_path)
    (tmp_path / lost).unlink()
    made = write_cluster_secrets(tmp_path, "redis:6379")
    after = contents(tmp_path)
    assert {path.name for path in made} == {"gateway_redis_url", "users.acl"}
    assert after["gateway/gateway_jwt_secret"] == before["gateway/gateway_jwt_secret"]
    password = urlsplit(after["gateway/gateway_redis_url"]).password or ""
    assert hashlib.sha256(password.encode()).hexdigest() in after["redis/users.acl"]


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
