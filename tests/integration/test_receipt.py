"""A publisher that asks hears how far its message came, over all replicas."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clients import call, listen, make_token
from tests.support.servers import GatewayProcess, RedisServer, replicas

PUBLISHER = make_token("paula", "publisher")


@pytest.fixture
def cluster(redis_server: RedisServer, directory: Path) -> Iterator[list[GatewayProcess]]:
    settings = {"redis_url": redis_server.url, "redis_prefix": directory.name.replace("_", "-")}
    with replicas(directory, 3, **settings) as started:
        yield started


def publish(replica: GatewayProcess, query: str) -> object:
    url = f"{replica.http}/publish/room{query}"
    return call(url, token=PUBLISHER, json_body={"data": "hello"}).json.get("receipt")


async def test_a_receipt_counts_sockets_and_replicas(cluster: list[GatewayProcess]) -> None:
    first, second, third = cluster
    async with contextlib.AsyncExitStack() as stack:
        for replica, count in ((first, 2), (second, 3)):
            for _ in range(count):
                await stack.enter_async_context(listen(replica.ws, "room", PUBLISHER))
        await stack.enter_async_context(listen(third.ws, "elsewhere", PUBLISHER))
        expected = {"replicas": 2, "sockets": 5, "complete": True}
        for replica in cluster:
            assert publish(replica, "?receipt=1") == expected
        assert publish(first, "") is None

        second.freeze()
        try:
            late = publish(first, "?receipt=true")
        finally:
            second.thaw()
        assert late == {"replicas": 1, "sockets": 2, "complete": False}


def test_a_receipt_is_asked_for_with_yes_or_no(gateway: GatewayProcess) -> None:
    url = f"{gateway.http}/publish/room?receipt=maybe"
    assert call(url, token=PUBLISHER, json_body={"data": 1}).status == 422
