"""Tokens that are valid no longer: known on every replica within a moment, and never forgotten.

A revocation is written to the durable log (SQL) first, then to the shared one (Redis), and told
to the other replicas. Each replica keeps a copy of its own, so that verifying a token asks
nobody, and reads both logs again whenever it may have missed something.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from gateway.core.signals import Signals
from gateway.domain.errors import InvalidToken, Unavailable
from gateway.domain.principal import Principal
from gateway.domain.revocations import Revocation, RevocationKind
from gateway.ports.revocation_log import RevocationLog

_SIGNAL = "revoked"
_RELOAD_SECONDS = 60.0
_RELOAD_SECONDS_WHILE_CUT_OFF = 2.0

End = Callable[[Revocation], None]

# What has ended here may go on elsewhere: a clock that is ahead must not throw away for all.
_CLOCKS_DIFFER_SECONDS = 86_400

logger = logging.getLogger(__name__)


class Revocations:
    """``end`` closes the sockets here that a revocation means; it never waits.

    ``shared`` is None for a replica that is alone. ``stale`` says why the copy may lack
    something, "" while it does not: tokens are then not to be trusted with a new socket.
    """

    def __init__(
        self,
        durable: RevocationLog,
        shared: RevocationLog | None,
        signals: Signals,
        end: End,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._durable = durable
        self._shared = shared
        self._signals = signals
        self._end = end
        self._clock = clock
        self._known: dict[RevocationKind, dict[str, Revocation]] = {
            kind: {} for kind in RevocationKind
        }
        self._was_complete = False
        self._wake = asyncio.Event()
        self.stale = "the revocations have not been read yet"
        self.first_read = asyncio.Event()
        signals.on(_SIGNAL, self._told)

    def check(self, principal: Principal) -> None:
        """Raise `InvalidToken` for a token that has been revoked."""
        reason = self.reason(principal)
        if reason:
            raise InvalidToken(f"the token has been revoked: {reason}")

    def reason(self, principal: Principal) -> str:
        """Why this principal's token is revoked; "" when it is not."""
        known = self._known
        revocation = (
            known[RevocationKind.TOKEN].get(principal.token_id)
            or known[RevocationKind.SESSION].get(principal.session_id)
            or known[RevocationKind.USER].get(principal.subject)
        )
        return revocation.reason if revocation and revocation.means(principal) else ""

    async def revoke(self, revocation: Revocation) -> bool:
        """Return whether every replica has been told; those that have not read it up later.

        Raises `Unavailable` when it could not be written down; then nothing is revoked.
        """
        await self._durable.add(revocation)
        self._take(revocation)
        try:
            await self._share(revocation)
        except Unavailable as trouble:
            logger.warning("other replicas learn of a revocation later: %s", trouble.detail)
            self._wake.set()
            return False
        return True

    def connected(self) -> None:
        """Signals may have been missed; read everything again."""
        self._wake.set()

    async def run(self) -> None:
        """Keep the copy current until cancelled."""
        while True:
            await self._reload()
            pause = _RELOAD_SECONDS_WHILE_CUT_OFF if self.stale else _RELOAD_SECONDS
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                continue
            finally:
                self._wake.clear()

    async def _reload(self) -> None:
        now = self._clock()
        self._forget_expired(now)
        durable: list[Revocation] = []
        trouble = ""
        try:
            durable = await self._durable.live(now)
            await self._durable.prune(now - _CLOCKS_DIFFER_SECONDS)
            self._was_complete = True
        except Unavailable as error:
            # With Redis at hand this is harmless, once the whole log has been read: what came
            # later is in Redis as well, and is remembered here even if Redis is emptied.
            if self._shared is None or not self._was_complete:
                trouble = error.detail
        # What is written down holds, even while Redis cannot be asked for the rest.
        for revocation in durable:
            self._take(revocation)
        try:
            await self._merge_shared(durable, now)
        except Unavailable as error:
            trouble = error.detail
        self._note(f"the revocations cannot be read: {trouble}" if trouble else "")
        self.first_read.set()

    async def _merge_shared(self, durable: list[Revocation], now: float) -> None:
        if self._shared is None:
            return
        shared = {(entry.kind, entry.subject): entry for entry in await self._shared.live(now)}
        for revocation in shared.values():
            self._take(revocation)
        # An empty Redis revives nothing: what it lacks is put back, and the others are told.
        for revocation in durable:
            there = shared.get((revocation.kind, revocation.subject))
            if there is None or there.before < revocation.before:
                await self._share(revocation)
        await self._shared.prune(now - _CLOCKS_DIFFER_SECONDS)

    async def _share(self, revocation: Revocation) -> None:
        if self._shared is not None:
            await self._shared.add(revocation)
        await self._signals.send(_SIGNAL, {"revocation": asdict(revocation)})

    def _take(self, revocation: Revocation) -> None:
        known = self._known[revocation.kind]
        there = known.get(revocation.subject)
        if there is not None and there.before >= revocation.before:
            return
        known[revocation.subject] = revocation
        self._end(revocation)

    def _told(self, signal: dict[str, Any]) -> None:
        self._take(Revocation.read(signal["revocation"]))

    def _forget_expired(self, now: float) -> None:
        for known in self._known.values():
            for subject in [name for name, entry in known.items() if entry.expires_at <= now]:
                del known[subject]

    def _note(self, stale: str) -> None:
        if stale != self.stale:
            logger.log(logging.WARNING if stale else logging.INFO, stale or "revocations are read")
            self.stale = stale

    def __len__(self) -> int:
        return sum(map(len, self._known.values()))
