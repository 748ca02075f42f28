"""What `gateway.ports.broker` promises about history, on every adapter.

The real Redis knows only the commands that the list of users of a cluster allows (S53).
"""

import asyncio
import contextlib
import itertools
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from gateway.adapters.redis.channels.broker import RedisBroker
from gateway.adapters.redis.channels.parts import PartedBroker
from gateway.adapters.redis.keys import Keys
from gateway.domain.errors import KeyReused, Unavailable
from gateway.domain.history import History, HistoryQuery
from gateway.domain.messages import BEGINNING, Position, Receipt
from gateway.domain.namespaces import Namespace
from tests.support.brokers import (
    Inbox,
    Replica,
    Retention,
    make_memory_broker,
    make_redis_broker,
    publication,
    running,
)
from tests.support.servers import RedisServer

LENGTH = 10
RETENTION = Retention(
    history_length=LENGTH,
    history_seconds=300,
    state_seconds=3600,
    idempotency_seconds=60,
    named={
        "none": Namespace(history_length=0),
        "short": Namespace(history_length=3, history_seconds=60),
    },
)
ALL = 1000


class Store:
    """A running broker, and time that passes when the test says so."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.broker = replica.broker

    async def lapse_history(self, channel: str) -> None:
        raise NotImplementedError

    async def lapse_position(self, channel: str) -> None:
        raise NotImplementedError

    async def publish(self, channel: str, count: int = 1) -> list[Position]:
        """Publish the next numbers in one call; return their positions."""
        outcomes = await self.broker.publish(
            [publication(channel, b"%d" % n) for n in range(count)]
        )
        return [outcome.position for outcome in outcomes if isinstance(outcome, Receipt)]

    async def ask(
        self,
        channel: str,
        since: Position | None = None,
        limit: int = ALL,
        is_reverse: bool = False,
    ) -> History:
        return await self.broker.history(channel, HistoryQuery(since, limit, is_reverse))

    async def offsets(
        self,
        channel: str,
        since: Position | None = None,
        limit: int = ALL,
        is_reverse: bool = False,
    ) -> tuple[list[int], bool]:
        history = await self.ask(channel, since, limit, is_reverse)
        return offsets_of(history), history.is_complete


class MemoryStore(Store):
    """Its time passes for all channels together."""

    def __init__(self, replica: Replica, clock: "Clock") -> None:
        super().__init__(replica)
        self.clock = clock

    async def lapse_history(self, channel: str) -> None:
        self.clock.now += RETENTION.history_seconds

    async def lapse_position(self, channel: str) -> None:
        self.clock.now += RETENTION.state_seconds


class RedisStore(Store):
    """Deletes what Redis would: the same, and at once."""

    def __init__(self, replica: Replica, keys: Keys) -> None:
        super().__init__(replica)
        self.keys = keys

    def redis_of(self, channel: str) -> Redis:
        broker = self.replica.broker
        part = broker.part_of(channel) if isinstance(broker, PartedBroker) else broker
        assert isinstance(part, RedisBroker)
        return part.redis

    @property
    def redis(self) -> Redis:
        """Where there is only one."""
        return self.redis_of("")

    async def lapse_history(self, channel: str) -> None:
        await self.redis_of(channel).delete(self.keys.stream(channel))

    async def lapse_position(self, channel: str) -> None:
        await self.redis_of(channel).delete(self.keys.state(channel))


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@contextlib.asynccontextmanager
async def redis_store(url: str, *, timeout_seconds: float = 5.0) -> AsyncIterator[RedisStore]:
    prefix = f"gw:{secrets.token_hex(4)}"
    broker = make_redis_broker(url, prefix, RETENTION, timeout_seconds)
    async with running(broker) as replica:
        yield RedisStore(replica, Keys(prefix))
    await broker.close()


@pytest.fixture(params=["memory", "fakeredis", "redis", "shards", "cluster"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "memory":
        clock = Clock()
        async with running(make_memory_broker(RETENTION, clock)) as replica:
            yield MemoryStore(replica, clock)
        return
    names = {
        "fakeredis": "fakeredis_url",
        "redis": "cluster_redis_url",
        "shards": "redis_shards_url",
        "cluster": "redis_cluster_url",
    }
    async with redis_store(request.getfixturevalue(names[request.param])) as store:
        yield store


@pytest.fixture
async def on_redis(redis_server: RedisServer) -> AsyncIterator[RedisStore]:
    """On a Redis where the test may do what the gateway's own user may not."""
    async with redis_store(redis_server.url) as store:
        yield store


