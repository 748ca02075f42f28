"""The same message, sent through several replicas at once, as by a client that lost patience."""

import asyncio
import itertools
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from redis import Redis

from tests.faults.support.cluster import Cluster, cluster
from tests.faults.support.http import HttpConnection, NotSent, Unanswered
from tests.faults.support.oracle import judge
from tests.faults.support.publishers import read_problem, read_result
from tests.faults.support.records import Attempt, Journal, Outcome, Place
from tests.faults.support.results import record, seconds
from tests.faults.support.subscribers import audience, crowd
from tests.support.clients import make_token
from tests.support.servers import REDIS_PASSWORD

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]

LISTENERS = 30
CHANNELS = ["room-0", "room-1", "room-2"]
IMPATIENT = 8


@dataclass
class Impatient:
    """Sends each message to every gateway at the same moment, and again until all say yes."""

    name: str
    channel: str
    ports: list[int]
    journal: Journal
    places: dict[str, set[Place]] = field(default_factory=dict)
    is_stopping: bool = False

    async def run(self) -> None:
        connections = [
            HttpConnection(port, make_token(self.name, "publisher")) for port in self.ports
        ]
        try:
            for n in itertools.count():
                if self.is_stopping:
                    return
                id = f"{self.name}-{n}"
                self.places[id] = set()
                await asyncio.gather(*(self.insist(connection, id) for connection in connections))
                await asyncio.sleep(0.05)
        finally:
            for connection in connections:
                connection.close()

    async def insist(self, connection: HttpConnection, id: str) -> None:
        while True:
            if await self.send(connection, id):
                return
            await asyncio.sleep(0.1)

    async def send(self, connection: HttpConnection, id: str) -> bool:
        began = time.monotonic()
        outcome, place, why = Outcome.UNKNOWN, None, ""
        try:
            reply = await connection.ask(
                "POST",
                f"/publish/{self.channel}",
                {"data": {"id": id}},
                headers={"Idempotency-Key": id},
            )
            answer = (
                read_result if reply.status == 200 else lambda it: read_problem(reply.status, it)
            )
            outcome, place, why = answer(reply.json)
        except NotSent as error:
            outcome, why = Outcome.FAIL, str(error)
        except Unanswered as error:
            why = str(error)
        self.journal.attempts.append(
            Attempt(id, self.channel, self.name, began, time.monotonic(), outcome, place, why)
        )
        if place is not None:
            self.places[id].add(place)
        return outcome is Outcome.OK


async def test_one_key_on_all_replicas_at_once_is_one_message(directory: Path) -> None:
    """F31: also where Redis hangs in the middle of it."""
    journal = Journal()
    async with cluster(directory) as gateways:
        listeners = crowd(LISTENERS, CHANNELS, gateways.ports)
        senders = [
            Impatient(f"impatient-{n}", CHANNELS[n % 3], gateways.ports, journal)
            for n in range(IMPATIENT)
        ]
        async with audience(journal, *listeners) as everybody:
            async with asyncio.TaskGroup() as group:
                for sender in senders:
                    group.create_task(sender.run())
                await asyncio.sleep(2)
                gateways.redis.freeze()
                await asyncio.sleep(seconds(4, 10))
                gateways.redis.thaw()
                await asyncio.sleep(seconds(3, 5))
                for sender in senders:
                    sender.is_stopping = True
            await everybody.until_caught_up()
        kept = entries(gateways)
        verdict = judge(journal)
    verdict.require_clean()
    assert (verdict.sent_fail, verdict.sent_unknown, verdict.announced) == (0, 0, 0)
    assert {len(listener.log.visits) for listener in listeners} == {1}
    assert Outcome.UNKNOWN in {attempt.outcome for attempt in journal.attempts}
    # All who asked were told the same place, and nothing stands anywhere else.
    places = [places for sender in senders for places in sender.places.values()]
    assert {len(each) for each in places} == {1}
    assert kept == verdict.sent_ok == len(places)
    record(
        "F31",
        f"the same key on 3 gateways at once, and Redis frozen for {seconds(4, 10)} s",
        verdict.figures(),
        requests=len(journal.attempts),
        unknown_at_first=sum(a.outcome is Outcome.UNKNOWN for a in journal.attempts),
    )


def entries(gateways: Cluster) -> int:
    """How many messages Redis keeps."""
    with Redis(port=gateways.redis.port, password=REDIS_PASSWORD) as redis:
        streams = [key for key in redis.scan_iter("gw:*", _type="stream")]
        assert len(streams) == len(CHANNELS), streams
        return sum(redis.xlen(stream) for stream in streams)
