"""A Redis that is set up to forget is told at the start."""

import asyncio
import logging
from pathlib import Path

import pytest

from gateway.adapters.redis.places import forgetting
from gateway.adapters.redis.places.connection import connect
from gateway.adapters.redis.places.forgetting import concerns, warn_of_forgetting
from gateway.secret_files import write_cluster_secrets
from tests.support.servers import REDIS_PASSWORD, GatewayProcess, RedisServer, wait_until

EVICTING = ("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru", "--appendonly", "yes")
SAFE = ("--maxmemory", "100mb", "--maxmemory-policy", "noeviction", "--appendonly", "yes")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (EVICTING, ["allkeys-lru"]),
        (("--save", "", "--appendonly", "no"), ["appendonly no"]),
        (
            ("--maxmemory", "100mb", "--maxmemory-policy", "volatile-ttl"),
            ["volatile-ttl", "append"],
        ),
        (SAFE, []),
    ],
    ids=["evicting", "memory only", "both", "safe"],
)
async def test_each_thing_that_redis_would_lose_is_one_warning(
    directory: Path, caplog: pytest.LogCaptureFixture, options: tuple[str, ...], words: list[str]
) -> None:
    """S55"""
    with RedisServer(directory, *options) as server:
        redis = connect(server.url, timeout_seconds=2, connections_max=2)
        with caplog.at_level(logging.WARNING):
            await warn_of_forgetting(redis)
        await redis.aclose()
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == len(words)
    for text, word in zip(texts, words, strict=True):
        assert word in text


def test_a_starting_replica_says_it(directory: Path) -> None:
    """S55"""
    with (
        RedisServer(directory, *EVICTING) as server,
        GatewayProcess(directory, redis_url=server.url) as gateway,
    ):
        wait_until(lambda: "maxmemory-policy allkeys-lru" in gateway.log, "it is told", 5)
        assert '"level": "warning"' in gateway.log
        assert REDIS_PASSWORD not in gateway.log


async def test_the_user_of_a_cluster_may_ask_and_an_older_one_is_not_bothered(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """S53, S55"""
    write_cluster_secrets(directory / "made", "127.0.0.1:1", "127.0.0.1:2")
    users = directory / "made" / "redis" / "users.acl"
    url = (directory / "made" / "gateway" / "gateway_redis_url").read_text()
    for line, count in ((users.read_text(), 1), (users.read_text().replace("+info ", ""), 0)):
        own = directory / f"users-{count}.acl"
        own.write_text(line)
        caplog.clear()
        with RedisServer(directory, "--save", "", "--aclfile", str(own)) as server:
            redis = connect(
                url.replace("127.0.0.1:1", f"127.0.0.1:{server.port}"),
                timeout_seconds=2,
                connections_max=2,
            )
            await warn_of_forgetting(redis)
            await redis.aclose()
        assert len(caplog.records) == count


async def test_it_waits_for_a_redis_that_is_still_away(
    directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """S55"""
    monkeypatch.setattr(forgetting, "_RETRY_SECONDS", 0.01)
    server = RedisServer(directory)
    redis = connect(server.url, timeout_seconds=1, connections_max=2)
    looking = asyncio.create_task(warn_of_forgetting(redis))
    try:
        await asyncio.sleep(0.05)
        assert not looking.done()
        await asyncio.to_thread(server.start)
        await asyncio.wait_for(looking, 10)
    finally:
        await redis.aclose()
        server.terminate()
    assert "appendonly" in caplog.text


def test_a_server_that_does_not_say_is_no_concern() -> None:
    assert concerns({}) == []
    assert concerns({"maxmemory": 0, "maxmemory_policy": "allkeys-lru"}) == []


def test_the_redis_of_our_compose_file_forgets_nothing() -> None:
    """S55"""
    lines = (Path(__file__).parents[3] / "deploy/redis/redis.conf").read_text().splitlines()
    assert {"appendonly yes", "maxmemory-policy noeviction"} <= set(lines)
