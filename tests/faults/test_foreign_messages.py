"""Somebody else who publishes into our channels at Redis, and whatever they like."""

import asyncio
import re
import time
from pathlib import Path

import pytest
from redis import Redis

from tests.faults.support.cluster import cluster
from tests.faults.support.oracle import judge
from tests.faults.support.publishers import publishing, several
from tests.faults.support.records import Journal, Told
from tests.faults.support.results import record, seconds
from tests.faults.support.subscribers import audience, crowd
from tests.faults.support.timing import latency_p99_seconds
from tests.faults.support.watching import Watch
from tests.support.clients import call
from tests.support.servers import REDIS_PASSWORD, GatewayProcess

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]

LISTENERS = 60
PER_SECOND = 100
CHANNELS = ["room-0", "room-1", "room-2"]
MB = 1_000_000
HEAD = b'{"id":"forged","user":"mallory","time":1.5}'
FORGED = b'{"id":"forged"}'
POISON = [
    b"",
    b"\x00",
    b"hello",
    b"g1",
    b"g1:::",
    b"g1:1:epoch",
    bytes(range(256)) * 40,
    b"\xff\xfe\xfd" * 1000,
    b"x" * (10 * MB),
    b"g1:7:epoch:" + b"x" * (10 * MB),
    b"g1:7:epoch:" + HEAD + b"\n" + b'"' + b"x" * (10 * MB) + b'"',
    b"g1:7:epoch:" + HEAD,
    b"g1:7:epoch:" + HEAD + b"\nnot json",
    b"g1:7:epoch:" + HEAD + b'\n"\xff\xfe"',
    b"g1:7:epoch:" + HEAD + b"\n" + FORGED + b"\n" + FORGED,
    b"g1:7:epoch:" + HEAD + b"\n" + b"[" * 100_000,
    b"g1:7:\xff\xfe:" + HEAD + b"\n" + FORGED,
    b"g1:-7:epoch:" + HEAD + b"\n" + FORGED,
    b"g1:seven:epoch:" + HEAD + b"\n" + FORGED,
    b"g1:" + b"9" * 5000 + b":epoch:" + HEAD + b"\n" + FORGED,
    b"g2:7:epoch:" + HEAD + b"\n" + FORGED,
    b"g1:7:epoch:[]\n" + FORGED,
    b'g1:7:epoch:{"id":1,"user":"mallory","time":1.5}\n' + FORGED,
    b'g1:7:epoch:{"id":"x","user":null,"time":1.5}\n' + FORGED,
    b'g1:7:epoch:{"id":"x","user":"mallory","time":"now"}\n' + FORGED,
    b'g1:7:epoch:{"id":"x","user":"mallory","time":1.5,"tags":[1]}\n' + FORGED,
    b'g1:7:epoch:{"id":"c.x","user":"mallory","time":1.5,"info":[1]}\n' + FORGED,
    b'{"type":"message","data":{"id":"forged"}}',
]
SIGNALS = [b"", b"\xff\x00", b"[]", b"{}", b'{"type":1}', b"null", b"x" * MB, b"[" * 100_000]


def poison(port: int) -> int:
    """Everything once, into every channel and into what replicas tell each other; how many."""
    with Redis(port=port, password=REDIS_PASSWORD) as redis:
        for channel in CHANNELS:
            for payload in POISON:
                assert redis.publish(f"gw:{{{channel}}}", payload) == 3, payload[:100]
                # Redis keeps 32 MB for who has not read yet, and then cuts them off (F14).
                time.sleep(len(payload) / (20 * MB))
        topics = [topic for topic in redis.pubsub_channels("*") if b"signals" in topic]
        for topic in topics:
            for payload in SIGNALS:
                redis.publish(topic, payload)
    assert topics
    return len(CHANNELS) * len(POISON)


def foreign(gateway: GatewayProcess) -> int:
    metrics = call(gateway.http + "/metrics").body.decode()
    (count,) = re.findall(
        r"^gateway_redis_foreign_messages\w*(?:\{.*\})? ([0-9.e+]+)$", metrics, re.M
    )
    return int(float(count))


async def test_what_strangers_publish_at_redis_reaches_nobody_and_stops_nothing(
    directory: Path,
) -> None:
    """F28"""
    journal = Journal()
    async with cluster(directory) as gateways:
        listeners = crowd(LISTENERS, CHANNELS, gateways.ports)
        publishers = several(4, CHANNELS, gateways.ports, journal, per_second=PER_SECOND)
        async with audience(journal, *listeners) as everybody:
            with Watch(gateways.gateways) as watch:
                async with publishing(*publishers):
                    await asyncio.sleep(1)
                    poured, began = 0, time.monotonic()
                    while time.monotonic() < began + seconds(5, 15):
                        poured += await asyncio.to_thread(poison, gateways.redis.port)
                        await asyncio.sleep(1)
                await everybody.until_caught_up()
            counted = [foreign(gateway) for gateway in gateways.gateways]
            for gateway in gateways.gateways:
                assert "Traceback" not in gateway.log, gateway.log[-3000:]
        verdict = judge(journal)
    verdict.require_clean()
    assert (verdict.sent_fail, verdict.sent_unknown, verdict.announced) == (0, 0, 0)
    for listener in listeners:
        (visit,) = listener.log.visits
        assert {e.type for e in visit.events if isinstance(e, Told)} <= {"caught_up"}
    assert counted == [poured] * 3
    for index in range(3):
        assert {sample.ready for sample in watch.of(index)} == {200}
    record(
        "F28",
        "foreign messages in every channel at Redis, some of 10 MB",
        verdict.figures(),
        foreign=poured,
        latency_p99_ms=round(latency_p99_seconds(journal) * 1000),
        lag_p99_ms=round(watch.lag_p99_seconds() * 1000),
    )
