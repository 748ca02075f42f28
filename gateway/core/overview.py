"""What an administrator sees of all replicas at once.

Each replica answers what it knows of itself; nothing is counted or kept for this. Counters are
given as they are, so that whoever looks twice makes rates of them.
"""

import asyncio
import heapq
import time
from collections.abc import Callable, Mapping
from itertools import chain, islice
from typing import Any, NamedTuple

from gateway.core.centrifuge.client import Client
from gateway.core.drain import Drain
from gateway.core.hub import Hub
from gateway.core.metrics import LoopLag
from gateway.core.roster import Connection, Roster
from gateway.core.session import Session
from gateway.core.surveys import Surveys
from gateway.domain.channels import matches
from gateway.domain.errors import Unavailable
from gateway.ports.broker import Broker

_REPLICA, _CHANNELS, _CONNECTIONS = "admin replica", "admin channels", "admin connections"
# Of one replica in one answer, which goes to all of them.
CHANNELS_MAX = 200
CONNECTIONS_MAX = 100
_CHANNELS_OF_A_CLIENT_MAX = 20
_CHANNELS_PER_TURN_MAX = 1000


class Seen(NamedTuple):
    """``missing`` says in words what is lacking of it; "" where every replica answered."""

    answers: list[dict[str, Any]]
    missing: str


class Overview:
    """Half an answer is better than none for who looks after an outage, and says so."""

    def __init__(
        self,
        hub: Hub,
        roster: Roster,
        broker: Broker,
        drain: Drain,
        loop_lag: LoopLag,
        surveys: Surveys,
        *,
        trouble: Callable[[], str],
        redis_used: bool,
        replica: str,
        version: str,
    ) -> None:
        """``trouble`` says why this replica should get no clients, "" while it should."""
        self._hub = hub
        self._roster = roster
        self._broker = broker
        self._drain = drain
        self._loop_lag = loop_lag
        self._surveys = surveys
        self._trouble = trouble
        self._redis_used = redis_used
        self.replica = replica
        self._version = version
        self._started = time.monotonic()
        surveys.on(_REPLICA, self._about_us)
        surveys.on(_CHANNELS, self._channels_here)
        surveys.on(_CONNECTIONS, self._connections_here)

    # Asking.

    async def replicas(self) -> Seen:
        """A line for each replica, by name."""
        answers, missing = await self._ask(_REPLICA, {}, self._about_us)
        return Seen(sorted(answers, key=lambda each: str(each["replica"])), missing)

    async def channels(self, pattern: str, limit: int) -> Seen:
        """The channels with the most listeners, and up to where each has been delivered.

        Each replica names its `CHANNELS_MAX` largest, so of more channels the smaller ones may
        lack listeners.
        """
        body = {"pattern": pattern}
        answers, missing = await self._ask(_CHANNELS, body, self._channels_here)
        merged: dict[str, dict[str, Any]] = {}
        for name, listeners, epoch, offset in (each for one in answers for each in one["channels"]):
            new = {"channel": name, "listeners": 0, "epoch": epoch, "offset": offset}
            channel = merged.setdefault(name, new)
            channel["listeners"] += listeners
            if channel["epoch"] == epoch:  # of replicas that are not equally far
                channel["offset"] = max(channel["offset"], offset)
        order = sorted(merged.values(), key=lambda each: (-each["listeners"], each["channel"]))
        return Seen(order[:limit], missing)

    async def connections_of(self, user: str) -> Seen:
        """The user's connections, at most `CONNECTIONS_MAX` of each replica."""
        answers, missing = await self._ask(_CONNECTIONS, {"user": user}, self._connections_here)
        connections = [
            {"replica": one["replica"], **each} for one in answers for each in one["connections"]
        ]
        return Seen(connections, missing)

    async def _ask(
        self,
        topic: str,
        body: dict[str, Any],
        ourselves: Callable[[dict[str, Any]], Any],
    ) -> Seen:
        try:
            answers, is_complete = await self._surveys.ask(topic, body)
            missing = "" if is_complete else "not every replica answered in time"
        except Unavailable as trouble:
            answers, missing = [], f"the other replicas cannot be asked: {trouble.detail}"
        if all(each["replica"] != self.replica for each in answers):
            answers.append(await ourselves(body))  # we need nobody to know this
        return Seen(answers, missing)

    # Answering.

    async def _about_us(self, body: dict[str, Any]) -> dict[str, Any]:
        hub, latency, state = self._hub, self._hub.counts.latency, self._broker.state
        return {
            "replica": self.replica,
            "version": self._version,
            "uptime_seconds": round(time.monotonic() - self._started, 3),
            "trouble": self._trouble(),
            "draining": self._drain.has_begun,
            "sockets": self._roster.connection_count,
            "users": self._roster.user_count,
            "channels": hub.channel_count,
            "subscriptions": hub.subscriber_count,
            "published": hub.published_count,
            "received": hub.counts.received,
            "deliveries": hub.counts.delivered,
            "gaps_announced": hub.counts.gaps_announced,
            "latency": {"bounds_seconds": latency.bounds, "counts": latency.counts},
            "loop_lag_max_seconds": round(self._loop_lag.worst, 4),
            "redis": {
                "used": self._redis_used,
                "troubles": list(self._broker.troubles),
                "proof_age_seconds": round(state.proof_age_seconds, 3),
                "reconnects": state.reconnects,
            },
        }

    async def _channels_here(self, body: dict[str, Any]) -> dict[str, Any]:
        largest = await _largest(str(body["pattern"]), self._hub.audience_sizes())
        return {
            "replica": self.replica,
            "channels": [[name, count, *self._hub.position(name)] for count, name in largest],
        }

    async def _connections_here(self, body: dict[str, Any]) -> dict[str, Any]:
        found = [*self._roster.connections_of(str(body["user"]))][:CONNECTIONS_MAX]
        return {"replica": self.replica, "connections": [_described(each) for each in found]}


async def _largest(pattern: str, sizes: Mapping[str, int]) -> list[tuple[int, str]]:
    """Piece by piece: to look at 100,000 channels at once would stop delivery for 0.2 s."""
    largest: list[tuple[int, str]] = []
    sized = iter(sizes.items())
    while piece := list(islice(sized, _CHANNELS_PER_TURN_MAX)):
        found = ((count, name) for name, count in piece if matches(pattern, name))
        largest = heapq.nlargest(CHANNELS_MAX, chain(largest, found))
        await asyncio.sleep(0)
    return largest


def _described(connection: Connection) -> dict[str, Any]:
    """Only clients of the Centrifuge protocol have an id, by which one can be named."""
    principal, client, channels = connection.principal, "", []
    if isinstance(connection, Client):
        client, channels = connection.id, [*connection.subscriptions]
    elif isinstance(connection, Session):
        channels = [connection.channel]
    return {
        "client": client,
        "session_id": principal.session_id,
        "roles": sorted(principal.roles),
        "expires_at": principal.expires_at,
        "channels": channels[:_CHANNELS_OF_A_CLIENT_MAX],
        "channel_count": len(channels),
    }