def offsets_of(history: History) -> list[int]:
    return [message.position.offset for message in history.messages]


# What is kept.


async def test_a_channel_that_was_never_used_is_at_the_beginning(store: Store) -> None:
    for _ in range(2):
        for since in (None, BEGINNING):
            assert await store.ask("room", since) == History([], BEGINNING, True)
    assert await store.ask("room", Position("other", 3)) == History([], BEGINNING, False)
    assert [position.offset for position in await store.publish("room")] == [1]


async def test_what_is_kept_is_what_was_delivered(store: Store) -> None:
    await store.broker.subscribe("room")
    values = [b'"a:b\\nc"', b'{"n":1.50,"t":"\xc3\xb1\xe2\x80\xa8"}', b"null", b"[]"]
    await store.broker.publish([publication("room", data, user="bob") for data in values])
    delivered = await store.replica.inbox.wait_for(len(values))
    history = await store.ask("room")

    assert history == History(delivered, delivered[-1].position, True)
    assert [message.data for message in history.messages] == values


async def test_a_message_with_a_receipt_is_there_at_once(store: Store) -> None:
    for offset in range(1, 30):
        await store.publish("room")
        history = await store.ask("room", limit=1)
        assert (offsets_of(history), history.top.offset) == ([offset], offset)


async def test_a_batch_that_is_longer_than_the_history_leaves_its_end(store: Store) -> None:
    positions = await store.publish("room", 25)
    history = await store.ask("room")

    assert [message.position for message in history.messages] == positions[-LENGTH:]
    assert [message.data for message in history.messages] == [b"%d" % n for n in range(15, 25)]
    assert history.top == positions[-1]


async def test_a_key_that_was_used_before_adds_nothing(store: Store) -> None:
    for _ in range(2):
        await store.broker.publish([publication("room", key="k1")])
    assert await store.offsets("room") == ([1], True)


async def test_every_channel_has_its_own(store: Store) -> None:
    await store.publish("a", 2)
    await store.publish("b", 1)
    assert [await store.offsets(channel) for channel in "ab"] == [([1, 2], True), ([1], True)]


async def test_a_namespace_says_how_much_is_kept(store: Store) -> None:
    for channel, kept in [("none:a", []), ("short:a", [3, 4, 5]), ("a", [1, 2, 3, 4, 5])]:
        (*_, last) = await store.publish(channel, 5)
        history = await store.ask(channel)
        assert (offsets_of(history), history.top) == (kept, last)


async def test_what_is_not_kept_is_missing(store: Store) -> None:
    first, last = await store.publish("none:a", 2)
    assert await store.offsets("none:a", first) == ([], False)
    assert await store.offsets("none:a", last) == ([], True)


async def test_one_that_is_not_to_be_kept_has_its_place_and_is_missing(store: Store) -> None:
    await store.broker.subscribe("room")
    one, two, three = (publication("room", b"%d" % n) for n in range(3))
    await store.broker.publish([one, two._replace(is_kept=False), three])
    delivered = await store.replica.inbox.wait_for(3)
    assert [message.position.offset for message in delivered] == [1, 2, 3]
    assert [message.data for message in delivered] == [b"0", b"1", b"2"]
    assert await store.offsets("room") == ([1, 3], True)
    assert await store.offsets("room", delivered[0].position) == ([3], False)


async def test_tags_are_delivered_and_kept(store: Store) -> None:
    await store.broker.subscribe("room")
    tags = '{"kind":"a","ñ":"é\\n"}'.encode()
    tagged = publication("room", key="k1")._replace(tags=tags)
    for _ in range(2):
        (outcome,) = await store.broker.publish([tagged])
        assert isinstance(outcome, Receipt)
    (other,) = await store.broker.publish([tagged._replace(tags=b"")])
    assert isinstance(other, KeyReused)
    await store.broker.publish([publication("room")])
    delivered = await store.replica.inbox.wait_for(2)
    assert [message.tags for message in delivered] == [tags, b""]
    assert (await store.ask("room")).messages == delivered


