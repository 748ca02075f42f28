"""What tells a master that has lost something from one to which channels have moved."""

import secrets

from gateway.adapters.redis.channels.publisher import PUBLISH
from gateway.adapters.redis.places.connection import connect
from gateway.adapters.redis.script import Script
from tests.support.servers import RedisServer

LEAP = 1_000_000_000


async def test_a_number_rises_with_each_take_over_and_with_nothing_else(
    redis_server: RedisServer,
) -> None:
    redis = connect(redis_server.url, timeout_seconds=5, connections_max=2)
    script, table = redis.register_script(Script("cluster/takeover").text), secrets.token_hex(4)

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


async def test_offsets_leap_where_a_node_was_started_again_and_not_where_a_channel_moved(
    redis_server: RedisServer,
) -> None:
    redis = connect(redis_server.url, timeout_seconds=5, connections_max=2)
    script, name = redis.register_script(PUBLISH.text), secrets.token_hex(4)

    async def publish(run: str) -> int:
        lifetimes = [100, 60, 60, 60]
        arguments: list[str | int] = [name, "epoch", *lifetimes, "", "id", "0", run, "body"]
        _, _, top = await script(keys=[f"{name}:state", f"{name}:stream"], args=arguments)
        return int(top)

    assert await publish("a:1") == 1
    assert await publish("a:1") == 2
    assert await publish("b:7") == 3  # it moved
    assert await publish("a:2") == 4  # and back; what a lost meanwhile was not this
    assert await publish("a:3") == LEAP + 5  # it was started again
    assert await publish("a:3") == LEAP + 6
    assert await publish("") == LEAP + 7  # of a gateway that may not ask
    assert await publish("a:4") == 2 * LEAP + 8
    await redis.delete(f"{name}:state", f"{name}:stream")
    await redis.aclose()
