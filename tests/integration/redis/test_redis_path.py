"""What only a real Redis can show: reconnects, silence, foreign publishers, lost state."""

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from gateway.adapters.redis.channels.broker import RedisBroker
from gateway.adapters.redis.channels.subscriber import Subscriber
from gateway.domain.errors import Unavailable
from gateway.domain.history import HistoryQuery
from gateway.domain.messages import Receipt
from gateway.secret_files import write_cluster_secrets
from tests.support.brokers import (
    RETENTION,
    Inbox,
    Replica,
    make_redis_broker,
    publication,
    running,
)
from tests.support.servers import REDIS_PASSWORD, RedisServer


@pytest.fixture
def prefix() -> str:
    return f"test-{secrets.token_hex(4)}"


@pytest.fixture
def own_redis(directory: Path) -> Iterator[RedisServer]:
    """A redis-server that the test may break."""
    with RedisServer(directory) as server:
        yield server


@pytest.fixture
def admin(own_redis: RedisServer) -> Iterator[Any]:  # redis-py's types know no bytes mode
    with Redis(port=own_redis.port, password=REDIS_PASSWORD) as client:
        yield client


@pytest.fixture
async def replica(own_redis: RedisServer, prefix: str) -> AsyncIterator[Replica]:
    async with running(make_redis_broker(own_redis.url, prefix, timeout_seconds=1.0)) as replica:
        yield replica


def subscriber_of(replica: Replica) -> Subscriber:
    assert isinstance(replica.broker, RedisBroker)
    return replica.broker._subscriber


async def publish(replica: Replica, channel: str, data: bytes = b"1") -> Receipt:
    (outcome,) = await replica.broker.publish([publication(channel, data)])
    assert isinstance(outcome, Receipt), outcome
    return outcome


async def eventually(condition: object, seconds: float = 10.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)


def topics(admin: Any, prefix: str) -> set[str]:
    names = admin.pubsub_channels(f"{prefix}:{{*")
    return {name.decode() for name in names}


async def test_what_a_subscriber_got_is_what_the_stream_keeps(
    replica: Replica, admin: Any, prefix: str
) -> None:
    await replica.broker.subscribe("room")
    for n in range(3):
        await publish(replica, "room", b'{"n":%d}' % n)
    await replica.inbox.wait_for(3)

    entries = admin.xrange(f"{prefix}:{{room}}:stream")
    assert [name for name, _ in entries] == [b"1-0", b"2-0", b"3-0"]
    assert [fields[b"m"].partition(b"\n")[2] for _, fields in entries] == [
        message.data for message in replica.inbox.messages
    ]
    assert 0 < admin.ttl(f"{prefix}:{{room}}:stream") <= RETENTION.history_seconds


async def test_a_stream_keeps_no_more_than_its_length(
    own_redis: RedisServer, admin: Any, prefix: str
) -> None:
    short = replace(RETENTION, history_length=5)
    async with running(make_redis_broker(own_redis.url, prefix, short)) as replica:
        for _ in range(20):
            await publish(replica, "room")

    entries = admin.xrange(f"{prefix}:{{room}}:stream")
    assert [name for name, _ in entries] == [b"%d-0" % n for n in range(16, 21)]


async def test_a_channel_without_history_still_counts(
    own_redis: RedisServer, admin: Any, prefix: str
) -> None:
    none = replace(RETENTION, history_length=0)
    async with running(make_redis_broker(own_redis.url, prefix, none)) as replica:
        offsets = [(await publish(replica, "room")).position.offset for _ in range(3)]

    assert offsets == [1, 2, 3]
    assert not admin.exists(f"{prefix}:{{room}}:stream")


async def test_lost_state_starts_a_new_epoch(replica: Replica, admin: Any, prefix: str) -> None:
    await replica.broker.subscribe("room")
    before = await publish(replica, "room")
    await publish(replica, "room")
    admin.delete(f"{prefix}:{{room}}:state")
    after = await publish(replica, "room")

    assert after.position.epoch != before.position.epoch
    assert after.position.offset == 1
    assert [name for name, _ in admin.xrange(f"{prefix}:{{room}}:stream")] == [b"1-0"]


