"""Whom to believe about the master, with sentinels and nodes that say what the test wants."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import hiredis
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.adapters.redis.channels import subscriber as subscriber_module
from gateway.adapters.redis.channels.subscriber import Subscriber
from gateway.adapters.redis.keys import Keys
from gateway.adapters.redis.places.address import Address
from gateway.adapters.redis.places.connection import Place, connect
from gateway.adapters.redis.places.pipe import NotSent, Pipe, Unanswered
from gateway.adapters.redis.places.sentinel import Answer, SentinelPlace, believed
from gateway.adapters.redis.places.topology import Sentinels, parse_topology
from tests.support.brokers import Inbox

OLD, NEW = Answer(1, "a", 1), Answer(2, "b", 1)
SECRET = "s3cret-canary"


@pytest.mark.parametrize(
    ("answers", "known", "expected"),
    [
        ([None, None, None], None, None),
        ([None, None, None], OLD, None),
        ([OLD, OLD, OLD], None, OLD),
        ([OLD, NEW, OLD], None, NEW),  # the leader of a failover knows it first
        ([OLD, NEW, OLD], OLD, NEW),
        ([OLD, None, None], NEW, None),  # one that is cut off with the old master
        ([OLD, OLD, None], NEW, OLD),  # most were set up anew, and count from the beginning
        ([OLD, Answer(1, "c", 1), OLD], None, OLD),
    ],
)
def test_the_newest_answer_counts_unless_a_few_go_back(
    answers: list[Answer | None], known: Answer | None, expected: Answer | None
) -> None:
    assert believed(answers, known) == expected


class Fake:
    """Answers commands as its ``reply`` says; None is silence."""

    def __init__(self, reply: Callable[[tuple[str, ...]], bytes | None]) -> None:
        self._reply = reply
        self.seen: list[tuple[str, ...]] = []
        self.connections: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.add(writer)
        parser = hiredis.Reader(encoding="utf-8")
        try:
            while data := await reader.read(65_536):
                parser.feed(data)
                while (command := parser.gets()) is not False:
                    self.seen.append(tuple(command))
                    reply = self._reply(tuple(command))
                    if command[0] in ("AUTH", "CLIENT", "SELECT", "INFO"):
                        reply = b"+OK\r\n"
                    if reply is not None:
                        writer.write(reply)
        except ConnectionError:
            pass
        finally:
            self.connections.discard(writer)
            writer.transport.abort()


@contextlib.asynccontextmanager
async def served(*fakes: Fake) -> AsyncIterator[None]:
    servers = [await asyncio.start_server(fake.serve, "127.0.0.1", 0) for fake in fakes]
    for fake, server in zip(fakes, servers, strict=True):
        fake.port = server.sockets[0].getsockname()[1]
    try:
        yield
    finally:
        for fake, server in zip(fakes, servers, strict=True):
            server.close()
            for writer in tuple(fake.connections):
                writer.transport.abort()
        await until(lambda: not any(fake.connections for fake in fakes))


class House:
    """Two nodes and three sentinels, each of which may say something of its own."""

    def __init__(self) -> None:
        self.roles = ["master", "slave"]
        self.is_frozen = [False, False]
        self.nodes = [Fake(partial(self._node, n)) for n in range(2)]
        self.says: list[tuple[int, int] | None] = [(1, 0)] * 3  # the failover's number, the node
        self.sentinels = [Fake(partial(self._sentinel, n)) for n in range(3)]

    @property
    def topology(self) -> Sentinels:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        topology = parse_topology(
            f"redis+sentinel://u:{SECRET}@{hosts}/m?sentinel_password={SECRET}"
        )
        assert isinstance(topology, Sentinels)
        return topology

    def place(self) -> SentinelPlace:
        return SentinelPlace(self.topology, name="test", timeout_seconds=0.3)

    def promote(self) -> None:
        """The second node is master now, and all know it."""
        self.roles, self.says = ["slave", "master"], [(2, 1)] * 3

    def _node(self, n: int, command: tuple[str, ...]) -> bytes | None:
        if self.is_frozen[n]:
            return None
        if command[0] == "HELLO":
            return _array("server", "redis", "role", self.roles[n])
        return b"+node %d\r\n" % n

    def _sentinel(self, n: int, command: tuple[str, ...]) -> bytes | None:
        said = self.says[n]
        if command[0] != "SENTINEL" or said is None:
            return None
        assert command[2] == "m"
        epoch, node = said
        port = str(self.nodes[node].port)
        if command[1] == "MASTER":
            return _array("name", "m", "config-epoch", str(epoch))
        return _array("127.0.0.1", port)


def _array(*words: str) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(
        b"$%d\r\n%s\r\n" % (len(word), word.encode()) for word in words
    )


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    async with served(*house.nodes, *house.sentinels):
        yield house


@contextlib.asynccontextmanager
async def running(place: SentinelPlace) -> AsyncIterator[None]:
    task = asyncio.create_task(place.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def ask(redis: Redis) -> Any:
    return await redis.execute_command("ASK")  # type: ignore[no-untyped-call]


async def test_the_master_is_found_and_logged_into(house: House) -> None:
    place = house.place()
    address = await place.find()
    assert (address.port, address.username) == (house.nodes[0].port, "u")
    assert place.generation == f"1@127.0.0.1:{house.nodes[0].port}"
    for sentinel in house.sentinels:
        assert ("AUTH", SECRET) in sentinel.seen
    assert ("AUTH", "u", SECRET) in house.nodes[0].seen
    assert SECRET not in f"{place} {place!r} {address} {place.generation}"


async def test_whoever_only_asks_once_leaves_nothing_open(house: House) -> None:
    await house.place().find()
    await until(lambda: not any(f.connections for f in (*house.nodes, *house.sentinels)))


async def test_a_node_that_is_no_master_is_not_believed_to_be_one(house: House) -> None:
    house.roles[0] = "slave"
    place = house.place()
    with pytest.raises(OSError, match="not a master"):
        await place.find()
    house.roles[0] = "master"
    assert (await place.find()).port == house.nodes[0].port


async def test_while_no_sentinel_answers_nobody_can_tell(house: House) -> None:
    house.says = [None] * 3
    place = house.place()
    with pytest.raises(OSError, match="where the master m is"):
        await place.find()
    house.says[2] = (1, 0)
    assert (await place.find()).port == house.nodes[0].port


async def test_connections_go_along_when_the_master_moves(house: House) -> None:
    """Also those that wait for an answer of the old one, which is frozen."""
    place = house.place()
    pipe = Pipe(place, name="test", timeout_seconds=20)
    redis = connect(place, timeout_seconds=20, connections_max=2)
    async with running(place):
        assert await pipe.execute([("ASK",)]) == [b"node 0"]
        assert await ask(redis) == b"node 0"
        before = pipe.generation
        house.is_frozen[0] = True
        asked = asyncio.create_task(pipe.execute([("ASK",)]))
        commanded = asyncio.create_task(ask(redis))
        await until(lambda: house.nodes[0].seen.count(("ASK",)) == 4)
        house.promote()
        with pytest.raises(Unanswered):
            await asyncio.wait_for(asked, 10)
        with pytest.raises(RedisError):
            await asyncio.wait_for(commanded, 10)

        assert await pipe.execute([("ASK",)]) == [b"node 1"]
        assert await ask(redis) == b"node 1"
        assert pipe.generation == place.generation != before
        with pytest.raises(NotSent, match="taken over"):
            await pipe.execute([("ASK",)], before)
        await until(lambda: not house.nodes[0].connections)
    pipe.close()
    await redis.aclose()


async def test_a_sentinel_that_is_cut_off_does_not_lead_back(house: House) -> None:
    place = house.place()
    async with running(place):
        await place.find()
        house.promote()
        await until(lambda: place.generation.startswith("2@"))
        house.says, house.roles = [(1, 0), None, None], ["master", "master"]
        asked = house.sentinels[0].seen.count(("SENTINEL", "MASTER", "m"))
        await until(lambda: house.sentinels[0].seen.count(("SENTINEL", "MASTER", "m")) > asked + 1)
        assert place.generation.startswith("2@")
        with pytest.raises(OSError, match="can tell"):
            await place.find()


async def test_the_same_node_after_two_failovers_is_another_generation(house: House) -> None:
    place = house.place()
    left: list[str] = []
    place.on_move(lambda: left.append(place.generation))
    async with running(place):
        await place.find()
        house.says = [(3, 0)] * 3
        await until(lambda: left)
    assert left == [f"3@127.0.0.1:{house.nodes[0].port}"]


def make_subscriber(place: Place, redis: Redis) -> Subscriber:
    return Subscriber(
        place,
        redis,
        Keys("gw"),
        replica="test",
        timeout_seconds=60,
        ping_interval_seconds=60,
        ping_timeout_seconds=60,
        data_bytes_max=100,
    )


@pytest.mark.parametrize("stage", ["opening", "backing off"])
async def test_who_listens_goes_to_the_new_master_at_once(
    house: House, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """Also from the midst of a TLS handshake that nobody answers, and from a long pause."""
    opened: list[int] = []

    async def open_connection(address: Address, make: Callable[[], Any]) -> Any:
        opened.append(address.port)
        if stage == "opening":
            await asyncio.sleep(60)
        raise ConnectionRefusedError

    monkeypatch.setattr(subscriber_module, "open_connection", open_connection)
    monkeypatch.setattr(subscriber_module, "_BACKOFF_SECONDS_MIN", 60)
    place = house.place()
    redis = connect(place, timeout_seconds=1, connections_max=1)
    async with running(place):
        await place.find()
        listening = asyncio.create_task(make_subscriber(place, redis).run(Inbox()))
        await until(lambda: opened == [house.nodes[0].port])
        monkeypatch.setattr(subscriber_module, "_BACKOFF_SECONDS_MIN", 0.01)
        house.promote()
        await until(lambda: house.nodes[1].port in opened)
        listening.cancel()
        await asyncio.wait([listening])
    await redis.aclose()


class Hopping(Place):
    """Has moved whenever one looks again."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._looks = 0

    @property
    def generation(self) -> str:
        self._looks += 1
        return str(self._looks)

    async def find(self) -> Address:
        return self._address

    def on_move(self, leave: Callable[[], None]) -> None:
        """Nobody is told: the connection was not there yet."""


async def test_a_connection_that_was_being_made_meanwhile_is_not_used(house: House) -> None:
    node = house.nodes[0]
    place = Hopping(house.topology.node.at("127.0.0.1", node.port))
    with pytest.raises(NotSent, match="ConnectionReset"):
        await Pipe(place, name="test", timeout_seconds=5).execute([("ASK",)])
    redis = connect(place, timeout_seconds=5, connections_max=1)
    with pytest.raises(RedisError, match="moved meanwhile"):
        await ask(redis)
    await redis.aclose()
    subscriber = make_subscriber(place, redis)
    listening = asyncio.create_task(subscriber.run(Inbox()))
    await until(lambda: "moved meanwhile" in subscriber.trouble)
    listening.cancel()
    await asyncio.wait([listening])
    assert not {command[0] for command in node.seen} & {"ASK", "SUBSCRIBE"}
    await until(lambda: not node.connections)
