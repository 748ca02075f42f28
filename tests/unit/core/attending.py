"""A replica's attendance with all that is around it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from gateway.adapters.memory.broker import MemoryBroker
from gateway.adapters.memory.channel_presence import MemoryChannelPresence
from gateway.core.attendance import Attendance
from gateway.core.signals import Signals
from gateway.core.subscriber import Wire
from gateway.domain.errors import Unavailable
from gateway.domain.namespaces import Namespace, Namespaces
from gateway.domain.principal import Action, Permissions, Principal
from gateway.ports.channel_presence import Announced, Crossing, Lease
from tests.unit.core.test_hub import FakeWire

SECONDS = 5.0
CHAT, OFF = Namespace(join_leave=True), Namespace(presence=False)


class FakeTable(MemoryChannelPresence):
    """A table with other replicas in it, which can be slow, out of reach, or lose everything."""

    def __init__(self) -> None:
        super().__init__()
        self.announced: list[dict[str, dict[str, int]]] = []
        self.lost: list[Lease] = []
        self.dead: list[list[Crossing]] = []
        self.elsewhere: dict[tuple[str, str], int] = {}
        self.is_reachable = True
        self.open = asyncio.Event()
        self.open.set()
        self.entered = asyncio.Event()
        self.changed = asyncio.Event()
        self.renewals = 0
        self.closed = False

    async def renew(self) -> Lease:
        self._reach()
        self.renewals += 1
        self.changed.set()
        lease = await super().renew()
        if self.lost:
            self._channels.clear()
            return self.lost.pop()
        return lease

    async def announce(self, counts: Mapping[str, Mapping[str, int]]) -> Announced:
        self.entered.set()
        await self.open.wait()
        self._reach()
        if self.lost:
            return Announced([], False)
        self.announced.append({channel: dict(users) for channel, users in counts.items()})
        crossings, is_whole = await super().announce(counts)
        self.changed.set()
        seen = [each for each in crossings if (each.channel, each.user) not in self.elsewhere]
        return Announced(seen, is_whole)

    async def sweep(self) -> Sequence[Crossing] | None:  # type: ignore[override]
        self._reach()
        self.changed.set()
        await asyncio.sleep(0)
        return self.dead.pop(0) if self.dead else None

    async def close(self) -> None:
        self.closed = True

    def _reach(self) -> None:
        if not self.is_reachable:
            self.changed.set()
            raise Unavailable("the table is away")

    @property
    def table(self) -> dict[str, dict[str, int]]:
        return {name: dict(channel.counts) for name, channel in self._channels.items()}

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(SECONDS):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


class World:
    """One replica's attendance with a table, a clock, and what its listeners are told."""

    def __init__(self, *, renew_interval_seconds: float = 60, leave_delay_seconds: float = 0):
        self.table = FakeTable()
        self.namespaces = Namespaces(Namespace(), {"chat": CHAT, "off": OFF})
        self.now = 1000.0
        self.notices: list[tuple[str, bytes]] = []
        self.signals: list[dict[str, Any]] = []
        self.broker = MemoryBroker(idempotency_seconds=60)
        signals = Signals(self.broker)

        async def send(kind: str, body: Mapping[str, Any], *, near: str = "") -> int:
            self.signals.append(dict(body))
            signals._handlers[kind](dict(body))
            self.table.changed.set()
            return 1

        signals.send = send  # type: ignore[method-assign]
        self._signals = signals
        self.attendance = Attendance(
            self.table,
            signals,
            self.namespaces,
            Permissions(self.namespaces),
            self._notify,
            renew_interval_seconds=renew_interval_seconds,
            leave_delay_seconds=leave_delay_seconds,
            clock=lambda: self.now,
        )
        self.join, self.leave = self.attendance.join, self.attendance.leave

    def fail_to_signal(self) -> None:
        async def send(kind: str, body: Mapping[str, Any], *, near: str = "") -> int:
            raise Unavailable("nobody hears")

        self._signals.send = send  # type: ignore[method-assign]

    def _notify(self, channel: str, notice_of: Callable[[Wire], bytes]) -> None:
        self.notices.append((channel, notice_of(FakeWire())))

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.attendance.run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def until_table(self, expected: dict[str, dict[str, int]]) -> None:
        await self.table.until(lambda: self.table.table == expected)

    async def settle(self) -> None:
        """Wait until everything that is known has been announced: whoever comes last comes last."""
        self.join("end", "end")
        await self.table.until(lambda: "end" in self.table.table)
        self.leave("end", "end")
        await self.table.until(lambda: "end" not in self.table.table)


def crossings(channel: str, joined: bool, *users: str) -> list[Crossing]:
    return [Crossing(channel, user, joined) for user in users]


def who(user: str, *roles: str, **grants: list[str]) -> Principal:
    granted = {Action(action): tuple(patterns) for action, patterns in grants.items()}
    return Principal(user, "jti", 0, 2**31, frozenset(roles), granted)