async def test_a_redis_that_forgot_the_script_publishes_each_message_once(
    replica: Replica, admin: Any
) -> None:
    await replica.broker.subscribe("room")
    await publish(replica, "room")
    admin.script_flush()
    outcomes = await replica.broker.publish([publication("room", b"%d" % n) for n in range(10)])

    assert [o.position.offset for o in outcomes if isinstance(o, Receipt)] == list(range(2, 12))
    assert len(await replica.inbox.wait_for(11)) == 11


async def test_a_cut_connection_is_made_again_with_every_channel(
    replica: Replica, admin: Any, prefix: str
) -> None:
    channels = [f"room{n}" for n in range(1500)]
    await asyncio.gather(*(replica.broker.subscribe(channel) for channel in channels))
    assert len(topics(admin, prefix)) == 1500

    admin.client_kill_filter(_type="pubsub")
    await eventually(lambda: subscriber_of(replica).reconnect_count == 1)
    await replica.ready()
    assert len(topics(admin, prefix)) == 1500
    await publish(replica, "room1499")
    assert (await replica.inbox.wait_for(1))[0].channel == "room1499"


async def test_channels_are_subscribed_in_batches(replica: Replica, admin: Any) -> None:
    before = int(admin.info("commandstats").get("cmdstat_subscribe", {}).get("calls", 0))
    await asyncio.gather(*(replica.broker.subscribe(f"room{n}") for n in range(1500)))
    after = int(admin.info("commandstats")["cmdstat_subscribe"]["calls"])

    assert after - before == 3


async def test_a_channel_left_while_redis_is_away_stays_left(
    replica: Replica, own_redis: RedisServer, admin: Any, prefix: str
) -> None:
    for channel in ("stays", "leaves"):
        await replica.broker.subscribe(channel)
    own_redis.kill()
    await eventually(lambda: replica.broker.trouble)
    replica.broker.unsubscribe("leaves")
    own_redis.start()
    await replica.ready()

    assert topics(admin, prefix) == {f"{prefix}:{{stays}}"}


async def test_a_restarted_empty_redis_is_found_and_counts_under_a_new_epoch(
    replica: Replica, own_redis: RedisServer
) -> None:
    await replica.broker.subscribe("room")
    before = await publish(replica, "room")
    own_redis.kill()
    await eventually(lambda: replica.broker.trouble)
    (refused,) = await replica.broker.publish([publication("room")])
    assert isinstance(refused, Unavailable)

    own_redis.start()
    await replica.ready()
    after = await publish(replica, "room")
    assert after.position.epoch != before.position.epoch
    messages = await replica.inbox.wait_for(2)
    assert [message.position for message in messages] == [before.position, after.position]


async def test_a_frozen_redis_is_noticed_and_nothing_is_sent_twice(
    replica: Replica, own_redis: RedisServer
) -> None:
    await replica.broker.subscribe("room")
    await publish(replica, "room", b"0")
    own_redis.freeze()
    frozen_at = time.monotonic()
    (unknown,) = await replica.broker.publish([publication("room", b'"pay"', key="k")])
    assert isinstance(unknown, Unavailable)
    assert unknown.outcome_unknown
    await eventually(lambda: replica.broker.trouble)
    assert time.monotonic() - frozen_at < 3

    own_redis.thaw()
    await replica.ready()
    (receipt,) = await replica.broker.publish([publication("room", b'"pay"', key="k")])
    assert isinstance(receipt, Receipt)
    await publish(replica, "room", b'"end"')
    await eventually(lambda: replica.inbox.messages[-1].data == b'"end"')
    paid = [m for m in replica.inbox.messages if m.data == b'"pay"']
    assert len(paid) <= 1  # the link was cut meanwhile; what it carried is repaired from history
    assert receipt.position.offset == 2


