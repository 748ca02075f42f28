"""Who is connected, for a single replica."""

from collections.abc import Collection, Mapping

from gateway.ports.presence import Presence


class MemoryPresence(Presence):
    def __init__(self, *, replica: str) -> None:
        self._replica = replica
        self._counts: dict[str, int] | None = None

    async def announce(self, counts: Mapping[str, int]) -> None:
        merged = {**(self._counts or {}), **counts}
        self._counts = {user: count for user, count in merged.items() if count}

    async def totals(self, users: Collection[str]) -> dict[str, int]:
        counts = self._counts or {}
        return {user: counts[user] for user in users if user in counts}

    async def renew(self) -> bool:
        held = self._counts is not None
        self._counts = self._counts or {}
        return held

    async def withdraw(self) -> None:
        self._counts = None

    async def connected(self) -> dict[str, dict[str, int]]:
        return {user: {self._replica: count} for user, count in (self._counts or {}).items()}
