"""A listener that comes back, as a browser does by itself: no hole, nothing twice, no silence."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from tests.support.clients import call, make_token, publish
from tests.support.event_source import EventSource
from tests.support.servers import GatewayProcess, RedisServer, replicas

PUBLISHER, LISTENER = make_token("paula", "publisher"), make_token("lucas")
SECONDS = 5.0
READERS = 4  # for each format


@pytest.fixture
def own_redis(directory: Path) -> Iterator[RedisServer]:
    with RedisServer(directory) as server:
        yield server


@pytest.fixture
def pair(own_redis: RedisServer, directory: Path) -> Iterator[list[GatewayProcess]]:
    with replicas(directory, 2, redis_url=own_redis.url) as started:
        yield started


@pytest.fixture(params=["memory", "redis"])
def places(
    request: pytest.FixtureRequest, directory: Path, redis_server: RedisServer
) -> Iterator[list[GatewayProcess]]:
    """One replica alone, or two with a Redis."""
    if request.param == "memory":
        with GatewayProcess(directory) as alone:
            yield [alone]
    else:
        settings = {"redis_url": redis_server.url, "redis_prefix": directory.name}
        with replicas(directory, 2, **settings) as started:
            yield started


class Publisher:
    """Publishes 1, 2, 3 … steadily, so that the data of each message is its offset, too."""

    def __init__(self, places: list[GatewayProcess]) -> None:
        self._places = places
        self.said = 0
        self.is_done = False

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + SECONDS
        while loop.time() < end:
            count = random.choice([1, 1, 1, 20])
            batch = [{"channel": "room", "data": self.said + n} for n in range(1, count + 1)]
            url = random.choice(self._places).http + "/publish"
            body = {"messages": batch}
            answer = await asyncio.to_thread(call, url, token=PUBLISHER, json_body=body)
            offsets = [result["offset"] for result in answer.json["results"]]
            assert offsets == [each["data"] for each in batch]
            self.said += count
            await asyncio.sleep(count / 200)
        self.is_done = True


class Reader:
    """Comes and goes with `Last-Event-ID` alone, and checks that it sees 1, 2, 3 … all the same.

    Its first visit is at the beginning of everything, and may end before the first message.
    """

    def __init__(self, source: Publisher, places: list[GatewayProcess], format: str) -> None:
        self._source = source
        self._places = places
        self._format = format
        self._random = random.Random(repr((format, id(self))))
        self._last_event_id = ""
        self.last = 0
        self.visits = 0

    @property
    def is_done(self) -> bool:
        return self._source.is_done and self.last == self._source.said

    async def run(self, first: asyncio.Barrier) -> None:
        while not self.is_done:
            http = self._random.choice(self._places).http
            headers = {"Last-Event-ID": self._last_event_id} if self._last_event_id else {}
            query = f"?format={self._format}"
            async with EventSource(http, "room", LISTENER, query, headers) as source:
                self.visits += 1
                if self.visits > 1:
                    await self._read(source, self._random.randint(1, 80))
                else:
                    await first.wait()
                self._last_event_id = source.last_event_id

    async def _read(self, source: EventSource, count: int) -> None:
        while not self.is_done:
            try:
                event = await source.next(0.5)
            except TimeoutError:
                continue
            if event.type == "caught_up":
                assert event.json["offset"] == self.last
            else:
                assert event.type == "message", event
                text = str(event.json["data"]) if self._format == "json" else event.data
                assert int(text.removeprefix("[room] ")) == self.last + 1
                self.last += 1
                count -= 1
            # A browser knows the id of an event when the page gets the event, not before.
            if count <= 0 and not source.has_more:
                return


async def test_whoever_comes_back_misses_nothing_and_gets_nothing_twice(
    places: list[GatewayProcess],
) -> None:
    source = Publisher(places)
    readers = [
        Reader(source, places, format) for format in ("json", "text", "raw") for _ in range(READERS)
    ]
    barrier = asyncio.Barrier(len(readers) + 1)
    async with asyncio.timeout(SECONDS + 30), asyncio.TaskGroup() as group:
        for reader in readers:
            group.create_task(reader.run(barrier))
        await barrier.wait()
        group.create_task(source.run())
    assert {reader.last for reader in readers} == {source.said}
    assert source.said > 300
    assert min(reader.visits for reader in readers) > 3


async def test_who_left_before_the_first_message_gets_it(gateway: GatewayProcess) -> None:
    channel = "left-early"
    async with EventSource(gateway.http, channel, LISTENER) as source:
        pass
    for n in range(3):
        await publish(gateway.http, channel, n, PUBLISHER)
    headers = {"Last-Event-ID": source.last_event_id}
    async with EventSource(gateway.http, channel, LISTENER, headers=headers) as source:
        assert [(await source.message())["data"] for _ in range(3)] == [0, 1, 2]
        assert (await source.next()).type == "caught_up"


async def test_where_a_browser_was_counts_more_than_its_url(gateway: GatewayProcess) -> None:
    channel = "browser"
    for n in range(1, 6):
        answer = await publish(gateway.http, channel, n, PUBLISHER)
    headers = {"Last-Event-ID": f"{answer.json['epoch']}:4"}
    for query in ("?since=:0", "?history=3", "?since=unreadable"):
        async with EventSource(gateway.http, channel, LISTENER, query, headers) as source:
            assert (await source.message())["data"] == 5
            assert (await source.next()).type == "caught_up"


@pytest.mark.parametrize("last", ["17", "a:b:c", "gone:3"])
async def test_a_place_that_is_none_of_ours_is_a_gap(gateway: GatewayProcess, last: str) -> None:
    channel = "elsewhere"
    await publish(gateway.http, channel, "kept", PUBLISHER)
    headers = {"Last-Event-ID": last}
    async with EventSource(gateway.http, channel, LISTENER, headers=headers) as source:
        gap = await source.next()
        assert (gap.type, gap.json["reason"]) == ("gap", "epoch_changed")
        assert (await source.message())["data"] == "kept"


async def test_history_that_has_gone_is_announced_and_what_is_left_follows(
    pair: list[GatewayProcess], own_redis: RedisServer
) -> None:
    for n in range(1, 6):
        answer = await publish(pair[0].http, "room", n, PUBLISHER)
    epoch = answer.json["epoch"]
    with Redis.from_url(own_redis.url) as admin:
        admin.xtrim("gw:{room}:stream", maxlen=2, approximate=False)
    headers = {"Last-Event-ID": f"{epoch}:1"}
    for replica in pair:
        async with EventSource(replica.http, "room", LISTENER, headers=headers) as source:
            gap = await source.next()
            assert (gap.type, gap.json["reason"]) == ("gap", "history_lost")
            assert (gap.json["since"], gap.json["next"]) == (f"{epoch}:1", f"{epoch}:4")
            assert gap.last_event_id == f"{epoch}:3"
            assert [(await source.message())["data"] for _ in range(2)] == [4, 5]
            assert (await source.next()).type == "caught_up"


async def test_a_lost_epoch_is_announced_to_everybody_who_listens(
    pair: list[GatewayProcess], own_redis: RedisServer
) -> None:
    first, second = pair
    old = (await publish(first.http, "room", "before", PUBLISHER)).json["epoch"]
    async with (
        EventSource(first.http, "room", LISTENER) as one,
        EventSource(second.http, "room", LISTENER) as two,
        EventSource(second.http, "room", LISTENER, "?format=raw") as raw,
    ):
        with Redis.from_url(own_redis.url) as admin:
            admin.flushall()
        new = (await publish(first.http, "room", "anew", PUBLISHER)).json["epoch"]
        for source in (one, two):
            gap = await source.next()
            assert (gap.type, gap.json["reason"]) == ("gap", "epoch_changed")
            assert (gap.json["since"], gap.json["next"]) == (f"{old}:1", f"{new}:1")
            assert (await source.message())["data"] == "anew"
        assert (await raw.next()).data == "anew"
        assert raw.last_event_id == f"{new}:1"


async def test_what_was_missed_while_redis_cut_the_link_is_fetched(
    pair: list[GatewayProcess], own_redis: RedisServer
) -> None:
    first, second = pair
    async with EventSource(first.http, "room", LISTENER) as source:
        with Redis.from_url(own_redis.url) as admin:
            admin.client_kill_filter(_type="pubsub")
            for n in range(5):
                await publish(second.http, "room", n, PUBLISHER)
        assert [(await source.message())["data"] for _ in range(5)] == list(range(5))
