"""Coming and going while the way to Redis is cut: in the end Redis knows who listens to what."""

import asyncio
import contextlib
import random
import secrets
import time
from collections import Counter
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis import Redis

from gateway.core.hub import Hub
from gateway.core.inbound import Inbound
from gateway.core.limits import RateLimit
from gateway.core.signals import Signals
from gateway.core.subscriber import Wire
from gateway.core.track import Gap, Resumption
from gateway.domain.errors import GatewayError, Unavailable
from gateway.domain.messages import Draft, Message
from gateway.domain.namespaces import Namespaces
from gateway.domain.principal import Permissions, Principal
from tests.faults.support.cluster import cluster, eventually
from tests.faults.support.oracle import judge
from tests.faults.support.publishers import Retry, publishing, several
from tests.faults.support.records import Journal
from tests.faults.support.results import record, seconds
from tests.faults.support.subscribers import Listener, audience, crowd
from tests.faults.support.watching import Watch
from tests.support.brokers import make_redis_broker
from tests.support.servers import REDIS_PASSWORD, RedisServer

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

PATIENCE_SECONDS = 10.0
ROOMS = ["attic", "cellar", "hall"]
SOMEBODY = Principal("somebody", "t1", 0, 1, frozenset({"publisher"}))


class Lines:
    """A wire that writes what was published, a line each."""

    def encode(self, messages: Sequence[Message]) -> bytes:
        return b"".join(message.data + b"\n" for message in messages)

    def gap(self, channel: str, gap: Gap) -> bytes:
        return b""

    def notice(self, kind: str, **fields: object) -> bytes:
        return b""


LINES = Lines()


class Reader:
    """A session in memory."""

    def __init__(self) -> None:
        self.heard: Counter[bytes] = Counter()

    @property
    def wire(self) -> Wire:
        return LINES

    @property
    def principal(self) -> Principal:
        return SOMEBODY

    def write(self, batch: bytes, /) -> int | None:
        self.heard.update(batch.splitlines())
        return None

    def write_rest(self, rest: bytes) -> None:
        raise AssertionError("it takes everything")

    def end(self, error: GatewayError) -> None:
        raise error

    def missed(self, gap: Gap) -> None:
        raise AssertionError(f"nothing is lost here: {gap}")

    def resume(self, resumption: Resumption) -> None:
        raise AssertionError("nobody asked for it")


class MiniReplica:
    """A hub with a broker of its own: what is left of a gateway without its doors."""

    def __init__(self, url: str, prefix: str) -> None:
        self.broker = make_redis_broker(url, prefix)
        self.hub = Hub(
            self.broker,
            Permissions(Namespaces()),
            RateLimit(0),
            message_bytes_max=1000,
            release_delay_seconds=0.0,
        )
        self.readers = [Reader() for _ in range(3)]
        self.wanted: set[tuple[int, str]] = set()
        self._joining: dict[tuple[int, str], asyncio.Task[None]] = {}
        inbound = Inbound(self.hub, Signals(self.broker))
        self._tasks = [
            asyncio.create_task(self.broker.run(inbound)),
            asyncio.create_task(self.hub.run()),
        ]

    def join(self, reader: int, room: str) -> None:
        """Begin; like a client, it goes on trying."""
        self.wanted.add((reader, room))
        self._joining[reader, room] = asyncio.create_task(self._insist(reader, room))

    async def _insist(self, reader: int, room: str) -> None:
        while True:
            with contextlib.suppress(Unavailable):
                await self.hub.subscribe(SOMEBODY, self.readers[reader], room)
                return
            await asyncio.sleep(0.02)

    async def leave(self, reader: int, room: str) -> None:
        """Whoever leaves while it joins gives up joining."""
        self.wanted.discard((reader, room))
        task = self._joining.pop((reader, room))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        self.hub.unsubscribe(self.readers[reader], room)

    def expected(self) -> dict[str, int]:
        return dict(Counter(room for _, room in self.wanted))

    async def joined(self) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*self._joining.values())

    async def close(self) -> None:
        for task in (*self._tasks, *self._joining.values()):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._joining.values(), return_exceptions=True)
        await self.broker.close()


replicas = st.integers(0, 1)
readers = st.integers(0, 2)
rooms = st.sampled_from(ROOMS)


