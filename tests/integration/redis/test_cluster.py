"""Redis Cluster: slots that move, and a master that dies, while everybody publishes and listens."""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeGuard

import pytest

from tests.faults.support.oracle import judge
from tests.faults.support.records import Attempt, Heard, Journal, Outcome, Place, Told
from tests.faults.support.subscribers import Listener, audience
from tests.faults.support.traffic import all_heard_since, delays, epochs_of, traffic
from tests.support.clients import call, make_token, publish
from tests.support.redis_cluster import NODE_TIMEOUT_MS, RedisCluster, RedisNode, redis_cluster
from tests.support.servers import GatewayProcess, replicas, status_of

CHANNELS = [f"room-{n}" for n in range(60)]
# It takes the time-out to suspect a node, some more to agree on it, and a second to elect.
FAILOVER_SECONDS_MAX = NODE_TIMEOUT_MS / 1000 * 2 + 5
LATE_SECONDS = 1.0
_PATIENCE_SECONDS = 25.0


@pytest.fixture
def cluster(directory: Path) -> Iterator[RedisCluster]:
    with redis_cluster(directory / "redis", masters=3, replicas=1) as started:
        yield started


@pytest.fixture
def gateways(cluster: RedisCluster, directory: Path) -> Iterator[list[GatewayProcess]]:
    with replicas(directory, 2, redis_url=cluster.url, history_messages=10_000) as started:
        yield started


async def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline, f"not within {_PATIENCE_SECONDS} s: {what}"
        await asyncio.sleep(0.05)


def by_node(cluster: RedisCluster) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for channel, port in zip(CHANNELS, cluster.ports_of(CHANNELS), strict=True):
        found.setdefault(port, []).append(channel)
    return found


@pytest.mark.long
async def test_channels_move_with_their_slots_and_nobody_misses_anything(
    cluster: RedisCluster, gateways: list[GatewayProcess]
) -> None:
    """F30"""
    journal = Journal()
    before = cluster.ports_of(CHANNELS)
    async with traffic(gateways, journal, CHANNELS):
        source, target = cluster.nodes[0], cluster.nodes[1]
        await asyncio.to_thread(cluster.reshard, source, target, 2000)
        moved_at = time.monotonic()
        await eventually(lambda: all_heard_since(journal, moved_at), "everybody hears again")
    verdict = judge(journal)
    verdict.require_clean()
    moved = sum(a != b for a, b in zip(before, cluster.ports_of(CHANNELS), strict=True))
    assert moved > 3  # or this test has shown nothing
    assert verdict.announced == 0  # the position and the history moved, too
    assert verdict.sent_unknown == 0
    assert verdict.sent_fail <= verdict.sent_ok / 50
    print(verdict.figures(), f"moved: {moved}", f"slowest: {max(delays(journal, CHANNELS))}")


@pytest.mark.long
async def test_a_master_that_dies_takes_only_its_own_channels_with_it(
    cluster: RedisCluster, gateways: list[GatewayProcess]
) -> None:
    """F30"""
    journal = Journal()
    parts = await asyncio.to_thread(by_node, cluster)
    victim = cluster.node_of("room-0")
    lost = parts.pop(victim.port)
    others = [channel for channels in parts.values() for channel in channels]
    async with traffic(gateways, journal, lost, others):
        killed_at = time.monotonic()
        victim.kill()
        await eventually(lambda: says_which(gateways[0], victim), "it is seen in /health")
        assert [status_of(gateway.http + "/livez") for gateway in gateways] == [200, 200]
        await eventually(lambda: all_heard_since(journal, killed_at), "everybody hears again")
        back = time.monotonic() - killed_at
        await eventually(lambda: is_whole(gateways[0]), "all is well in /health")
        # A node that is given slots has a new epoch in the cluster, and nothing was taken over.
        before = cluster.ports_of(others)
        source = next(node for node in cluster.nodes[:3] if node.is_running())
        await asyncio.to_thread(cluster.reshard, source, cluster.node_of("room-0"), 300)
        after = cluster.ports_of(others)
        moved_at = time.monotonic()
        await eventually(lambda: all_heard_since(journal, moved_at), "everybody goes on")
    verdict = judge(journal)
    verdict.require_clean()
    late = [delay for delay in delays(journal, others) if delay > LATE_SECONDS]
    assert late == []
    assert back < FAILOVER_SECONDS_MAX
    stayed = [name for name, a, b in zip(others, before, after, strict=True) if a == b]
    refused = {a.channel for a in journal.attempts if a.outcome is not Outcome.OK}
    assert refused & set(lost)  # a 200 is never a guess
    assert not refused & set(stayed)
    assert {len(epochs_of(journal, channel)) for channel in stayed} == {1}
    # One for the failover; and none for the slots that were given to the new master.
    assert {len(epochs_of(journal, channel)) for channel in lost} == {2}
    for log in journal.listeners:
        told = [event.type for visit in log.visits for event in visit.events if is_notice(event)]
        if log.channel in lost:
            assert told == ["degraded", "gap", "restored"]
        elif log.channel in stayed:
            assert told == []
    print(verdict.figures(), f"back: {back}", f"slowest: {max(delays(journal, others))}")


