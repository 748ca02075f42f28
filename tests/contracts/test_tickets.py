"""The promises of `gateway.ports.tickets`, on every adapter.

The real Redis knows only the commands that the list of users of a cluster allows (S53).
"""

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest

from gateway.adapters.memory import tickets as memory
from gateway.adapters.memory.tickets import MemoryTickets
from gateway.adapters.redis.keys import Keys
from gateway.adapters.redis.places.connection import connect
from gateway.adapters.redis.shared.tickets import RedisTickets
from gateway.domain.errors import Unavailable
from gateway.ports.tickets import Tickets
from tests.support.brokers import assembled
from tests.support.servers import RedisServer, free_port


@pytest.fixture(params=["memory", "fakeredis", "redis", "cluster"])
async def tickets(request: pytest.FixtureRequest) -> AsyncIterator[Tickets]:
    if request.param == "memory":
        yield MemoryTickets()
        return
    keys = Keys(f"gw:{secrets.token_hex(4)}")
    if request.param == "cluster":
        async with assembled(request.getfixturevalue("redis_cluster_url"), keys.prefix) as made:
            yield RedisTickets(made.redis_for(keys.ticket("")), keys)
        return
    name = "fakeredis_url" if request.param == "fakeredis" else "cluster_redis_url"
    redis = connect(request.getfixturevalue(name), timeout_seconds=5, connections_max=20)
    yield RedisTickets(redis, keys)
    await redis.aclose()


async def test_a_ticket_is_taken_once(tickets: Tickets) -> None:
    await tickets.put("a", b'{"sub":"\x00\xff"}', 60)
    assert await tickets.take("a") == b'{"sub":"\x00\xff"}'
    assert await tickets.take("a") is None


async def test_of_twenty_who_take_it_at_the_same_moment_one_gets_it(tickets: Tickets) -> None:
    await tickets.put("a", b"value", 60)
    values = await asyncio.gather(*(tickets.take("a") for _ in range(20)))
    assert sorted(value or b"" for value in values) == [b""] * 19 + [b"value"]


async def test_tickets_are_told_apart(tickets: Tickets) -> None:
    await tickets.put("a", b"1", 60)
    await tickets.put("b", b"2", 60)
    assert await tickets.take("c") is None
    assert await tickets.take("b") == b"2"
    assert await tickets.take("a") == b"1"


async def test_a_ticket_is_gone_when_its_time_is_over(tickets: Tickets) -> None:
    await tickets.put("a", b"1", 0.05)
    await tickets.put("b", b"2", 60)
    await asyncio.sleep(0.1)
    assert await tickets.take("a") is None
    assert await tickets.take("b") == b"2"


async def test_a_ticket_can_be_taken_on_another_replica(cluster_redis_url: str) -> None:
    keys = Keys(f"gw:{secrets.token_hex(4)}")
    clients = [connect(cluster_redis_url, timeout_seconds=2, connections_max=20) for _ in range(2)]
    replicas = [RedisTickets(client, keys) for client in clients]
    await replicas[0].put("a", b"1", 60)
    values = await asyncio.gather(*(replica.take("a") for replica in replicas * 10))
    assert sorted(value or b"" for value in values) == [b""] * 19 + [b"1"]
    for client in clients:
        await client.aclose()


async def test_a_dump_of_redis_holds_no_ticket_that_could_be_used(
    redis_server: RedisServer,
) -> None:
    """S17"""
    redis = connect(redis_server.url, timeout_seconds=2, connections_max=2)
    keys = Keys(f"test-{secrets.token_hex(4)}")
    tickets = RedisTickets(redis, keys)
    await tickets.put("ticket-canary", b"1", 30)

    (name,) = [key async for key in redis.scan_iter(f"{keys.prefix}:*")]
    assert b"canary" not in name
    assert await tickets.take(str(name, "ascii")) is None
    assert 29_000 < await redis.pttl(name) <= 30_000
    await redis.aclose()


async def test_tickets_that_nobody_takes_do_not_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "_TICKETS_MAX", 3)
    now = [1000.0]
    tickets = MemoryTickets(clock=lambda: now[0])
    for key in "abcd":
        await tickets.put(key, b"1", 30)
    assert list(tickets._kept) == ["b", "c", "d"]
    now[0] += 30
    await tickets.put("e", b"1", 30)
    assert list(tickets._kept) == ["e"]


async def test_without_redis_every_call_is_unavailable() -> None:
    redis = connect(f"redis://127.0.0.1:{free_port()}", timeout_seconds=1, connections_max=2)
    tickets = RedisTickets(redis, Keys("test"))
    for call in (tickets.put("a", b"1", 1), tickets.take("a")):
        with pytest.raises(Unavailable):
            await call
    await redis.aclose()