async def test_whoever_waits_behind_a_silence_does_not_wait_for_another(
    replica: Replica, own_redis: RedisServer
) -> None:
    await publish(replica, "room", b"0")
    own_redis.freeze()
    began = time.monotonic()
    first = asyncio.create_task(replica.broker.publish([publication("room", b"1")]))
    await asyncio.sleep(0)
    behind = [
        asyncio.create_task(replica.broker.publish([publication("room", b"2")])) for _ in range(3)
    ]
    (unknown,) = await first
    silent_seconds = time.monotonic() - began
    known = [outcome for (outcome,) in await asyncio.gather(*behind)]
    assert time.monotonic() - began < silent_seconds + 0.2
    assert isinstance(unknown, Unavailable)
    assert unknown.outcome_unknown
    assert [isinstance(each, Unavailable) and each.outcome_unknown for each in known] == [False] * 3

    own_redis.thaw()
    await replica.ready()
    (receipt,) = await replica.broker.publish([publication("room", b"3")])
    assert isinstance(receipt, Receipt)
    assert receipt.position.offset in (2, 3), "0, 3 and perhaps 1, but never 2"


async def test_a_redis_that_was_started_again_does_not_give_its_last_offsets_again(
    replica: Replica, admin: Any, prefix: str
) -> None:
    before = (await publish(replica, "room", b"1")).position
    state = f"{prefix}:{{room}}:state"
    assert admin.hget(state, "r"), "it says in which run of Redis it was written"
    # As if it had come back from a file that another process of Redis had written.
    admin.hset(state, "r", "of-another-run")

    positions = [(await publish(replica, "room", data)).position for data in (b"2", b"3")]
    epoch, offset = before
    assert positions == [(epoch, offset + 1_000_000_001), (epoch, offset + 1_000_000_002)], "once"
    history = await replica.broker.history("room", HistoryQuery(before, 10))
    assert [message.position for message in history.messages] == positions
    assert not history.is_complete, "whoever was there learns that something may be missing"


async def test_subscribing_while_redis_is_away_fails_in_time_and_leaves_nothing(
    replica: Replica, own_redis: RedisServer, admin: Any, prefix: str
) -> None:
    own_redis.freeze()
    with pytest.raises(Unavailable):
        await replica.broker.subscribe("room")
    replica.broker.unsubscribe("room")
    own_redis.thaw()
    await replica.ready()
    await eventually(lambda: topics(admin, prefix) == set())


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"hello",
        b"\xff\xfe\x00",
        b'{"data":"forged"}',
        b"g1:1:e:",
        b'g1:x:e:{"id":"i","user":"root","time":1.0}\n1',
        b'g1:1:e:{"id":"i","user":"root","time":1.0}',
        b'g1:1:e:{"id":"i","user":"root","time":1.0}\nnot json',
        b'g1:1:e:{"id":"i","user":"root","time":"now"}\n1',
        b'g1:1:e:{"id":7,"user":"root","time":1.0}\n1',
        b"g1:1:e:[]\n1",
        b'g1:1:\xff:{"id":"i","user":"root","time":1.0}\n1',
        b'g1:1:e:{"id":"i","user":"root","time":1.0}\n"' + b"x" * 1_000_000 + b'"',
        b'g1:1:e:{"id":"i","user":"root","time":1.0}\n[1,\n2]',
        b'g2:1:e:{"id":"i","user":"root","time":1.0}\n1',
        b'g1:1:e\ndata\x20forged:{"id":"i","user":"root","time":1.0}\n1',
        b'g1:1000000000000000:e:{"id":"i","user":"root","time":1.0}\n1',
    ],
    ids=range(17),
)
async def test_what_somebody_else_published_is_dropped_and_counted(
    replica: Replica, admin: Any, prefix: str, payload: bytes
) -> None:
    await replica.broker.subscribe("room")
    admin.publish(f"{prefix}:{{room}}", payload)
    await publish(replica, "room", b'"ours"')

    assert [m.data for m in await replica.inbox.wait_for(1)] == [b'"ours"']
    assert subscriber_of(replica).foreign_count == 1


