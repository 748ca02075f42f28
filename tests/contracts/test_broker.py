"""The promises of `gateway.ports.broker`, on every adapter."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Iterator

import pytest

from gateway.domain.errors import KeyReused
from gateway.domain.messages import Receipt
from gateway.ports.broker import Broker
from tests.support.brokers import (
    Replica,
    fake_redis,
    make_memory_broker,
    make_redis_broker,
    publication,
    running,
)
from tests.support.servers import RedisServer


@pytest.fixture(scope="module")
def fake_redis_url() -> Iterator[str]:
    with fake_redis() as url:
        yield url


@pytest.fixture(params=["memory", "fakeredis", "redis", "valkey", "shards", "cluster"])
def adapter(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def prefix() -> str:
    return f"gw:{secrets.token_hex(4)}"


@pytest.fixture
def broker(adapter: str, prefix: str, request: pytest.FixtureRequest) -> Broker:
    if adapter == "memory":
        return make_memory_broker()
    return make_redis_broker(url_of(adapter, request), prefix)


def url_of(adapter: str, request: pytest.FixtureRequest) -> str:
    if adapter in ("redis", "valkey"):
        server: RedisServer = request.getfixturevalue(f"{adapter}_server")
        return server.url
    fixtures = {
        "fakeredis": "fake_redis_url",
        "shards": "redis_shards_url",
        "cluster": "redis_cluster_url",
    }
    return str(request.getfixturevalue(fixtures[adapter]))


@pytest.fixture
async def replica(broker: Broker) -> AsyncIterator[Replica]:
    async with running(broker) as replica:
        yield replica


async def publish(broker: Broker, channel: str, data: bytes = b'"hi"', key: str = "") -> Receipt:
    (outcome,) = await broker.publish([publication(channel, data, key=key)])
    assert isinstance(outcome, Receipt), outcome
    return outcome


async def test_a_subscribed_replica_gets_its_own_messages(replica: Replica) -> None:
    await replica.broker.subscribe("room")
    receipt = await publish(replica.broker, "room", b'{"n":1}')
    (message,) = await replica.inbox.wait_for(1)

    assert (message.channel, message.data) == ("room", b'{"n":1}')
    assert (message.id, message.position) == (receipt.id, receipt.position)
    assert message.user == "alice"


async def test_a_replica_gets_nothing_of_channels_that_it_did_not_subscribe(
    replica: Replica,
) -> None:
    await replica.broker.subscribe("room")
    await publish(replica.broker, "other", b'"not for us"')
    await publish(replica.broker, "room", b'"for us"')

    assert [m.data for m in await replica.inbox.wait_for(1)] == [b'"for us"']


async def test_offsets_rise_by_one_and_messages_arrive_in_their_order(replica: Replica) -> None:
    await replica.broker.subscribe("room")
    receipts = [await publish(replica.broker, "room", b"%d" % n) for n in range(50)]
    messages = await replica.inbox.wait_for(50)

    assert [receipt.position.offset for receipt in receipts] == list(range(1, 51))
    assert len({receipt.position.epoch for receipt in receipts}) == 1
    assert [message.position for message in messages] == [r.position for r in receipts]
    assert [message.data for message in messages] == [b"%d" % n for n in range(50)]


async def test_a_batch_keeps_its_order_and_is_answered_in_it(replica: Replica) -> None:
    await replica.broker.subscribe("room")
    outcomes = await replica.broker.publish([publication("room", b"%d" % n) for n in range(700)])
    messages = await replica.inbox.wait_for(700)

    offsets = [outcome.position.offset for outcome in outcomes if isinstance(outcome, Receipt)]
    assert offsets == list(range(1, 701))
    assert [message.data for message in messages] == [b"%d" % n for n in range(700)]


async def test_what_is_ready_at_once_is_delivered_at_once(replica: Replica) -> None:
    await replica.broker.subscribe("room")
    await replica.broker.publish([publication("room") for _ in range(100)])
    await replica.inbox.wait_for(100)

    assert len(replica.inbox.batches) < 50


async def test_concurrent_publishers_share_one_row_of_offsets(replica: Replica) -> None:
    await replica.broker.subscribe("room")
    receipts = await asyncio.gather(*(publish(replica.broker, "room") for _ in range(100)))
    messages = await replica.inbox.wait_for(100)

    assert sorted(receipt.position.offset for receipt in receipts) == list(range(1, 101))
    assert [message.position.offset for message in messages] == list(range(1, 101))


async def test_every_channel_counts_for_itself(replica: Replica) -> None:
    first = await publish(replica.broker, "a")
    await publish(replica.broker, "b")
    second = await publish(replica.broker, "a")

    assert (first.position.offset, second.position.offset) == (1, 2)


async def test_an_unsubscribed_channel_falls_silent(replica: Replica) -> None:
    await replica.broker.subscribe("room")
    await replica.broker.subscribe("end")
    replica.broker.unsubscribe("room")
    await publish(replica.broker, "room")
    await publish(replica.broker, "end", b'"last"')

    assert [m.channel for m in await replica.inbox.wait_for(1)] == ["end"]


async def test_a_channel_can_be_joined_again_right_after_it_was_left(replica: Replica) -> None:
    for _ in range(20):
        await replica.broker.subscribe("room")
        replica.broker.unsubscribe("room")
    await replica.broker.subscribe("room")
    await publish(replica.broker, "room")

    assert len(await replica.inbox.wait_for(1)) == 1


async def test_subscribing_twice_delivers_once(replica: Replica) -> None:
    await asyncio.gather(*(replica.broker.subscribe("room") for _ in range(10)))
    await publish(replica.broker, "room", b"1")
    await publish(replica.broker, "room", b"2")

    assert [m.data for m in await replica.inbox.wait_for(2)] == [b"1", b"2"]


async def test_nothing_published_after_the_confirmation_is_missed(replica: Replica) -> None:
    channels = {f"room{n}" for n in range(30)}
    for channel in channels:
        await replica.broker.subscribe(channel)
        await publish(replica.broker, channel)

    # In any order: each channel has its own, and a cluster brings them over several connections.
    assert {m.channel for m in await replica.inbox.wait_for(30)} == channels


async def test_an_idempotency_key_publishes_once_and_answers_the_same(replica: Replica) -> None:
    await replica.broker.subscribe("room")
    first = await publish(replica.broker, "room", b'"pay"', key="k1")
    again = await publish(replica.broker, "room", b'"pay"', key="k1")
    await publish(replica.broker, "room", b'"end"')
    messages = await replica.inbox.wait_for(2)

    assert not first.replayed
    assert again == first._replace(replayed=True)
    assert [message.data for message in messages] == [b'"pay"', b'"end"']


async def test_a_key_used_for_another_message_is_refused(replica: Replica) -> None:
    await publish(replica.broker, "room", b'"pay 1"', key="k1")
    (outcome,) = await replica.broker.publish([publication("room", b'"pay 2"', key="k1")])

    assert isinstance(outcome, KeyReused)


async def test_keys_belong_to_a_user_and_a_channel(replica: Replica) -> None:
    outcomes = await replica.broker.publish(
        [
            publication("room", user="alice", key="k1"),
            publication("room", user="bob", key="k1"),
            publication("hall", user="alice", key="k1"),
        ]
    )
    receipts = [outcome for outcome in outcomes if isinstance(outcome, Receipt)]

    assert [(r.position.offset, r.replayed) for r in receipts] == [
        (1, False),
        (2, False),
        (1, False),
    ]


async def test_one_bad_entry_leaves_the_others_alone(replica: Replica) -> None:
    await publish(replica.broker, "room", b"1", key="k1")
    outcomes = await replica.broker.publish(
        [publication("room", b"2"), publication("room", b"3", key="k1"), publication("room", b"4")]
    )

    assert [type(outcome) for outcome in outcomes] == [Receipt, KeyReused, Receipt]


async def test_data_travels_byte_for_byte(replica: Replica) -> None:
    await replica.broker.subscribe("room")
    values = [
        b'"a:b\\nc"',
        b'{"n":1.50,"t":"\xc3\xb1\xe2\x80\xa8"}',
        b"null",
        b"[]",
        b'""',
        b"1e400",
    ]
    values = values[:-1]
    for data in values:
        await publish(replica.broker, "room", data)

    assert [m.data for m in await replica.inbox.wait_for(len(values))] == values


@pytest.fixture
async def second(
    adapter: str, prefix: str, request: pytest.FixtureRequest
) -> AsyncIterator[Replica | None]:
    """Another replica on the same Redis; None for the adapter that has only one."""
    if adapter == "memory":
        yield None
        return
    async with running(make_redis_broker(url_of(adapter, request), prefix)) as replica:
        yield replica


async def test_every_replica_sees_the_same_order(replica: Replica, second: Replica | None) -> None:
    others = [replica] if second is None else [replica, second]
    for other in others:
        await other.broker.subscribe("room")
    await asyncio.gather(*(publish(other.broker, "room") for other in others for _ in range(50)))
    expected = 50 * len(others)
    seen = [[m.id for m in await other.inbox.wait_for(expected)] for other in others]

    assert all(ids == seen[0] for ids in seen)
    assert len(set(seen[0])) == expected


async def test_a_key_used_on_two_replicas_at_once_publishes_once(
    replica: Replica, second: Replica | None
) -> None:
    others = [replica] if second is None else [replica, second]
    receipts = await asyncio.gather(
        *(publish(other.broker, "room", key="same") for other in others for _ in range(5))
    )

    assert len({(receipt.id, receipt.position) for receipt in receipts}) == 1
    assert sum(not receipt.replayed for receipt in receipts) == 1


async def test_a_caller_that_goes_away_does_not_take_its_message_back(replica: Replica) -> None:
    await replica.broker.subscribe("room")
    asking = asyncio.create_task(publish(replica.broker, "room", b"1"))
    await asyncio.sleep(0)
    asking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asking
    await publish(replica.broker, "room", b"2")

    assert [m.data for m in await replica.inbox.wait_for(2)] == [b"1", b"2"]


async def test_a_signal_reaches_its_sender_once(replica: Replica) -> None:
    await replica.broker.signal(b"one")
    await replica.broker.signal(b"two")
    assert await replica.inbox.wait_for_signals(2) == [b"one", b"two"]


async def test_a_signal_comes_behind_what_was_published_before_it(replica: Replica) -> None:
    await replica.broker.subscribe("room")
    for n in range(20):
        await publish(replica.broker, "room", b"%d" % n)
        assert await replica.broker.signal(b"%d" % n, near="room") == 1
    await replica.inbox.wait_for_signals(20)
    before = replica.inbox.messages_before_signals
    assert all(count > n for n, count in enumerate(before)), before


async def test_a_replica_is_told_that_it_listens(replica: Replica) -> None:
    for n in range(50):
        assert [concerns(f"room{n}") for concerns in replica.inbox.concerns].count(True) == 1


async def test_a_batch_for_many_channels_is_answered_in_its_order(replica: Replica) -> None:
    names = [f"room{n % 50}" for n in range(500)]
    for name in set(names):
        await replica.broker.subscribe(name)
    outcomes = await replica.broker.publish(
        [publication(name, b"%d" % n) for n, name in enumerate(names)]
    )
    messages = await replica.inbox.wait_for(500)

    places = [(o.channel, o.position.offset) for o in outcomes if isinstance(o, Receipt)]
    assert places == [(name, n // 50 + 1) for n, name in enumerate(names)]
    for name in set(names):
        heard = [int(message.data) for message in messages if message.channel == name]
        assert heard == [n for n, other in enumerate(names) if other == name]


async def test_every_replica_gets_a_signal_once(replica: Replica, second: Replica | None) -> None:
    others = [replica] if second is None else [replica, second]
    for near in ("", *(f"room{n}" for n in range(20))):
        assert await replica.broker.signal(near.encode(), near=near) == len(others)
    for other in others:
        assert len(await other.inbox.wait_for_signals(21)) == 21
    await replica.broker.signal(b"end")
    for other in others:
        assert len(set(await other.inbox.wait_for_signals(22))) == 22


async def test_without_trouble_no_channel_has_any(replica: Replica) -> None:
    assert replica.broker.trouble == ""
    assert replica.broker.troubles == []
    assert {replica.broker.trouble_of(f"room{n}") for n in range(50)} == {""}
