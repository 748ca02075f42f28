"""The promises of `gateway.ports.news`, on every adapter, together with the broker that marks.

The real Redis knows only the commands that the list of users of a cluster allows.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from gateway.adapters.memory import news as memory
from gateway.adapters.memory.news import MemoryNews
from gateway.adapters.redis.keys import Keys
from gateway.adapters.redis.places.connection import connect
from gateway.adapters.redis.shared.news import RedisNews
from gateway.domain.errors import Unavailable
from gateway.domain.messages import Receipt
from gateway.domain.namespaces import Namespace
from gateway.ports.broker import Broker
from gateway.ports.news import Mark, News
from tests.support.brokers import (
    RETENTION,
    Retention,
    assemble,
    make_memory_broker,
    make_redis_broker,
    publication,
    running,
)
from tests.support.servers import RedisServer, free_port

LEASE_SECONDS = 1.0
ARCHIVING = Retention(
    history_length=10,
    history_seconds=300,
    state_seconds=3600,
    idempotency_seconds=60,
    named={"kept": Namespace(archive=True)},
)


class Newsroom:
    """A running broker, and the marks that it sets, as two replicas see them."""

    def __init__(self, broker: Broker, one: News, two: News, redis: Redis | None) -> None:
        self.broker = broker
        self.one = one
        self.two = two
        self.redis = redis

    async def publish(self, *channels: str) -> None:
        for outcome in await self.broker.publish([publication(name) for name in channels]):
            assert isinstance(outcome, Receipt)

    async def marked(self) -> dict[str, Mark]:
        found: dict[str, Mark] = {}
        cursor = 0
        while True:
            marks, cursor = await self.two.marks(cursor)
            found |= {mark.channel: mark for mark in marks}
            if not cursor:
                return found


def make_news(redis: Redis, keys: Keys) -> RedisNews:
    return RedisNews(redis, keys, lease_seconds=LEASE_SECONDS, mark_seconds=100)


@pytest.fixture(params=["memory", "fakeredis", "redis", "shards", "cluster"])
async def newsroom(request: pytest.FixtureRequest) -> AsyncIterator[Newsroom]:
    if request.param == "memory":
        news = MemoryNews()
        async with running(make_memory_broker(ARCHIVING, news=news)) as replica:
            yield Newsroom(replica.broker, news, news, None)
        return
    names = {
        "fakeredis": "fakeredis_url",
        "redis": "cluster_redis_url",
        "shards": "redis_shards_url",
        "cluster": "redis_cluster_url",
    }
    url = request.getfixturevalue(names[request.param])
    keys = Keys(f"gw:{secrets.token_hex(4)}")
    made = assemble(url, keys.prefix, ARCHIVING)
    async with running(made.broker) as replica:
        redis = made.redis_for(keys.archive_marks)
        yield Newsroom(replica.broker, make_news(redis, keys), make_news(redis, keys), redis)
    await made.broker.close()


async def test_a_channel_is_marked_when_its_receipt_is_there(newsroom: Newsroom) -> None:
    assert await newsroom.marked() == {}
    await newsroom.publish("kept:a", "kept:a", "other:a", "room", "kept:b")

    assert set(await newsroom.marked()) == {"kept:a", "kept:b"}


async def test_a_mark_that_was_read_can_be_cleared(newsroom: Newsroom) -> None:
    await newsroom.publish("kept:a", "kept:b", "kept:c")
    marked = await newsroom.marked()
    await newsroom.one.clear([marked["kept:a"], marked["kept:c"], Mark("kept:d", "1")])

    assert set(await newsroom.marked()) == {"kept:b"}
    await newsroom.one.clear([])


async def test_a_newer_mark_stays(newsroom: Newsroom) -> None:
    await newsroom.publish("kept:a")
    old = await newsroom.marked()
    await newsroom.publish("kept:a")
    new = await newsroom.marked()
    await newsroom.one.clear(list(old.values()))

    assert await newsroom.marked() == new
    assert old != new


async def test_a_mark_that_was_cleared_and_set_again_is_another_one(newsroom: Newsroom) -> None:
    seen = set()
    for _ in range(20):
        await newsroom.publish("kept:a")
        mark = (await newsroom.marked())["kept:a"]
        await newsroom.one.clear([mark])
        seen.add(mark)

    assert len(seen) == 20
    assert await newsroom.marked() == {}


async def test_every_channel_is_on_some_page(newsroom: Newsroom) -> None:
    names = [f"kept:{n}" for n in range(1500)]
    for start in range(0, len(names), 100):
        await newsroom.publish(*names[start : start + 100])
    marked = await newsroom.marked()
    assert set(marked) == set(names)

    await newsroom.one.clear(list(marked.values()))
    assert await newsroom.marked() == {}


async def test_whoever_leads_goes_on(newsroom: Newsroom) -> None:
    for _ in range(3):
        assert await newsroom.one.lead()
    await newsroom.one.resign()
    assert await newsroom.two.lead()


async def some_mark(news: News, seconds: float = 10.0) -> Mark:
    async with asyncio.timeout(seconds):
        while True:
            marks, _ = await news.marks()
            if marks:
                return marks[0]
            await asyncio.sleep(0.05)


class TestTwoReplicas:
    @pytest.fixture
    async def pair(self, cluster_redis_url: str) -> AsyncIterator[list[RedisNews]]:
        redis = connect(cluster_redis_url, timeout_seconds=5, connections_max=10)
        keys = Keys(f"gw:{secrets.token_hex(4)}")
        yield [make_news(redis, keys) for _ in range(2)]
        await redis.aclose()

    async def test_one_of_them_leads(self, pair: list[RedisNews]) -> None:
        leads = await asyncio.gather(*(news.lead() for news in pair * 10))
        assert leads.count(True) == 10
        one, two = pair if leads[0] else pair[::-1]
        assert await one.lead()
        assert not await two.lead()
        await two.resign()
        assert not await two.lead()

    async def test_the_other_takes_over_when_it_ends(self, pair: list[RedisNews]) -> None:
        one, two = pair
        assert await one.lead()
        for _ in range(5):
            await asyncio.sleep(LEASE_SECONDS / 4)
            assert await one.lead()
            assert not await two.lead()
        await asyncio.sleep(LEASE_SECONDS + 0.05)
        assert await two.lead()
        assert not await one.lead()

    async def test_who_resigns_lets_the_other_lead_at_once(self, pair: list[RedisNews]) -> None:
        one, two = pair
        assert await one.lead()
        await one.resign()
        assert await two.lead()


async def test_marks_that_nobody_comes_for_go_in_the_end(newsroom: Newsroom) -> None:
    """Where the archive was turned off."""
    await newsroom.publish("kept:a")
    await newsroom.one.lead()
    if newsroom.redis is not None:
        (key,) = [key async for key in newsroom_marks(newsroom)]
        assert 0 < await newsroom.redis.ttl(key) <= 100


async def newsroom_marks(newsroom: Newsroom) -> AsyncIterator[str]:
    assert isinstance(newsroom.one, RedisNews)
    yield newsroom.one._marks


async def test_beyond_its_limit_the_memory_forgets_the_longest_silent(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(memory, "_MARKS_MAX", 3)
    news = MemoryNews()
    for name in "abcad":
        news.mark(name)

    assert {mark.channel for mark in (await news.marks())[0]} == {"c", "a", "d"}
    assert "lack messages of b" in caplog.text


async def test_a_restarted_redis_gets_the_mark_behind_the_message(directory: Path) -> None:
    """It has forgotten the script, so the message goes out in a second pipeline."""
    with RedisServer(directory) as server:
        async with running(make_redis_broker(server.url, "gw", ARCHIVING)) as replica:
            redis = connect(server.url, timeout_seconds=5, connections_max=2)
            news = make_news(redis, Keys("gw"))
            for turn in range(2):
                await redis.flushall()
                await redis.script_flush()
                (outcome,) = await replica.broker.publish([publication("kept:a")])
                assert isinstance(outcome, Receipt)
                ((channel, token),), _ = await news.marks()
                assert channel == "kept:a"
                assert token.endswith(f"-{2 * turn + 1}")  # the second one of this turn
            await redis.aclose()


async def test_a_mark_that_was_refused_is_set_later(redis_server: RedisServer) -> None:
    """Something else stands in its place, for a while."""
    prefix = f"test-{secrets.token_hex(4)}"
    keys = Keys(prefix)
    redis = connect(redis_server.url, timeout_seconds=5, connections_max=2)
    news = make_news(redis, keys)
    async with running(make_redis_broker(redis_server.url, prefix, ARCHIVING)) as replica:
        await redis.set(keys.archive_marks, "not a hash")
        (outcome,) = await replica.broker.publish([publication("kept:a")])
        assert isinstance(outcome, Receipt)
        with pytest.raises(Unavailable):
            await news.marks()
        await redis.delete(keys.archive_marks)
        assert (await some_mark(news)).channel == "kept:a"
    await redis.aclose()


async def test_a_mark_without_an_answer_is_set_again(directory: Path) -> None:
    """Redis freezes, so nobody knows what of the pipeline it has seen."""
    with RedisServer(directory) as server:
        broker = make_redis_broker(server.url, "gw", ARCHIVING, timeout_seconds=0.3)
        redis = connect(server.url, timeout_seconds=5, connections_max=2)
        news = make_news(redis, Keys("gw"))
        async with running(broker) as replica:
            await replica.broker.publish([publication("room")])
            server.freeze()
            (outcome,) = await replica.broker.publish([publication("kept:a")])
            assert isinstance(outcome, Unavailable)
            assert outcome.outcome_unknown
            server.thaw()
            assert (await some_mark(news)).channel == "kept:a"
        await redis.aclose()


async def test_without_redis_everything_is_unavailable() -> None:
    redis = connect(f"redis://127.0.0.1:{free_port()}/0", timeout_seconds=0.2, connections_max=2)
    news = make_news(redis, Keys("gw"))
    for asking in (news.lead, news.resign, news.marks):
        with pytest.raises(Unavailable):
            await asking()
    with pytest.raises(Unavailable):
        await news.clear([Mark("a", "b")])
    with contextlib.suppress(Unavailable):
        await redis.aclose()


async def test_where_nothing_is_archived_nothing_is_marked(redis_server: RedisServer) -> None:
    prefix = f"test-{secrets.token_hex(4)}"
    redis = connect(redis_server.url, timeout_seconds=5, connections_max=2)
    async with running(make_redis_broker(redis_server.url, prefix, RETENTION)) as replica:
        await replica.broker.publish([publication("kept:a"), publication("room")])
        assert not await redis.exists(Keys(prefix).archive_marks)
    await redis.aclose()
