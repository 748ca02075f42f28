"""Secrets that are made on the first start, so that none stands in the repository."""

import hashlib
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

_BYTES = 48


def write_env_file(path: Path) -> list[Path]:
    """Make an ``.env`` file with a signing secret unless it exists; return what was made."""
    if path.exists():
        return []
    _write(path, f"GATEWAY_JWT_SECRET={secrets.token_urlsafe(_BYTES)}\n", mode=0o600)
    return [path]


def write_cluster_secrets(
    directory: Path, redis_host: str, database_host: str = "mariadb:3306"
) -> list[Path]:
    """Make what a gateway with its own Redis and MariaDB needs; return what was written.

    ``gateway/`` holds one file per setting, for ``GATEWAY_SECRETS_DIR``. ``redis/users.acl`` and
    ``mariadb/users.sql`` are the servers' lists of users. They hold passwords as hashes only, so
    anybody may read them. What exists stays as it is, but for a list of Redis' users that an
    older version of ours wrote: it gets the commands that it lacks.
    """
    settings, redis, mariadb = (directory / name for name in ("gateway", "redis", "mariadb"))
    for path in (settings, redis, mariadb):
        path.mkdir(parents=True, exist_ok=True)
    signing, written = settings / "gateway_jwt_secret", []
    if not signing.exists():
        _write(signing, secrets.token_urlsafe(_BYTES), mode=0o400)
        written.append(signing)
    written += _update_redis_users(redis / "users.acl")
    written += _share_password(
        settings / "gateway_redis_url",
        f"redis://gateway:PASSWORD@{redis_host}/0",
        redis / "users.acl",
        _redis_users,
    )
    written += _share_password(
        settings / "gateway_database_url",
        f"mariadb://gateway:PASSWORD@{database_host}/gateway",
        mariadb / "users.sql",
        _mariadb_users,
    )
    return written


def _share_password(
    url: Path, form: str, users: Path, list_users: Callable[[str], str]
) -> list[Path]:
    """Let the gateway's URL and the server's list of users know the same password."""
    if url.exists():
        if users.exists():
            return []
        known = urlsplit(url.read_text().strip()).password
        _write(users, list_users(unquote(known or secrets.token_urlsafe(_BYTES))), mode=0o444)
        return [users]
    password = secrets.token_urlsafe(_BYTES)
    _write(users, list_users(password), mode=0o444)
    _write(url, form.replace("PASSWORD", password), mode=0o400)
    return [users, url]


# What the gateway does and nothing else: no KEYS, FLUSHALL, CONFIG or PSUBSCRIBE, and only below
# its prefix. Redis does not start with a command in this list that it does not know, so it holds
# only those of Redis 7.0.
_REDIS_COMMANDS = (
    "+evalsha +eval +script|load +ping +auth +hello +client|setname +select +info "
    "+publish +subscribe +unsubscribe +spublish +ssubscribe +sunsubscribe +asking "
    "+cluster|info +cluster|nodes +hget +hset +hdel +hmget +hgetall +hincrby +expire "
    "+pexpire +exists +del +xadd +xrange +xrevrange +zadd +zrem +zrange +zremrangebyscore "
    "+hlen +hscan +zcard +zscore +multi +exec +time +ttl +get +getdel +psetex"
)


def _redis_users(password: str) -> str:
    return _redis_list(hashlib.sha256(password.encode()).hexdigest(), _REDIS_COMMANDS)


def _redis_list(digest: str, commands: str) -> str:
    # Nobody can log in as "default", but Redis reads its append-only file in that name, and
    # drops every transaction in it (each script's writes are one) that "default" may not do.
    # "health" may only ask whether Redis is there.
    return (
        "user default off resetpass ~* &* +@all\n"
        f"user gateway on #{digest} resetkeys ~gw:* resetchannels &gw:* -@all {commands}\n"
        "user health on nopass resetkeys resetchannels -@all +ping\n"
    )


def _update_redis_users(users: Path) -> list[Path]:
    """Add the commands that an older list of ours lacks; one that somebody changed stays."""
    text = users.read_text() if users.exists() else ""
    found = re.search(r"^user gateway on #([0-9a-f]{64}) .* -@all (.*)$", text, re.M)
    if found is None or text != _redis_list(found[1], found[2]):
        return []
    if not set(found[2].split()) < set(_REDIS_COMMANDS.split()):
        return []
    _write(users, _redis_list(found[1], _REDIS_COMMANDS), mode=0o444)
    return [users]


def _mariadb_users(password: str) -> str:
    """What MariaDB runs at each of its starts, so that a password made anew holds there, too."""
    once = hashlib.sha1(password.encode(), usedforsecurity=False).digest()
    digest = "*" + hashlib.sha1(once, usedforsecurity=False).hexdigest().upper()
    # "mysql" is the server's own user of the operating system; nobody else in its container can
    # log in by that name, and nobody over the network. "root" has a password that nobody knows;
    # but while an image sets up its data, without a network, it works as root without one.
    return (
        "CREATE DATABASE IF NOT EXISTS gateway;\n"
        f"CREATE OR REPLACE USER gateway@'%' IDENTIFIED BY PASSWORD '{digest}';\n"
        "GRANT ALL ON gateway.* TO gateway@'%';\n"
        "DROP USER IF EXISTS ''@localhost, root@'127.0.0.1', root@'::1';\n"
        "CREATE OR REPLACE USER mysql@localhost IDENTIFIED VIA unix_socket;\n"
        "GRANT ALL ON *.* TO mysql@localhost WITH GRANT OPTION;\n"
        "EXECUTE IMMEDIATE IF(@@skip_networking, 'DO 0', "
        f"\"ALTER USER IF EXISTS root@localhost IDENTIFIED BY PASSWORD '*{'0' * 40}'\");\n"
    )


def _write(path: Path, text: str, mode: int) -> None:
    # Written beside and renamed, so that a start that was cut off leaves no half a secret.
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    os.chmod(beside, mode)
    beside.rename(path)