async def test_what_somebody_else_wrote_into_a_stream_is_not_history(
    replica: Replica, admin: Any, prefix: str
) -> None:
    """S36"""
    first = await publish(replica, "room", b'"ours"')
    stream = f"{prefix}:{{room}}:stream"
    head = b'{"id":"i","user":"root","time":1.0}\n'
    for id, fields in (
        ("1-1", {"m": head + b'"between"'}),
        ("2-0", {"m": b"hello"}),
        ("3-0", {"m": head + b'"' + b"x" * 1_000_000 + b'"'}),
        ("4-0", {"x": head + b"1"}),
        ("5-0", {"m": head + b'"ahead"'}),
    ):
        admin.xadd(stream, fields, id=id)
    admin.hset(f"{prefix}:{{room}}:state", "o", 4)  # or all but one of them would be ahead
    history = await replica.broker.history("room", HistoryQuery(None, 10))
    assert [(m.data, m.position) for m in history.messages] == [(b'"ours"', first.position)]


async def test_a_full_redis_refuses_the_message_and_takes_the_next(
    replica: Replica, admin: Any
) -> None:
    admin.config_set("maxmemory", "1")
    admin.config_set("maxmemory-policy", "noeviction")
    (outcome,) = await replica.broker.publish([publication("room")])
    assert isinstance(outcome, Unavailable)
    assert "maxmemory" in outcome.detail
    assert not outcome.outcome_unknown

    admin.config_set("maxmemory", "0")
    assert (await publish(replica, "room")).position.offset == 1


async def test_a_wrong_password_is_trouble_without_the_password_in_it(
    own_redis: RedisServer, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"redis://:wrong-canary@127.0.0.1:{own_redis.port}"
    broker = make_redis_broker(url, prefix)
    running_task = asyncio.create_task(broker.run(Inbox()))
    await eventually(lambda: "WRONGPASS" in broker.trouble)
    running_task.cancel()
    await asyncio.gather(running_task, return_exceptions=True)
    await broker.close()

    assert "wrong-canary" not in broker.trouble + caplog.text


async def test_the_redis_user_of_a_cluster_can_do_this_work_and_nothing_else(
    directory: Path,
) -> None:
    write_cluster_secrets(directory / "secrets", "127.0.0.1:1")
    users = directory / "secrets" / "redis" / "users.acl"
    url_file = directory / "secrets" / "gateway" / "gateway_redis_url"
    with RedisServer(directory, "--save", "", "--aclfile", str(users)) as server:
        url = url_file.read_text().replace("127.0.0.1:1", f"127.0.0.1:{server.port}")
        async with running(make_redis_broker(url, "gw")) as replica:
            await replica.broker.subscribe("room")
            await publish(replica, "room")
            await replica.inbox.wait_for(1)
        with Redis.from_url(url) as client:
            for command in (
                ["FLUSHALL"],
                ["CONFIG", "GET", "*"],
                ["KEYS", "*"],
                ["PSUBSCRIBE", "*"],
                ["SET", "gw:x", "1"],
                ["HSET", "other:x", "f", "1"],
                ["PUBLISH", "other", "1"],
            ):
                with pytest.raises(ResponseError):
                    client.execute_command(*command)


async def test_a_broker_ends_when_it_is_told_to(own_redis: RedisServer) -> None:
    # A cancellation that gets lost on its way leaves a process that cannot be stopped.
    async def live_shortly(n: int) -> None:
        async with running(make_redis_broker(own_redis.url, "short")) as replica:
            await replica.broker.publish([publication(f"room{n}") for _ in range(20)])
            await asyncio.sleep(random.random() / 4)

    async with asyncio.timeout(30):
        for _ in range(6):
            await asyncio.gather(*(live_shortly(n) for n in range(20)))


async def test_a_publish_that_never_reached_redis_has_a_known_outcome(
    replica: Replica, own_redis: RedisServer
) -> None:
    await publish(replica, "room")
    own_redis.kill()
    await eventually(lambda: replica.broker.trouble)
    outcomes = await replica.broker.publish([publication("room"), publication("room")])

    assert [o.outcome_unknown for o in outcomes if isinstance(o, Unavailable)] == [False, False]
