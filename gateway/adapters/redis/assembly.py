"""Putting the Redis adapters together, for each form that a Redis URL has."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from redis.asyncio import Redis

from gateway.adapters.redis.channels.broker import RedisBroker, Runner
from gateway.adapters.redis.channels.history import HistoryReader
from gateway.adapters.redis.channels.publisher import PUBLISH, SHARDED_PUBLISH, Publisher
from gateway.adapters.redis.channels.shards import ShardedBroker
from gateway.adapters.redis.channels.subscriber import Subscriber
from gateway.adapters.redis.cluster.broker import ClusterBroker, ClusterPart, NodeSubscriber
from gateway.adapters.redis.cluster.generations import ClusterGenerations
from gateway.adapters.redis.cluster.map import ClusterMap
from gateway.adapters.redis.cluster.pipe import ClusterNodes, ClusterPipe, RoutedPipe
from gateway.adapters.redis.cluster.slots import Node
from gateway.adapters.redis.keys import Keys
from gateway.adapters.redis.places.connection import FixedPlace, Place, connect
from gateway.adapters.redis.places.pipe import Commands, Pipe
from gateway.adapters.redis.places.sentinel import SentinelPlace
from gateway.adapters.redis.places.topology import Cluster, Sentinels, Shards, Single, Topology
from gateway.adapters.redis.script import Script
from gateway.adapters.redis.shared import channel_presence
from gateway.adapters.redis.shared.news import DistantMarker, Marker
from gateway.domain.namespaces import Namespaces
from gateway.ports.broker import Broker, Concerns, all_channels

S = TypeVar("S", bound=Subscriber)


class Assembled(NamedTuple):
    """``redis_for`` gives a client for whatever stands under one key, or under one hash tag.

    ``redis_of`` gives that of a channel's keys, and ``presence_pipe`` leads to all of them.
    """

    broker: Broker
    redis_for: Callable[[str], Redis]
    redis_of: Callable[[str], Redis]
    presence_pipe: Commands


@dataclass(frozen=True, slots=True)
class Assembly:
    """What all parts of one gateway have in common."""

    keys: Keys
    namespaces: Namespaces
    replica: str
    timeout_seconds: float
    connections_max: int
    ping_interval_seconds: float
    ping_timeout_seconds: float
    data_bytes_max: int
    position_seconds: int
    idempotency_seconds: int

    def assemble(self, topology: Topology) -> Assembled:
        if isinstance(topology, Cluster):
            return self._cluster(topology)
        if isinstance(topology, Shards):
            return self._shards(topology)
        return self.assemble_at(*self._place(topology))

    def assemble_at(self, place: Place, runners: Sequence[Runner] = ()) -> Assembled:
        redis = self._connect(place)
        broker = RedisBroker(
            redis,
            self._publisher(self._pipe(place)),
            self._subscriber(Subscriber, place, redis),
            self._reader(self._pipe(place, "-history")),
            runners,
        )
        pipe = self._pipe(place, "-presence")
        return Assembled(broker, lambda key: redis, lambda channel: redis, pipe)

    def _shards(self, topology: Shards) -> Assembled:
        places, runners = zip(*map(self._place, topology.shards), strict=True)
        clients = [self._connect(place) for place in places]
        marker = self._distant_marker(places[0])

        def make_part(index: int, concerns: Concerns) -> RedisBroker:
            place, redis = places[index], clients[index]
            return RedisBroker(
                redis,
                self._publisher(self._pipe(place), marker=marker if index else None),
                self._subscriber(Subscriber, place, redis, concerns),
                self._reader(self._pipe(place, "-history")),
                runners[index],
            )

        broker = ShardedBroker(len(places), make_part, [marker.run])
        pipe = self._pipe(places[0], "-presence")
        return Assembled(broker, lambda key: clients[0], lambda channel: clients[0], pipe)

    def _cluster(self, topology: Cluster) -> Assembled:
        name = f"{self.replica}-map"
        map = ClusterMap(topology, name=name, timeout_seconds=self.timeout_seconds)
        generations = ClusterGenerations(
            map, self.keys, name=name, timeout_seconds=self.timeout_seconds
        )
        nodes = ClusterNodes(map, generations, self.timeout_seconds)
        marker = self._distant_marker(map.place_of(self.keys.archive_marks))
        clients: list[Redis] = []

        def pipe(node: Node, purpose: str, scripts: Sequence[Script] = ()) -> ClusterPipe:
            return ClusterPipe(nodes, node, name=self.replica + purpose, scripts=scripts)

        def make_part(node: Node, concerns: Concerns) -> ClusterPart:
            place = FixedPlace(map.address_of(node))
            redis = self._connect(place)
            script = SHARDED_PUBLISH
            publisher = self._publisher(pipe(node, "", [script]), script, marker)
            subscriber = self._subscriber(NodeSubscriber, place, redis, concerns, f":{node.id}")
            reader = self._reader(pipe(node, "-history"))
            return ClusterPart(node, concerns, redis, publisher, subscriber, reader)

        def redis_for(key: str) -> Redis:
            clients.append(self._connect(map.place_of(key)))
            return clients[-1]

        runners = [generations.run, marker.run]
        broker = ClusterBroker(map, self.keys.signals, make_part, runners, clients)
        presence_pipe = RoutedPipe(
            nodes, name=f"{self.replica}-presence", scripts=channel_presence.SCRIPTS
        )
        return Assembled(broker, redis_for, broker.redis_of, presence_pipe)

    # The parts.

    def _place(self, topology: Single | Sentinels) -> tuple[Place, Sequence[Runner]]:
        """Where one Redis is, and what has to run so that this stays true."""
        if isinstance(topology, Single):
            return FixedPlace(topology.address), ()
        name = f"{self.replica}-sentinel"
        place = SentinelPlace(topology, name=name, timeout_seconds=self.timeout_seconds)
        return place, (place.run,)

    def _connect(self, place: Place) -> Redis:
        return connect(
            place, timeout_seconds=self.timeout_seconds, connections_max=self.connections_max
        )

    def _pipe(self, place: Place, purpose: str = "") -> Pipe:
        name = self.replica + purpose
        return Pipe(place, name=name, timeout_seconds=self.timeout_seconds)

    def _distant_marker(self, place: Place) -> DistantMarker:
        return DistantMarker(self.keys, self.namespaces, self._pipe(place, "-marks"))

    def _publisher(
        self, pipe: Pipe, script: Script = PUBLISH, marker: Marker | None = None
    ) -> Publisher:
        return Publisher(
            pipe,
            self.keys,
            self.namespaces,
            position_seconds=self.position_seconds,
            idempotency_seconds=self.idempotency_seconds,
            script=script,
            marker=marker,
        )

    def _subscriber(
        self,
        kind: type[S],
        place: Place,
        redis: Redis,
        concerns: Concerns = all_channels,
        part: str = "",
    ) -> S:
        return kind(
            place,
            redis,
            self.keys,
            replica=self.replica,
            timeout_seconds=self.timeout_seconds,
            ping_interval_seconds=self.ping_interval_seconds,
            ping_timeout_seconds=self.ping_timeout_seconds,
            data_bytes_max=self.data_bytes_max,
            concerns=concerns,
            part=part,
        )

    def _reader(self, pipe: Pipe) -> HistoryReader:
        return HistoryReader(pipe, self.keys, data_bytes_max=self.data_bytes_max)
