"""That epochs end with a failover, wherever one looks, and begin once: script and reader agree."""

import secrets
from collections.abc import AsyncIterator, Callable

import pytest

from gateway.adapters.redis.places.address import Address
from gateway.adapters.redis.places.connection import Place, place_at
from gateway.domain.history import HistoryQuery
from gateway.domain.messages import BEGINNING, Position, Receipt
from tests.support.brokers import Replica, assembly, make_redis_broker, publication, running
from tests.support.servers import RedisServer


class MovingPlace(Place):
    """One Redis, of which is said that a failover happened."""

    def __init__(self, url: str) -> None:
        self._place = place_at(url)
        self._leavers: list[Callable[[], None]] = []
        self._generation = ""

    @property
    def generation(self) -> str:
        return self._generation

    async def find(self) -> Address:
        return await self._place.find()

    def on_move(self, leave: Callable[[], None]) -> None:
        self._leavers.append(leave)

    def fail_over(self, generation: str) -> None:
        self._generation = generation
        for leave in self._leavers:
            leave()


@pytest.fixture
def place(redis_server: RedisServer) -> MovingPlace:
    return MovingPlace(redis_server.url)


@pytest.fixture
def prefix() -> str:
    return f"test-{secrets.token_hex(4)}"


@pytest.fixture
async def replica(place: MovingPlace, prefix: str) -> AsyncIterator[Replica]:
    async with running(assembly(prefix).assemble_at(place).broker) as replica:
        yield replica


async def publish(replica: Replica, channel: str = "room", key: str = "") -> Receipt:
    (outcome,) = await replica.broker.publish([publication(channel, key=key)])
    assert isinstance(outcome, Receipt), outcome
    return outcome


async def top(replica: Replica, channel: str = "room") -> Position:
    return (await replica.broker.history(channel, HistoryQuery(None, 0))).top


async def test_a_failover_ends_the_epoch_and_the_next_message_begins_the_one_that_was_told(
    replica: Replica, place: MovingPlace
) -> None:
    place.fail_over("1@a:1")
    before = [await publish(replica) for _ in range(3)][-1].position
    assert await top(replica) == before

    place.fail_over("2@b:1")
    told = await top(replica)
    assert (told.offset, told.epoch != before.epoch) == (0, True)
    history = await replica.broker.history("room", HistoryQuery(before, 10))
    assert (history.messages, history.top, history.is_complete) == ([], told, False)

    receipts = [await publish(replica) for _ in range(2)]
    assert [r.position for r in receipts] == [Position(told.epoch, 1), Position(told.epoch, 2)]
    history = await replica.broker.history("room", HistoryQuery(told, 10))
    assert [m.position.offset for m in history.messages] == [1, 2]
    assert history.is_complete


async def test_each_failover_ends_it_anew_also_where_nobody_published_in_between(
    replica: Replica, place: MovingPlace
) -> None:
    place.fail_over("1@a:1")
    positions = [(await publish(replica)).position]
    for generation in ("2@b:1", "3@a:1"):  # back to a node that may have lagged
        place.fail_over(generation)
        positions.append(await top(replica))
    positions.append((await publish(replica)).position)
    assert len({position.epoch for position in positions[:3]}) == 3
    assert positions[3] == Position(positions[2].epoch, 1)


@pytest.mark.parametrize("first", ["simple", "knowing"])
async def test_gateways_that_know_of_failovers_and_others_share_the_epochs(
    replica: Replica, place: MovingPlace, redis_server: RedisServer, prefix: str, first: str
) -> None:
    """While they are told to use Sentinel one after the other, on the same Redis."""
    place.fail_over("1@a:1")
    async with running(make_redis_broker(redis_server.url, prefix)) as simple:
        turns = [simple, replica] if first == "simple" else [replica, simple]
        for turn in turns * 3:
            latest = (await publish(turn)).position
            assert await top(simple) == await top(replica) == latest
    assert latest.offset == 6
    place.fail_over("2@b:1")  # the knowing ones have left their mark
    assert (await publish(replica)).position.epoch != latest.epoch


async def test_a_channel_that_was_never_used_is_at_its_beginning_in_every_generation(
    replica: Replica, place: MovingPlace
) -> None:
    place.fail_over("2@b:1")
    assert await top(replica, "unused") == BEGINNING


async def test_a_message_with_a_key_is_published_once_over_a_failover(
    replica: Replica, place: MovingPlace
) -> None:
    place.fail_over("1@a:1")
    first = await publish(replica, key="key")
    place.fail_over("2@b:1")
    again = await publish(replica, key="key")
    assert again.replayed
    assert again.position == first.position


async def test_where_generations_are_numbers_only_a_higher_one_ends_the_epoch(
    replica: Replica, place: MovingPlace
) -> None:
    """As on a cluster, where a channel may move to a master that never took over."""
    place.fail_over("9")
    first = (await publish(replica)).position
    place.fail_over("0")
    assert await top(replica) == first
    second = (await publish(replica)).position
    assert second == first._replace(offset=2)
    place.fail_over("10")  # it is not a text that is compared
    told = await top(replica)
    assert told.epoch != first.epoch
    assert (await publish(replica)).position == Position(told.epoch, 1)
