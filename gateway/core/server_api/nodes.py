"""What the server API wants to know of every replica."""

import time
from collections import Counter
from typing import Any

from gateway.core.hub import Hub
from gateway.core.roster import Roster
from gateway.core.surveys import Surveys
from gateway.domain.channels import matches
from gateway.domain.errors import TooBig, Unavailable

_INFO, _CHANNELS = "api info", "api channels"
_CHANNELS_MAX = 5000  # of one replica in one answer, which goes to all of them


class Nodes:
    def __init__(
        self, hub: Hub, roster: Roster, surveys: Surveys, *, replica: str, version: str
    ) -> None:
        self._hub = hub
        self._roster = roster
        self._surveys = surveys
        self._replica = replica
        self._version = version
        self._started = time.monotonic()
        surveys.on(_INFO, self._about_us)
        surveys.on(_CHANNELS, self._channels_here)

    async def info(self) -> list[dict[str, Any]]:
        """A line for each replica; raises `Unavailable` where not all of them answer."""
        return sorted(await self._ask(_INFO, {}), key=lambda node: str(node["uid"]))

    async def channels(self, pattern: str) -> dict[str, int]:
        """The channels that somebody listens to, and how many connections do, on all replicas.

        Raises `Unavailable` where not all of them answer, and `TooBig`: half a list would look
        like a whole one.
        """
        counts: Counter[str] = Counter()
        for found in await self._ask(_CHANNELS, {"pattern": pattern}):
            if found is None:
                raise TooBig(f"a replica has more than {_CHANNELS_MAX} such channels")
            counts.update(found)
        return dict(sorted(counts.items()))

    async def _ask(self, topic: str, body: dict[str, Any]) -> list[Any]:
        survey = await self._surveys.ask(topic, body)
        if not survey.is_complete:
            raise Unavailable("not every replica answered in time")
        return survey.answers

    async def _about_us(self, body: dict[str, Any]) -> dict[str, Any]:
        return {
            "uid": self._replica,
            "name": self._replica,
            "version": self._version,
            "num_clients": self._roster.connection_count,
            "num_users": self._roster.user_count,
            "num_subs": self._hub.subscriber_count,
            "num_channels": self._hub.channel_count,
            "uptime": int(time.monotonic() - self._started),
        }

    async def _channels_here(self, body: dict[str, Any]) -> dict[str, int] | None:
        """None where there are more than an answer may carry."""
        pattern = str(body["pattern"])
        sizes = self._hub.audience_sizes()
        found = {channel: count for channel, count in sizes.items() if matches(pattern, channel)}
        return found if len(found) <= _CHANNELS_MAX else None
