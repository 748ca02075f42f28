"""The numbers that all gateways give to what the masters of a cluster have taken over."""

import secrets

from gateway.adapters.redis.connection import connect
from gateway.adapters.redis.script import Script
from tests.support.servers import RedisServer


async def test_a_number_rises_with_each_take_over_and_with_nothing_else(
    redis_server: RedisServer,
) -> None:
    redis = connect(redis_server.url, timeout_seconds=5, connections_max=2)
    script, table = redis.register_script(Script("takeover").text), secrets.token_hex(4)

    async def number(node: str, replication: str, has_taken_over: bool, epoch: int) -> int:
        arguments: list[str | int] = [node, replication, int(has_taken_over), epoch]
        return int(await script(keys=[table], args=arguments))

    assert await number("a", "r1", False, 3) == 0
    assert await number("a", "r1", False, 9) == 0  # it was given slots
    assert await number("b", "r2", True, 10) == 10  # it took over
    assert await number("b", "r2", True, 12) == 10  # it was given slots
    assert await number("b", "r3", False, 12) == 10  # it was restarted, and does not remember
    assert await number("b", "r3", False, 13) == 10
    assert await number("b", "r4", True, 15) == 15  # it took over once more
    assert await number("a", "r1", False, 16) == 0
    assert await number("c", "r5", True, 20) == 20
    await redis.delete(table)
    await redis.aclose()
