"""Secrets that are made on the first start, so that none stands in the repository."""

import hashlib
import os
import secrets
from pathlib import Path

_BYTES = 48


def write_env_file(path: Path) -> list[Path]:
    """Make an ``.env`` file with a signing secret unless it exists; return what was made."""
    if path.exists():
        return []
    _write(path, f"GATEWAY_JWT_SECRET={secrets.token_urlsafe(_BYTES)}\n", mode=0o600)
    return [path]


def write_cluster_secrets(directory: Path, redis_host: str) -> list[Path]:
    """Make what a gateway with its own Redis needs unless it exists; return what was made.

    ``gateway/`` holds one file per setting, for ``GATEWAY_SECRETS_DIR``; ``redis/users.acl`` is
    Redis' list of users. It holds the password as a hash only, so anybody may read it.
    """
    signing = directory / "gateway" / "gateway_jwt_secret"
    url = directory / "gateway" / "gateway_redis_url"
    users = directory / "redis" / "users.acl"
    made = []
    for path in (signing, users):
        path.parent.mkdir(parents=True, exist_ok=True)
    if not signing.exists():
        _write(signing, secrets.token_urlsafe(_BYTES), mode=0o400)
        made.append(signing)
    if not (url.exists() and users.exists()):
        # Both or none: the two sides must know the same password.
        password = secrets.token_urlsafe(_BYTES)
        _write(users, _redis_users(password), mode=0o444)
        _write(url, f"redis://gateway:{password}@{redis_host}/0", mode=0o400)
        made += [users, url]
    return made


def _redis_users(password: str) -> str:
    digest = hashlib.sha256(password.encode()).hexdigest()
    # What the gateway does and nothing else: no KEYS, FLUSHALL, CONFIG or PSUBSCRIBE, and only
    # below its prefix. "health" may only ask whether Redis is there. Redis does not start with
    # a command in this list that it does not know, so it holds only those of Redis 7.0.
    commands = (
        "+evalsha +eval +script|load +ping +auth +hello +client|setname +select "
        "+publish +subscribe +unsubscribe +hget +hset +hdel +hmget +hgetall +hincrby +expire "
        "+pexpire +exists +del +xadd +xrange +xrevrange +zadd +zrem +zrange +zremrangebyscore "
        "+multi +exec +time +get +getdel +psetex"
    )
    # Nobody can log in as "default", but Redis reads its append-only file in that name, and
    # drops every transaction in it (each script's writes are one) that "default" may not do.
    return (
        "user default off resetpass ~* &* +@all\n"
        f"user gateway on #{digest} resetkeys ~gw:* resetchannels &gw:* -@all {commands}\n"
        "user health on nopass resetkeys resetchannels -@all +ping\n"
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