@pytest.mark.long
async def test_nothing_of_ours_stays_with_a_frozen_master(
    cluster: RedisCluster, gateways: list[GatewayProcess]
) -> None:
    """F30: to TCP its connections look alive, and when it wakes up it takes itself for master."""
    journal = Journal()
    parts = await asyncio.to_thread(by_node, cluster)
    victim = cluster.node_of("room-0")
    lost = parts.pop(victim.port)
    others = [channel for channels in parts.values() for channel in channels]
    async with traffic(gateways, journal, lost, others):
        frozen_at = time.monotonic()
        victim.freeze()
        await eventually(lambda: all_heard_since(journal, frozen_at), "everybody hears again")
        back = time.monotonic() - frozen_at
        victim.thaw()
        await eventually(lambda: ours(victim) == 0, "all have left")
        thawed_at = time.monotonic()
        await eventually(lambda: all_heard_since(journal, thawed_at), "and everybody goes on")
        await eventually(lambda: all(map(is_whole, gateways)), "all is well in /health")
    judge(journal).require_clean()
    assert [delay for delay in delays(journal, others) if delay > LATE_SECONDS] == []
    assert back < FAILOVER_SECONDS_MAX


def ours(node: RedisNode) -> int:
    """How many connections of gateways the node has, but for those that ask for the map."""
    clients = [line for line in node.ask("CLIENT", "LIST").splitlines() if "user=gateway" in line]
    return sum("-map " not in line for line in clients)


def is_notice(event: Heard | Told) -> TypeGuard[Told]:
    return isinstance(event, Told) and event.type in ("degraded", "gap", "restored")


@pytest.mark.long
async def test_what_the_replica_never_got_is_announced_and_its_offsets_are_not_given_again(
    cluster: RedisCluster, gateways: list[GatewayProcess]
) -> None:
    """Also where nobody publishes afterwards."""
    journal = Journal()
    victim = cluster.node_of("room-0")
    replica = cluster.replica_of(victim)
    listeners = [Listener(f"l-{gateway.port}", "room-0", [gateway.port]) for gateway in gateways]
    async with audience(journal, *listeners) as everybody:
        for _ in range(3):
            await publish_once(gateways[0], journal)
        await everybody.until_caught_up()
        replica.ask("CONFIG", "SET", "masterauth", "wrong")
        victim.ask("CLIENT", "KILL", "TYPE", "replica")
        for _ in range(2):
            await publish_once(gateways[1], journal)
        await everybody.until_caught_up()
        victim.kill()
        await everybody.until(
            lambda listener: bool(listener.log.visits[-1].told("gap")),
            "everybody is told, though nobody has published since",
        )
        await eventually(lambda: all(map(is_whole, gateways)), "all is well in /health")
        await publish_once(gateways[0], journal)
        await everybody.until_caught_up()
    judge(journal).require_clean()
    for log in journal.listeners:
        (visit,) = log.visits
        (gap,) = visit.told("gap")
        *_, before, after = visit.heard()
        assert gap.fields["reason"] == "epoch_changed"
        assert gap.fields["since"] == str(before.place)
        assert gap.fields["next"] == str(after.place)
        assert (before.place.offset, after.place.offset) == (5, 1)


async def publish_once(gateway: GatewayProcess, journal: Journal) -> None:
    id, began = secrets.token_hex(6), time.monotonic()
    answer = await publish(gateway.http, "room-0", {"id": id}, make_token("paula", "publisher"))
    assert answer.status == 200, answer
    place = Place(answer.json["epoch"], answer.json["offset"])
    ended = time.monotonic()
    journal.attempts.append(Attempt(id, "room-0", "paula", began, ended, Outcome.OK, place))


def says_which(gateway: GatewayProcess, node: RedisNode) -> bool:
    health = call(gateway.http + "/health").json
    return any(str(node.port) in trouble for trouble in health["redis_troubles"])


def is_whole(gateway: GatewayProcess) -> bool:
    answer = call(gateway.http + "/health")
    return answer.status == 200 and answer.json["redis"] == "connected"