async def test_what_a_publisher_shows_of_itself_is_delivered_and_kept(store: Store) -> None:
    await store.broker.subscribe("room")
    info = '{"conn_info":{"name":"Ñ"}}'.encode()
    for shown in (info, b""):
        await store.broker.publish([publication("room")._replace(info=shown)])
    delivered = await store.replica.inbox.wait_for(2)
    assert [message.info for message in delivered] == [info, b""]
    assert (await store.ask("room")).messages == delivered


async def test_what_is_forgotten_is_gone_and_the_position_goes_on(store: Store) -> None:
    first, last = await store.publish("room", 2)
    await store.publish("other", 2)
    await store.broker.forget("room")
    assert await store.ask("room") == History([], last, True)
    assert await store.offsets("room", first) == ([], False)
    assert await store.offsets("room", last) == ([], True)
    assert await store.offsets("other") == ([1, 2], True)
    (after,) = await store.publish("room")
    assert after == Position(last.epoch, 3)
    assert await store.offsets("room") == ([3], True)


async def test_forgetting_what_was_never_used_changes_nothing(store: Store) -> None:
    await store.broker.forget("room")
    assert await store.ask("room") == History([], BEGINNING, True)


async def test_what_is_published_while_it_is_forgotten_is_whole_or_gone(store: Store) -> None:
    for n in range(20):
        published, *_ = await asyncio.gather(
            store.publish("room"), store.broker.forget("room"), store.ask("room")
        )
        assert [position.offset for position in published] == [n + 1]
    kept, _ = await store.offsets("room")
    assert kept in ([], [20])


# Which part of it.


async def test_without_since_the_last_ones_are_read(store: Store) -> None:
    await store.publish("room", 8)
    assert await store.offsets("room", limit=3) == ([6, 7, 8], True)
    assert await store.offsets("room", limit=3, is_reverse=True) == ([8, 7, 6], True)


async def test_with_since_the_first_ones_after_it_are_read(store: Store) -> None:
    positions = await store.publish("room", 8)
    since = positions[3]  # of the fourth message
    assert await store.offsets("room", since) == ([5, 6, 7, 8], True)
    assert await store.offsets("room", since, limit=2) == ([5, 6], True)
    assert await store.offsets("room", since, limit=2, is_reverse=True) == ([3, 2], True)
    assert await store.offsets("room", since, is_reverse=True) == ([3, 2, 1], True)


async def test_at_the_top_nothing_follows_and_nothing_is_missing(store: Store) -> None:
    (*_, top) = await store.publish("room", 3)
    assert await store.ask("room", top) == History([], top, True)


async def test_a_limit_of_nothing_asks_for_the_position(store: Store) -> None:
    first, *_, top = await store.publish("room", LENGTH + 2)
    assert await store.ask("room", limit=0) == History([], top, True)
    assert await store.ask("room", top, limit=0) == History([], top, True)
    assert await store.ask("room", top._replace(offset=2), limit=0) == History([], top, True)
    assert await store.ask("room", first, limit=0) == History([], top, False)


async def test_where_the_oldest_are_gone_the_answer_says_so(store: Store) -> None:
    epoch = (await store.publish("room", LENGTH + 5))[0].epoch
    kept = list(range(6, LENGTH + 6))
    assert await store.offsets("room", Position(epoch, 4)) == (kept, False)
    assert await store.offsets("room", Position(epoch, 5)) == (kept, True)
    assert await store.offsets("room", Position(epoch, 8), is_reverse=True) == ([7, 6], False)
    assert await store.offsets("room", Position(epoch, 8), 2, True) == ([7, 6], True)
    assert await store.offsets("room", Position(epoch, 3), is_reverse=True) == ([], False)


async def test_the_beginning_is_before_the_first_message_of_every_epoch(store: Store) -> None:
    await store.publish("room", 3)
    assert await store.offsets("room", BEGINNING, limit=2) == ([1, 2], True)
    assert await store.offsets("room", BEGINNING, is_reverse=True) == ([], True)
    await store.publish("room", LENGTH)
    assert await store.offsets("room", BEGINNING, limit=2) == ([4, 5], False)


