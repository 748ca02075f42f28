"""Leaving and coming back at random moments under a steady load: no hole, nothing twice.

Two replicas, one for each door, on a real Redis. Every client remembers how far it got, goes
away, and comes back, perhaps to the other replica, with `?since=`.
"""

import asyncio
import contextlib
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from websockets.asyncio.client import ClientConnection

from tests.support.clients import (
    RawClient,
    call,
    closing_of,
    listen,
    make_token,
    publish,
    publish_now,
    receive_json,
)
from tests.support.servers import GatewayProcess, RedisServer, wait_until

PUBLISHER, LISTENER = make_token("paula", "publisher"), make_token("lucas")
PER_SECOND = 200
SECONDS = 6.0
READERS = 4  # for each format
KEPT = 2000  # more than anybody falls behind here


@pytest.fixture
def own_redis(directory: Path) -> Iterator[RedisServer]:
    with RedisServer(directory) as server:
        yield server


@pytest.fixture
def pair(own_redis: RedisServer, directory: Path) -> Iterator[list[GatewayProcess]]:
    with contextlib.ExitStack() as stack:
        started = []
        for door in ("native", "asgi"):
            (directory / door).mkdir()
            settings = {
                "redis_url": own_redis.url,
                "socket_door": door,
                "history_messages": KEPT,
            }
            started.append(stack.enter_context(GatewayProcess(directory / door, **settings)))
        yield started


def place(message: str, format: str) -> int:
    """The number that was published, in whatever form it arrived."""
    if format == "json":
        return int(json.loads(message)["data"])
    return int(message.removeprefix("[room] "))