class Churn(RuleBasedStateMachine):
    """The model is who wants what; Redis has to say the same once all is quiet."""

    server: ClassVar[RedisServer]
    cuts = 0
    settled = 0

    def __init__(self) -> None:
        super().__init__()
        self.prefix = f"churn-{secrets.token_hex(4)}"
        self.redis = Redis(port=self.server.port, password=REDIS_PASSWORD)
        self.runner = asyncio.Runner()
        self.numbers = 0

        async def make() -> list[MiniReplica]:
            return [MiniReplica(self.server.url, self.prefix) for _ in range(2)]

        self.replicas = self.runner.run(make())

    def wait(self, what: Coroutine[Any, Any, None]) -> None:
        self.runner.run(what)

    @rule(at=replicas, reader=readers, room=rooms)
    def come_or_go(self, at: int, reader: int, room: str) -> None:
        replica = self.replicas[at]

        async def change() -> None:
            if (reader, room) in replica.wanted:
                await replica.leave(reader, room)
            else:
                replica.join(reader, room)

        self.wait(change())

    @rule()
    def cut(self) -> None:
        type(self).cuts += self.redis.client_kill_filter(_type="pubsub")

    @rule(milliseconds=st.integers(0, 60))
    def let_time_pass(self, milliseconds: int) -> None:
        self.wait(asyncio.sleep(milliseconds / 1000))

    @rule(at=replicas, room=rooms)
    def publish(self, at: int, room: str) -> None:
        self.wait(self._publish(at, room))

    async def _publish(self, at: int, room: str) -> None:
        self.numbers += 1
        draft = Draft(room, b"%d" % self.numbers)
        await self.replicas[at].hub.publish(SOMEBODY, draft)

    @precondition(lambda self: any(replica.wanted for replica in self.replicas))
    @rule()
    def come_to_rest(self) -> None:
        self.wait(self._rest())

    async def _rest(self) -> None:
        for replica in self.replicas:
            await replica.joined()
        await self._until(self._agrees, "Redis and the hubs agree with the model")
        for room in ROOMS:
            await self._publish(0, room)
            data = b"%d" % self.numbers
            await self._until(lambda room=room, data=data: self._all_heard(room, data), "all hear")
        for replica in self.replicas:
            for reader in replica.readers:
                assert set(reader.heard.values()) <= {1}
        type(self).settled += 1

    def _agrees(self) -> bool:
        sizes = [replica.hub.audience_sizes() for replica in self.replicas]
        if sizes != [replica.expected() for replica in self.replicas]:
            return False
        topics = {f"{self.prefix}:{{{room}}}".encode(): room for room in ROOMS}
        listening = dict(self.redis.pubsub_numsub(*topics))
        return listening == {
            topic: sum(room in size for size in sizes) for topic, room in topics.items()
        }

    def _all_heard(self, room: str, data: bytes) -> bool:
        return all(
            (data in reader.heard) == ((n, room) in replica.wanted)
            for replica in self.replicas
            for n, reader in enumerate(replica.readers)
        )

    async def _until(self, condition: Any, what: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, what
            await asyncio.sleep(0.02)

    def teardown(self) -> None:
        try:
            self.wait(self._empty())
        finally:
            self.runner.close()
            self.redis.close()

    async def _empty(self) -> None:
        try:
            for replica in self.replicas:
                for reader, room in sorted(replica.wanted):
                    await replica.leave(reader, room)
            await self._until(self._agrees, "nobody is left")
            for replica in self.replicas:
                assert (replica.hub.subscriber_count, replica.hub.channel_count) == (0, 0)
        finally:
            for replica in self.replicas:
                await replica.close()


def test_redis_and_hubs_agree_with_a_model_of_who_wants_what(directory: Path) -> None:
    """F29"""
    with RedisServer(directory) as Churn.server:
        run_state_machine_as_test(
            Churn,
            settings=settings(
                max_examples=round(seconds(10, 40)),
                stateful_step_count=25,
                deadline=None,
                # Every failure waits for what does not come; looking for a shorter one takes long.
                phases=[Phase.generate],
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )
    assert Churn.cuts > 0
    assert Churn.settled > 0
    record(
        "F29",
        "two replicas against a model: come, go, cut, publish, in any order",
        {},
        cuts=Churn.cuts,
        agreed=Churn.settled,
    )


async def come_and_go(listener: Listener, until: float) -> None:
    while time.monotonic() < until:
        await asyncio.sleep(random.uniform(0, 0.4))
        if listener.is_open and listener.socket is not None:
            listener.socket.abort()


async def test_after_churn_and_cuts_every_replica_listens_to_what_its_clients_want(
    directory: Path,
) -> None:
    """F29: 50 clients come and go, each with a channel of its own, under the resets of F12."""
    journal, channels = Journal(), [f"room-{n}" for n in range(50)]
    async with cluster(directory, release_delay_seconds=0) as gateways:
        listeners = crowd(len(channels), channels, gateways.ports)
        publishers = several(
            5, channels, gateways.ports, journal, per_second=150, retry=Retry.UNTIL_STORED
        )
        before = gateways.footprint()
        async with audience(journal, *listeners) as everybody:
            with Watch(gateways.gateways) as watch:
                async with publishing(*publishers):
                    until = time.monotonic() + seconds(8, 30)
                    cuts = 0
                    async with asyncio.TaskGroup() as group:
                        for listener in listeners:
                            group.create_task(come_and_go(listener, until))
                        while time.monotonic() < until:
                            gateways.ask_redis("CLIENT", "KILL", "TYPE", "pubsub")
                            cuts += 1
                            await asyncio.sleep(0.5)
                await everybody.until_caught_up()
                await eventually(
                    lambda: set(gateways.listening_replicas(channels).values()) == {1},
                    "one replica listens to each channel",
                )
                wanted = Counter(listener.port for listener in listeners)
                for index, port in enumerate(gateways.ports):
                    assert gateways.health(index)["channels"] == wanted[port]
        await eventually(
            lambda: set(gateways.listening_replicas(channels).values()) == {0},
            "no replica listens to anything",
        )
        assert [gateways.health(index)["channels"] for index in range(3)] == [0, 0, 0]
        await eventually(
            lambda: all(n <= before[i][1] + 5 for i, (_, n) in gateways.footprint().items()),
            "the descriptors are given back",
        )
        verdict = judge(journal)
    verdict.require_clean()
    assert (verdict.sent_fail, verdict.sent_unknown, verdict.announced) == (0, 0, 0)
    assert watch.lag_p99_seconds() < 0.2
    record(
        "F29b",
        "50 clients that come and go while connections to Redis are reset every 0.5 s",
        verdict.figures(),
        cuts=cuts,
        joins=sum(len(listener.log.visits) for listener in listeners),
        refused=sum(len(listener.log.refusals) for listener in listeners),
        lag_p99_ms=round(watch.lag_p99_seconds() * 1000),
    )
