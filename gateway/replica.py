"""One replica: everything in it that lives as long as it does, and how that starts and ends."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from gateway.core.accepting import Accepting
from gateway.core.accounts import Accounts
from gateway.core.archive import Archiver
from gateway.core.attendance import Attendance
from gateway.core.centrifuge.emulation import Emulation
from gateway.core.common_time import CommonTime
from gateway.core.drain import Drain
from gateway.core.drain_calls import DrainCalls
from gateway.core.hub import Hub
from gateway.core.inbound import Inbound
from gateway.core.jwks import JwksKeeper
from gateway.core.limits import RateLimit
from gateway.core.logins import LoginDesk
from gateway.core.metrics import HttpCounts, LoopLag
from gateway.core.overview import Overview
from gateway.core.passwords import Passwords
from gateway.core.receipts import Receipts
from gateway.core.revocations import Revocations
from gateway.core.roster import Roster
from gateway.core.server_api.callers import ApiKeys
from gateway.core.server_api.methods import ServerApi
from gateway.core.tasks import Tasks
from gateway.core.tickets import TicketOffice
from gateway.core.tokens import TokenIssuer, TokenVerifier
from gateway.core.wheel import Wheel
from gateway.domain.errors import Unavailable
from gateway.domain.namespaces import Namespaces
from gateway.domain.principal import Permissions
from gateway.outside import Store
from gateway.ports.broker import Broker
from gateway.settings import Settings
from gateway.sockets.door import Door

if TYPE_CHECKING:
    from gateway.tracing import Tracing

Runner: TypeAlias = Callable[[], Coroutine[Any, Any, None]]

_FIRST_TRY_SECONDS = 5.0
_PRUNE_SECONDS = 3600.0
_LAST_WORDS_SECONDS = 2.0

logger = logging.getLogger(__name__)


@dataclass
class Gateway:
    settings: Settings
    broker: Broker
    inbound: Inbound
    hub: Hub
    archiver: Archiver
    roster: Roster
    attendance: Attendance
    accepting: Accepting
    drain: Drain
    drain_calls: DrainCalls
    wheel: Wheel
    tasks: Tasks
    keepers: Sequence[JwksKeeper]
    verifier: TokenVerifier
    issuer: TokenIssuer
    namespaces: Namespaces
    allowed_origins: set[str]
    api_keys: ApiKeys
    publish_rate: RateLimit
    permissions: Permissions
    store: Store
    passwords: Passwords
    revocations: Revocations
    common_time: CommonTime
    accounts: Accounts
    logins: LoginDesk
    tickets: TicketOffice
    receipts: Receipts
    emulation: Emulation
    server_api: ServerApi
    overview: Overview
    door: Door
    http_counts: HttpCounts
    loop_lag: LoopLag
    tracing: "Tracing | None"
    runners: list[Runner]
    """What else has to run for as long as the replica does; filled before `running`."""

    @property
    def trouble(self) -> str:
        """Why this replica should get no clients right now; "" while it should."""
        return self.drain.trouble or self.accepting.trouble or self.door.trouble()

    def statistics(self) -> dict[str, int]:
        hub, sockets = self.hub, self.door.counts
        return {
            "sockets_open": sockets.open,
            "sockets_accepted": sockets.accepted,
            "sockets_refused": sockets.refused,
            "sockets_refused_by_pace": sockets.refused_by_pace,
            "draining": int(self.drain.has_begun),
            "accept_pauses": self.accepting.pauses,
            "sockets_slow_closed": sockets.slow_closed,
            "sockets_dead_closed": sockets.dead_closed,
            "channels": hub.channel_count,
            "messages_published": hub.published_count,
            "messages_received": hub.counts.received,
            "messages_delivered": hub.counts.delivered,
            "messages_repaired": hub.repaired_count,
            "gaps_announced": hub.counts.gaps_announced,
            "archive_rows": self.archiver.rows,
            "archive_gaps": self.archiver.holes,
            "archive_lag_seconds": self.archiver.lag_seconds,
            "clock_offset_seconds": round(self.common_time.offset_seconds),
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep every long task running inside the block."""
        try:
            async with asyncio.TaskGroup() as group, self.tasks:
                running = [
                    group.create_task(self.broker.run(self.inbound), name="broker"),
                    group.create_task(self.hub.run(), name="hub"),
                    group.create_task(self.roster.run(), name="roster"),
                    group.create_task(self.attendance.run(), name="attendance"),
                    group.create_task(self.wheel.run(), name="wheel"),
                    group.create_task(self._keep_accounts(), name="accounts"),
                    group.create_task(self.common_time.run(), name="common time"),
                    group.create_task(self.loop_lag.run(), name="loop lag"),
                    *(group.create_task(runner(), name="runner") for runner in self.runners),
                    *(
                        group.create_task(keeper.run(), name=f"keys of {keeper.ring.name}")
                        for keeper in self.keepers
                    ),
                ]
                # Usually ready in no time; what is away may also come later.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_FIRST_TRY_SECONDS):
                        await self.revocations.first_read.wait()
                _spare_the_collector()
                yield
                # What clients said before they were closed is still being published.
                await self.tasks.finish(_LAST_WORDS_SECONDS)
                await self.archiver.finish()
                for task in running:
                    task.cancel()
        except ExceptionGroup:
            # A replica that lost one of its tasks would look alive and deliver nothing.
            logger.exception("a part of the gateway failed; this replica stops")
            self.drain.begin(pauses=False)  # it is deaf: nobody should listen to it for longer
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            await self.broker.close()
            await self.store.close()
            self.passwords.close()

    async def _keep_accounts(self) -> None:
        await self.store.wait()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.revocations.run(), name="revocations")
            group.create_task(self._prune(), name="prune")
            group.create_task(self.archiver.run(), name="archive")

    async def _prune(self) -> None:
        while True:
            try:
                await self.logins.prune()
            except Unavailable as trouble:
                logger.warning("old logins cannot be removed: %s", trouble.detail)
            await asyncio.sleep(_PRUNE_SECONDS)


def _spare_the_collector() -> None:
    """What exists now stays for ever, so the collector need not look at it again.

    With 15,000 sockets a full collection holds up every message for tens of milliseconds.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)