class Source:
    """Publishes 1, 2, 3 … steadily, so that the data of each message is its offset, too."""

    def __init__(self, replicas: list[GatewayProcess]) -> None:
        self._replicas = replicas
        self.epoch = ""
        self.said = 0
        self.is_done = False

    async def run(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end:
            target = random.choice(self._replicas)
            count = random.choice([1, 1, 1, 20])
            batch = [{"channel": "room", "data": self.said + n} for n in range(1, count + 1)]
            answer = await asyncio.to_thread(
                call, f"{target.http}/publish", token=PUBLISHER, json_body={"messages": batch}
            )
            results = answer.json["results"]
            assert [result["offset"] for result in results] == [each["data"] for each in batch]
            self.epoch = results[0]["epoch"]
            self.said += count
            await asyncio.sleep(count / PER_SECOND)
        self.is_done = True


class Reader:
    """Comes and goes, and checks that it sees 1, 2, 3 … all the same."""

    def __init__(self, source: Source, replicas: list[GatewayProcess], format: str) -> None:
        self._source = source
        self._replicas = replicas
        self._format = format
        self._random = random.Random(repr((format, id(self))))
        self.last = 0
        self.visits = 0
        self.caught_up = 0

    async def run(self) -> None:
        while not (self._source.is_done and self.last == self._source.said):
            where = self._random.choice(self._replicas)
            since = f"{self._source.epoch}:{self.last}" if self.last else ":0"
            query = f"?since={since}&format={self._format}"
            # Without a limit the library reads on while nobody asks, and so sees the goodbye.
            async with listen(where.ws, "room", LISTENER, query, max_queue=None) as socket:
                self.visits += 1
                await self._read(socket, self._random.randint(1, 80))

    async def _read(self, socket: ClientConnection, count: int) -> None:
        while count and not (self._source.is_done and self.last == self._source.said):
            try:
                async with asyncio.timeout(0.5):
                    text = await socket.recv()
            except TimeoutError:
                continue
            assert isinstance(text, str)
            if self._format == "json" and "type" in (notice := json.loads(text)):
                assert notice["type"] == "caught_up", notice
                assert notice["offset"] == self.last
                self.caught_up += 1
                continue
            assert place(text, self._format) == self.last + 1
            self.last += 1
            count -= 1


async def test_whoever_comes_back_misses_nothing_and_gets_nothing_twice(
    pair: list[GatewayProcess],
) -> None:
    """F32"""
    source = Source(pair)
    readers = [
        Reader(source, pair, format) for format in ("json", "text", "raw") for _ in range(READERS)
    ]
    async with asyncio.timeout(SECONDS + 30), asyncio.TaskGroup() as group:
        group.create_task(source.run(SECONDS))
        for reader in readers:
            group.create_task(reader.run())
    assert {reader.last for reader in readers} == {source.said}
    assert source.said > 300
    assert min(reader.visits for reader in readers) > 3
    assert all(reader.caught_up for reader in readers[:READERS])


@pytest.fixture
async def said(pair: list[GatewayProcess]) -> str:
    """Five messages in the channel; their epoch."""
    for n in range(1, 6):
        answer = await publish(pair[0].http, "room", n, PUBLISHER)
    epoch: str = answer.json["epoch"]
    return epoch


async def test_the_newest_messages_come_first_where_they_are_asked_for(
    pair: list[GatewayProcess], said: str
) -> None:
    for replica in pair:
        async with listen(replica.ws, "room", LISTENER, "?history=2") as socket:
            assert [(await receive_json(socket))["data"] for _ in range(2)] == [4, 5]
            assert await receive_json(socket) == {
                "type": "caught_up",
                "channel": "room",
                "epoch": said,
                "offset": 5,
            }


async def test_who_saw_it_on_a_replica_that_died_goes_on_at_another(
    pair: list[GatewayProcess], said: str
) -> None:
    first, second = pair
    async with listen(first.ws, "room", LISTENER, f"?since={said}:2") as socket:
        assert (await receive_json(socket))["data"] == 3
        first.kill()
        last = 3
        await publish(second.http, "room", 6, PUBLISHER)
    async with listen(second.ws, "room", LISTENER, f"?since={said}:{last}") as socket:
        assert [(await receive_json(socket))["data"] for _ in range(3)] == [4, 5, 6]


@pytest.mark.parametrize(
    ("since", "reason"), [("other:3", "epoch_changed"), ("{epoch}:9", "history_lost")]
)
async def test_a_position_that_cannot_be_continued_is_announced_first(
    pair: list[GatewayProcess], said: str, since: str, reason: str
) -> None:
    since = since.format(epoch=said)
    for replica in pair:
        async with listen(replica.ws, "room", LISTENER, f"?since={since}") as socket:
            gap = await receive_json(socket)
            assert (gap["type"], gap["reason"], gap["since"]) == ("gap", reason, since)


async def test_history_that_has_gone_is_announced_and_what_is_left_follows(
    pair: list[GatewayProcess], own_redis: RedisServer, said: str
) -> None:
    with Redis.from_url(own_redis.url) as admin:
        admin.xtrim("gw:{room}:stream", maxlen=2, approximate=False)
    for replica in pair:
        async with listen(replica.ws, "room", LISTENER, f"?since={said}:1") as socket:
            gap = await receive_json(socket)
            assert (gap["type"], gap["since"], gap["next"]) == ("gap", f"{said}:1", f"{said}:4")
            assert [(await receive_json(socket))["data"] for _ in range(2)] == [4, 5]
            assert (await receive_json(socket))["type"] == "caught_up"


async def test_a_lost_epoch_is_announced_to_everybody_who_listens(
    pair: list[GatewayProcess], own_redis: RedisServer, said: str
) -> None:
    first, second = pair
    async with (
        listen(first.ws, "room", LISTENER) as native,
        listen(second.ws, "room", LISTENER) as asgi,
    ):
        with Redis.from_url(own_redis.url) as admin:
            admin.flushall()
        answer = await publish(first.http, "room", "anew", PUBLISHER)
        for socket in (native, asgi):
            gap = await receive_json(socket)
            assert (gap["type"], gap["reason"]) == ("gap", "epoch_changed")
            assert gap["since"] == f"{said}:5"
            assert gap["next"] == f"{answer.json['epoch']}:1"
            assert (await receive_json(socket))["data"] == "anew"
        for replica in pair:
            assert call(replica.http + "/health").json["gaps_announced"] == 1


async def test_what_was_missed_while_redis_cut_the_link_is_fetched(
    pair: list[GatewayProcess], own_redis: RedisServer, said: str
) -> None:
    """One replica loses its link, and the messages of that time; its sockets do not."""
    first, second = pair
    async with listen(first.ws, "room", LISTENER) as socket:
        with Redis.from_url(own_redis.url) as admin:
            admin.client_kill_filter(_type="pubsub")
            for n in range(6, 11):
                answer = await publish(second.http, "room", n, PUBLISHER)
                assert answer.status == 200
        assert [(await receive_json(socket))["data"] for _ in range(5)] == [6, 7, 8, 9, 10]
    wait_until(lambda: call(first.http + "/readyz").status == 200, "the replica is ready again")


@pytest.mark.parametrize(
    "query",
    ["?since=x", "?since=a:1&since=a:2", "?since=a:1&history=2", "?history=0", "?history=-1",
     "?history=1001", "?history=x", "?history=", "?since="],
)  # fmt: skip
async def test_a_beginning_that_means_nothing_is_refused(
    gateway: GatewayProcess, query: str
) -> None:
    async with listen(gateway.ws, "room", LISTENER, query) as socket:
        code, reason = await closing_of(socket)
    assert code == 1008
    assert reason


def test_a_crowd_that_comes_at_once_shares_a_few_reads(
    pair: list[GatewayProcess], own_redis: RedisServer
) -> None:
    crowd, epoch = 200, ""
    for n in range(1, 6):
        epoch = publish_now(pair[0].http, "room", n, PUBLISHER).json["epoch"]
    head = (
        f"GET /ws/room?since={epoch}:2 HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer {LISTENER}\r\n"
        "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
    ).encode()
    with Redis.from_url(own_redis.url) as admin, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(RawClient(pair[0].port)) for _ in range(crowd)]
        admin.config_resetstat()
        # All are written before any is read: what waits for an answer grows into one question.
        for client in clients:
            client.send(head)
        for client in clients:
            assert client.read_head().startswith(b"HTTP/1.1 101 ")
            assert [client.read_json()["data"] for _ in range(3)] == [3, 4, 5]
            assert client.read_json()["type"] == "caught_up"
        reads = admin.info("commandstats")["cmdstat_xrevrange"]["calls"]
    assert 1 <= reads <= crowd / 4