async def test_a_position_of_another_epoch_gets_what_is_there(store: Store) -> None:
    await store.publish("room", 5)
    for other in (Position("other", 3), Position("other", 0), Position("", 3)):
        assert await store.offsets("room", other) == ([1, 2, 3, 4, 5], False)
        assert await store.offsets("room", other, limit=2) == ([1, 2], False)
        assert await store.offsets("room", other, 2, True) == ([5, 4], False)


async def test_a_position_above_the_top_is_no_position_of_ours(store: Store) -> None:
    (*_, top) = await store.publish("room", 3)
    for ahead in (1, 2, 2**62):
        above = top._replace(offset=top.offset + ahead)
        assert await store.ask("room", above) == History([], top, False)
        assert await store.offsets("room", above, is_reverse=True) == ([3, 2, 1], False)


# How long.


async def test_when_the_messages_have_lapsed_the_position_is_still_known(store: Store) -> None:
    first, *_, top = await store.publish("room", 5)
    await store.lapse_history("room")
    assert await store.ask("room") == History([], top, True)
    assert await store.ask("room", top) == History([], top, True)
    assert await store.ask("room", first) == History([], top, False)

    (after,) = await store.publish("room")
    assert after == top._replace(offset=6)
    assert await store.offsets("room", top) == ([6], True)
    assert await store.offsets("room", first) == ([6], False)


async def test_when_the_position_is_lost_a_new_life_begins(store: Store) -> None:
    old, *_ = await store.publish("room", 5)
    await store.lapse_position("room")
    assert await store.ask("room") == History([], BEGINNING, True)
    assert await store.ask("room", old) == History([], BEGINNING, False)

    (new,) = await store.publish("room")
    assert (new.offset, new.epoch != old.epoch) == (1, True)
    assert await store.offsets("room") == ([1], True)
    assert await store.offsets("room", old) == ([1], False)


# Many who ask.


async def test_everybody_who_asks_at_once_gets_the_own_answer(store: Store) -> None:
    for n in range(1, 20):
        await store.publish(f"room{n}", n)
    asked = [(n, limit) for n in range(20) for limit in (1, 5) for _ in range(5)]
    answers = await asyncio.gather(*(store.ask(f"room{n}", limit=limit) for n, limit in asked))

    assert [offsets_of(answer) for answer in answers] == [
        list(range(max(n - min(limit, LENGTH), 0) + 1, n + 1)) for n, limit in asked
    ]


async def test_one_who_goes_away_leaves_the_others_their_answer(store: Store) -> None:
    await store.publish("room", 3)
    asking = [asyncio.create_task(store.offsets("room")) for _ in range(3)]
    await asyncio.sleep(0)
    asking[0].cancel()

    assert [await task for task in asking[1:]] == [([1, 2, 3], True)] * 2


# Against a model.


@dataclass
class Model:
    """What a channel is, in the simplest words."""

    lives: int = 0
    is_alive: bool = False
    top: int = 0
    kept: list[int] = field(default_factory=list)

    def publish(self, count: int) -> None:
        if not self.is_alive:
            self.lives, self.is_alive, self.top, self.kept = self.lives + 1, True, 0, []
        for _ in range(count):
            self.top += 1
            self.kept = [*self.kept, self.top][-LENGTH:]

    def ask(
        self, since: tuple[int, int] | None, limit: int, is_reverse: bool
    ) -> tuple[list[int], bool]:
        """``since`` has the number of a life, 0 being the one before all of them."""
        kept = self.kept if self.is_alive else []
        top = self.top if self.is_alive else 0
        if since is None:
            last = kept[-limit:] if limit else []
            return (last[::-1] if is_reverse else last), True
        life, offset = since
        is_ours = since == (0, 0) or (self.is_alive and life == self.lives)
        if not is_ours:
            return (kept[::-1] if is_reverse else kept)[:limit], False
        if is_reverse:
            due = list(range(offset - 1, 0, -1))
            there = [n for n in reversed(kept) if n < offset]
        else:
            due = list(range(offset + 1, top + 1))
            there = [n for n in kept if n > offset]
        look = max(limit, 1)
        return there[:limit], offset <= top and there[:look] == due[:look]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.integers(1, 2 * LENGTH)),
        st.tuples(st.sampled_from(["lapse_history", "lapse_position"]), st.just(0)),
    ),
    max_size=6,
)
questions = st.lists(
    st.tuples(
        st.none() | st.tuples(st.integers(0, 4), st.integers(0, 45)),
        st.integers(0, 2 * LENGTH),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.tuples(steps, questions), min_size=1, max_size=3))
