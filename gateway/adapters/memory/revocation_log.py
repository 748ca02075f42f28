"""The revocations of a single replica."""

from dataclasses import replace

from gateway.domain.revocations import Revocation, RevocationKind
from gateway.ports.revocation_log import RevocationLog


class MemoryRevocationLog(RevocationLog):
    def __init__(self) -> None:
        self._entries: dict[tuple[RevocationKind, str], Revocation] = {}

    async def add(self, revocation: Revocation) -> None:
        key = (revocation.kind, revocation.subject)
        known = self._entries.get(key, revocation)
        later = revocation if revocation.before > known.before else known
        expires_at = max(known.expires_at, revocation.expires_at)
        self._entries[key] = replace(later, expires_at=expires_at)

    async def live(self, now: float) -> list[Revocation]:
        return [entry for entry in self._entries.values() if entry.expires_at > now]

    async def prune(self, now: float) -> int:
        gone = [key for key, entry in self._entries.items() if entry.expires_at <= now]
        for key in gone:
            del self._entries[key]
        return len(gone)
