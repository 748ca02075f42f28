"""What one replica does while slots of a Redis Cluster are on their way from node to node."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from gateway.adapters.redis.assembly import Assembled
from gateway.adapters.redis.cluster import map as cluster_map
from gateway.adapters.redis.cluster.broker import ClusterBroker
from gateway.adapters.redis.keys import Keys
from gateway.adapters.redis.shared.channel_presence import RedisChannelPresence
from gateway.adapters.redis.shared.limiter import RedisLimiter
from gateway.adapters.redis.shared.revocation_log import RedisRevocationLog
from gateway.domain.errors import Unavailable
from gateway.domain.history import HistoryQuery
from gateway.domain.messages import Receipt
from gateway.ports.channel_presence import Headcount
from gateway.ports.limiter import Rate
from tests.support.brokers import Replica, assemble, publication, running
from tests.support.redis_cluster import RedisCluster, redis_cluster

ROOM = "room"

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with redis_cluster(tmp_path_factory.mktemp("moves")) as started:
        yield started


@pytest.fixture
def keys() -> Keys:
    return Keys(f"gw:{secrets.token_hex(4)}")


@pytest.fixture
def made(cluster: RedisCluster, keys: Keys) -> Assembled:
    return assemble(cluster.url, keys.prefix)


@pytest.fixture
async def replica(made: Assembled) -> AsyncIterator[Replica]:
    async with running(made.broker) as replica:
        yield replica
    await made.broker.close()


async def published(replica: Replica, channel: str = ROOM, key: str = "") -> Receipt:
    (outcome,) = await replica.broker.publish([publication(channel, key=key)])
    assert isinstance(outcome, Receipt), outcome
    return outcome


async def eventually(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def told_of(replica: Replica, channel: str) -> int:
    return sum(concerns(channel) for concerns in replica.inbox.concerns)


@pytest.fixture
def no_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    """The map is looked at only where there is a reason to."""
    monkeypatch.setattr(cluster_map, "_LOOK_SECONDS", 60)


@pytest.mark.usefixtures("no_looking")
async def test_a_channel_that_is_on_its_way_is_published_and_read_where_its_keys_are(
    cluster: RedisCluster, replica: Replica, keys: Keys
) -> None:
    await replica.broker.subscribe(ROOM)
    first = await published(replica)
    told = told_of(replica, ROOM)
    source, target = cluster.begin_move(ROOM)
    second = await published(replica)  # its keys have not moved yet
    await replica.inbox.wait_for(2)
    cluster.move_keys(source, target, keys.state(ROOM), keys.stream(ROOM))
    third = await published(replica)
    history = await replica.broker.history(ROOM, HistoryQuery(None, 10))

    positions = [receipt.position for receipt in (first, second, third)]
    assert [position.offset for position in positions] == [1, 2, 3]
    assert len({position.epoch for position in positions}) == 1
    assert [message.position for message in history.messages] == positions
    assert told_of(replica, ROOM) == told

    cluster.end_move(source, target, ROOM)
    await eventually(lambda: told_of(replica, ROOM) == told + 1)
    assert told_of(replica, "elsewhere") == told  # nobody else is told of anything
    fourth = await published(replica)
    assert fourth.position == positions[0]._replace(offset=4)
    # The third went out where nobody may listen yet; the repair reads it.
    heard = [message.position.offset for message in await replica.inbox.wait_for(3)]
    assert heard == [1, 2, 4]


async def test_what_cannot_be_done_in_between_is_refused_and_not_in_doubt(
    cluster: RedisCluster, replica: Replica, keys: Keys
) -> None:
    """A script with two keys needs both on one side."""
    room = "torn"
    await published(replica, room)
    source, target = cluster.begin_move(room)
    cluster.move_keys(source, target, keys.state(room))
    began = time.monotonic()
    outcomes = await replica.broker.publish([publication(room), publication("fine")])
    assert time.monotonic() - began < 1.5
    refused = next(outcome for outcome in outcomes if isinstance(outcome, Unavailable))
    assert not refused.outcome_unknown
    with pytest.raises(Unavailable):
        await replica.broker.history(room, HistoryQuery(None, 10))

    cluster.move_keys(source, target, keys.stream(room))
    cluster.end_move(source, target, room)
    assert (await published(replica, room)).position.offset == 2


@pytest.mark.usefixtures("no_looking")
async def test_a_message_finds_a_channel_that_nobody_here_listens_to(
    cluster: RedisCluster, replica: Replica
) -> None:
    first = await published(replica, "unheard")
    cluster.move("unheard")
    second = await published(replica, "unheard")
    assert second.position == first.position._replace(offset=2)


@pytest.mark.usefixtures("no_looking")
async def test_right_after_a_move_everything_finds_its_new_place(
    cluster: RedisCluster, replica: Replica, made: Assembled, keys: Keys
) -> None:
    """The map is a second old, and the nodes say so."""
    names = [f"fresh{n}" for n in range(5)]
    presence = RedisChannelPresence(
        made.redis_for(keys.presence),
        made.presence_pipe,
        keys,
        replica="one",
        lease_seconds=10,
        redis_of=made.redis_of,
    )
    await presence.renew()
    for name in names:
        first = await published(replica, name, key="k")
        cluster.move(name)
        await replica.broker.subscribe(name)
        cluster.move(name)
        again = await published(replica, name, key="k")
        assert again == first._replace(replayed=True)
        second = await published(replica, name)
        assert second.position == first.position._replace(offset=2)
        cluster.move(name)
        announced = await presence.announce({name: {"alice": 1}})
        assert [crossing.channel for crossing in announced.crossings] == [name]
    await eventually(lambda: made.broker.troubles == [])
    await eventually(lambda: all(told_of(replica, name) > 1 for name in names))
    for name in names:
        assert await presence.headcount(name) == Headcount(1, 1)
        await published(replica, name)
    await eventually(lambda: {m.channel for m in replica.inbox.messages} == set(names))
    await presence.close()


async def test_what_belongs_to_no_channel_moves_as_well(
    cluster: RedisCluster, replica: Replica, made: Assembled, keys: Keys
) -> None:
    limiter = RedisLimiter(made.redis_for(keys.bucket("")), keys)
    rate = Rate(burst=3, per_seconds=60)
    assert await limiter.take([("a", rate), ("b", rate)]) == 0
    cluster.move(keys.bucket("a"))
    async with asyncio.timeout(5):
        while True:
            try:
                assert await limiter.take([("a", rate)]) == 0
                break
            except Unavailable:
                await asyncio.sleep(0.05)
    assert await limiter.take([("a", rate)]) == 0
    assert await limiter.take([("a", rate)]) > 50

    broker = replica.broker
    assert isinstance(broker, ClusterBroker)
    before = broker.center
    cluster.move(keys.signals)
    await eventually(lambda: broker.center is not before)
    assert await broker.signal(b"all") == 1
    await replica.inbox.wait_for_signals(1)


async def test_a_command_tells_the_gateways_something_and_reads_what_they_share(
    cluster: RedisCluster, replica: Replica, keys: Keys
) -> None:
    """It runs nothing, and is over at once."""
    command = assemble(cluster.url, keys.prefix)
    assert await command.broker.signal(b"one") == 1
    assert await command.broker.signal(b"two", near=ROOM) == 1
    assert await RedisRevocationLog(command.redis_for(keys.revocations), keys).live(0) == []
    await command.broker.close()
    assert sorted(await replica.inbox.wait_for_signals(2)) == [b"one", b"two"]


@pytest.mark.long
async def test_a_node_that_gives_away_all_its_slots_is_left(
    cluster: RedisCluster, replica: Replica
) -> None:
    names = [f"spread{n}" for n in range(40)]
    for name in names:
        await replica.broker.subscribe(name)
        await published(replica, name)
    await replica.inbox.wait_for(40)
    source, target = cluster.nodes[0], cluster.nodes[1]
    count = len(source.ask("CLUSTER", "SLOTS"))
    assert count
    stop = asyncio.Event()

    async def publish_on() -> list[Unavailable]:
        refused = []
        while not stop.is_set():
            for outcome in await replica.broker.publish([publication(name) for name in names]):
                if isinstance(outcome, Unavailable):
                    refused.append(outcome)
            await asyncio.sleep(0.05)
        return refused

    publishing = asyncio.create_task(publish_on())
    await asyncio.to_thread(cluster.reshard, source, target, 16384)
    broker = replica.broker
    assert isinstance(broker, ClusterBroker)
    await eventually(lambda: len(broker.parts) == 2)
    stop.set()
    assert not any(refusal.outcome_unknown for refusal in await publishing)
    await eventually(lambda: broker.troubles == [])
    for name in names:
        replica.inbox.messages.clear()
        receipt = await published(replica, name)
        await replica.inbox.wait_for(1)
        assert replica.inbox.messages[-1].position == receipt.position
        assert receipt.position.offset > 2