async def test_the_answer_is_what_a_simple_model_says(
    store: Store,
    rounds: Sequence[
        tuple[Sequence[tuple[str, int]], Sequence[tuple[tuple[int, int] | None, int, bool]]]
    ],
) -> None:
    channel, model, epochs = secrets.token_hex(8), Model(), [""]
    for done, asked in rounds:
        for what, count in done:
            if what == "publish":
                model.publish(count)
                position = (await store.publish(channel, count))[-1]
                assert position.offset == model.top
                if model.lives == len(epochs):
                    epochs.append(position.epoch)
                assert position.epoch == epochs[model.lives]
            elif what == "lapse_history":
                await store.lapse_history(channel)
                model.kept = []
            else:
                await store.lapse_position(channel)
                model.is_alive = False
        for since, limit, is_reverse in asked:
            position_asked = None
            if since is not None:
                life, offset = since
                position_asked = Position((*epochs, *["never"] * 5)[life], offset)
            history = await store.ask(channel, position_asked, limit, is_reverse)
            expected = (epochs[model.lives], model.top) if model.is_alive else BEGINNING
            assert history.top == expected
            assert (offsets_of(history), history.is_complete) == model.ask(since, limit, is_reverse)


@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    counts=st.lists(st.integers(1, LENGTH), max_size=4),
    pages=st.lists(st.integers(1, LENGTH + 2), min_size=1),
    is_reverse=st.booleans(),
)
async def test_page_by_page_everything_that_is_kept_is_seen_once_and_in_order(
    store: Store, counts: list[int], pages: list[int], is_reverse: bool
) -> None:
    channel, published = secrets.token_hex(8), []
    for count in counts:
        published += await store.publish(channel, count)
    kept = published[-LENGTH:]
    seen: list[Position] = []
    since = None if is_reverse else BEGINNING
    for limit in itertools.cycle(pages):
        history = await store.ask(channel, since, limit, is_reverse)
        seen += [message.position for message in history.messages]
        if not history.messages:
            break
        assert len(history.messages) <= limit
        since = history.messages[-1].position

    assert seen == (kept[::-1] if is_reverse else kept)


# Only with Redis.


async def test_asking_writes_nothing(on_redis: RedisStore) -> None:
    for since in (None, BEGINNING, Position("other", 3)):
        await on_redis.ask("room", since)
    assert await on_redis.redis.keys(f"{on_redis.keys.prefix}:*") == []


async def test_a_namespace_says_how_long_its_messages_live_and_positions_outlive_them(
    on_redis: RedisStore,
) -> None:
    for channel, seconds in [("room", 300), ("short:a", 60)]:
        await on_redis.publish(channel)
        left = await on_redis.redis.pttl(on_redis.keys.stream(channel)) / 1000
        assert seconds - 10 < left <= seconds
        left = await on_redis.redis.pttl(on_redis.keys.state(channel)) / 1000
        assert RETENTION.state_seconds - 10 < left <= RETENTION.state_seconds


async def test_what_others_wrote_into_the_stream_is_left_out(on_redis: RedisStore) -> None:
    epoch = (await on_redis.publish("room", 2))[0].epoch
    add, stream = on_redis.redis.xadd, on_redis.keys.stream("room")
    await add(stream, {"m": b'{"id":"i","user":"u","time":1.0}\n1'}, id="2-1")
    await on_redis.publish("room", 1)
    bodies = [
        b"", b"1", b"{}\n1", b'{"id":"i","user":"u","time":1.0}\nnot json',
        b'{"id":"i","user":"u","time":1.0}\n"%b"' % (b"x" * 100_000),
    ]  # fmt: skip
    for offset, body in enumerate(bodies, 4):
        await add(stream, {"m": body}, id=f"{offset}-0")
    good = b'{"id":"i","user":"u","time":1.0}\n1'
    await add(stream, {"x": good}, id="9-0")
    await add(stream, {"m": good, "x": b"1"}, id="10-0")
    await on_redis.redis.hset(on_redis.keys.state("room"), "o", "10")
    await add(stream, {"m": good}, id="1700000000000-0")

    history = await on_redis.ask("room", BEGINNING)
    assert offsets_of(history) == [1, 2, 3]
    assert (history.top, history.is_complete) == (Position(epoch, 10), False)
    assert await on_redis.offsets("room", BEGINNING, limit=3) == ([1, 2], False)
    assert await on_redis.offsets("room", Position(epoch, 2), limit=1) == ([3], True)


async def test_a_message_that_is_missing_in_the_middle_is_missed(on_redis: RedisStore) -> None:
    first, second, *_ = await on_redis.publish("room", 5)
    await on_redis.redis.xdel(on_redis.keys.stream("room"), "4-0")

    assert await on_redis.offsets("room", first) == ([2, 3, 5], False)
    assert await on_redis.offsets("room", first, limit=2) == ([2, 3], True)
    assert await on_redis.offsets("room", second._replace(offset=5), 3, True) == ([3, 2, 1], False)


async def test_where_the_newest_were_not_kept_the_answer_is_not_complete(
    on_redis: RedisStore,
) -> None:
    """A replica with other settings, or a Redis that was short of memory in between."""
    first, *_ = await on_redis.publish("room", 3)
    await on_redis.redis.hset(on_redis.keys.state("room"), "o", "5")
    assert await on_redis.offsets("room", first) == ([2, 3], False)


@pytest.mark.parametrize(
    "spoil",
    [
        ("SET", "stream", "text"),
        ("SET", "state", "text"),
        ("HSET", "state", "e", "abc", "o", "many"),
        ("HSET", "state", "e", "abc"),
        ("HSET", "state", "e", b"\xff", "o", "1"),
    ],
)
async def test_keys_that_are_not_ours_cost_the_caller_an_answer_and_nothing_else(
    on_redis: RedisStore, spoil: tuple[str | bytes, ...]
) -> None:
    verb, which, *values = spoil
    name = on_redis.keys.stream("bad") if which == "stream" else on_redis.keys.state("bad")
    await on_redis.redis.execute_command(verb, name, *values)  # type: ignore[no-untyped-call]
    await on_redis.publish("room", 2)
    refused, answered = await asyncio.gather(
        on_redis.ask("bad"), on_redis.offsets("room"), return_exceptions=True
    )

    assert isinstance(refused, Unavailable)
    assert answered == ([1, 2], True)
    assert await on_redis.offsets("room") == ([1, 2], True)


async def test_every_replica_reads_the_same(redis_server: RedisServer) -> None:
    async with redis_store(redis_server.url) as first:
        prefix = first.keys.prefix
        async with running(make_redis_broker(redis_server.url, prefix, RETENTION)) as other:
            second = RedisStore(other, first.keys)
            for n in range(20):
                await (first, second)[n % 2].publish("room")
                assert await first.ask("room") == await second.ask("room")


async def test_while_redis_is_away_nobody_gets_a_wrong_answer(directory: Path) -> None:
    with RedisServer(directory) as server:
        async with redis_store(server.url, timeout_seconds=0.5) as store:
            await store.publish("room", 2)
            await store.ask("room")
            server.freeze()
            with pytest.raises(Unavailable, match="did not answer"):
                await store.ask("room")
            server.thaw()
            assert await store.offsets("room") == ([1, 2], True)
            server.kill()
            with pytest.raises(Unavailable):
                await store.ask("room")


async def test_questions_do_not_travel_with_the_messages(on_redis: RedisStore) -> None:
    """A big answer, or none, must not hold up publishing."""
    await on_redis.publish("room")
    await on_redis.ask("room")
    replica = on_redis.keys.prefix
    names = [client["name"] for client in await on_redis.redis.client_list()]
    ours = [name for name in names if name.startswith(f"gateway-{replica}")]
    # The third one listens.
    assert sorted(name.count("-history") for name in ours) == [0, 0, 1]


async def test_when_the_gateway_stops_nobody_waits_for_ever() -> None:
    broker = make_redis_broker("redis://127.0.0.1:1/0", "gw:stop")
    running_broker = asyncio.create_task(broker.run(Inbox()))
    asking = asyncio.create_task(broker.history("room", HistoryQuery(None, 1)))
    await asyncio.sleep(0)
    running_broker.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running_broker
    with pytest.raises(Unavailable):
        await asyncio.wait_for(asking, 2)
    await broker.close()
