"""Who listens to which channel here, and keeping the shared table and the listeners informed."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn, TypeAlias

from gateway.core.changes import Changes, keep_trying
from gateway.core.memberships import Counts, Membership, by_channel
from gateway.core.signals import Signals
from gateway.core.subscriber import Wire
from gateway.domain.channels import check_channel
from gateway.domain.errors import NotFound, Unavailable
from gateway.domain.namespaces import Namespaces
from gateway.domain.principal import Action, Permissions, Principal
from gateway.ports.channel_presence import (
    ChannelPresence,
    ChannelsPage,
    Crossing,
    Headcount,
    Lease,
    MembersPage,
)

_SIGNAL = "presence"
_RETRY_SECONDS = 1.0
_CHANGES_PER_CALL_MAX = 500

Notify: TypeAlias = Callable[[str, Callable[[Wire], bytes]], None]
"""`Hub.notify`."""

logger = logging.getLogger(__name__)


class Attendance:
    """Counts connections per channel and user, and announces them where there is presence.

    ``join`` and ``leave`` never wait; the table follows in the background, see
    `gateway.core.changes`. A user whose last connection here has left stays in the table for
    ``leave_delay_seconds``, so that a page that reloads goes unnoticed. Where the table answers
    that somebody has come or gone on the whole cluster, and the namespace wants notices, every
    replica tells its listeners: once, or never where an answer got lost. A change of what the
    namespaces say shows within one renewal.
    """

    def __init__(
        self,
        presence: ChannelPresence,
        signals: Signals,
        namespaces: Namespaces,
        permissions: Permissions,
        notify: Notify,
        *,
        renew_interval_seconds: float,
        leave_delay_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._presence = presence
        self._signals = signals
        self._namespaces = namespaces
        self._permissions = permissions
        self._notify = notify
        self._renew_interval_seconds = renew_interval_seconds
        self._leave_delay_seconds = leave_delay_seconds
        self._clock = clock
        self._here = Counts()
        # What the table was last known to say of this replica. A table that was lost is first
        # brought back to this, on all replicas, and only then does it follow what changed: or
        # everybody would be taken for new.
        self._announced = Counts()
        self._restoring: list[Membership] = []
        self._settled_at = 0.0
        self._changes: Changes[Membership] = Changes()
        # Whose last connection here has left, and when that is announced; in this order.
        self._leaving: dict[Membership, float] = {}
        self.is_handing_over = False
        self._is_doubtful = False
        self._agreed = namespaces.named, namespaces.default
        signals.on(_SIGNAL, self._told)

    # Counting.

    def join(self, channel: str, user: str) -> None:
        membership = (channel, user)
        self._here.set(membership, self._here.of(membership) + 1)
        self._leaving.pop(membership, None)
        self._changes.add(membership)

    def leave(self, channel: str, user: str) -> None:
        """Raises `ValueError` for one that has not joined: the table would go wrong for good."""
        membership = (channel, user)
        count = self._here.of(membership) - 1
        if count < 0:
            raise ValueError("somebody left a channel who had not joined it")
        self._here.set(membership, count)
        if count:
            self._changes.add(membership)
        elif not self.is_handing_over:
            if not self._leaving:
                self._changes.wake()
            self._leaving[membership] = self._clock() + self._leave_delay_seconds

    def hand_over(self) -> None:
        """This replica is about to stop: who leaves it now will come back on another one.

        What it has announced stays until its lease runs out, and then the others take out whom
        they have not seen by then.
        """
        self.is_handing_over = True
        self._leaving.clear()

    def connected(self) -> None:
        """The table may have lost what was written last: everything is announced once more."""
        self._is_doubtful = True
        self._changes.wake()

    # Asking.

    def is_announced(self, channel: str, user: str) -> bool:
        """Whether the table, as far as is known, has what is true of this user here."""
        membership = (channel, user)
        return self._announced.of(membership) == self._due(membership)

    async def members(
        self, principal: Principal, channel: str, limit: int, after: str
    ) -> tuple[Headcount, MembersPage]:
        """For whoever may see the channel's presence.

        Raises `InvalidChannel`, `Denied`, `NotFound` or `Unavailable`.
        """
        self._permissions.require(principal, Action.SEE_PRESENCE, check_channel(channel))
        if not self._namespaces.of(channel).presence:
            raise NotFound("presence is off in the namespace of this channel")
        page = await self._presence.members(channel, limit, after)
        return await self._presence.headcount(channel), page

    async def channels(self, principal: Principal, limit: int, after: str) -> ChannelsPage:
        """The channels that have members, for administrators; raises `Denied` or `Unavailable`."""
        principal.require_admin()
        return await self._presence.channels(limit, after)

    # Following.

    async def run(self) -> None:
        """Keep the table current until cancelled. What it holds is left to the lease then."""
        try:
            await keep_trying(
                self._follow, "who listens to channels here", retry_seconds=_RETRY_SECONDS
            )
        finally:
            await self._presence.close()

    async def _follow(self) -> NoReturn:
        while True:
            await self._renew()
            renewal = self._clock() + self._renew_interval_seconds
            is_sweeping = True
            while (left := renewal - self._clock()) > 0 and not self._is_doubtful:
                is_busy = await self._announce_some()
                if is_sweeping:
                    is_sweeping = await self._sweep_some()
                if not (is_busy or is_sweeping):
                    await self._pause(left)

    async def _renew(self) -> None:
        is_doubtful, self._is_doubtful = self._is_doubtful, False
        try:
            lease = await self._presence.renew()
        except BaseException:
            self._is_doubtful = is_doubtful
            raise
        if lease is Lease.ENDED:
            self._announced.clear()
            self._restoring.clear()
            self._changes.update(self._here)
        elif lease is Lease.EMPTIED:
            logger.warning("who listens to which channel was lost, and is announced anew")
            self._restoring = list(self._announced)
            # By then every other replica has found out, too.
            self._settled_at = self._clock() + self._renew_interval_seconds + 2 * _RETRY_SECONDS
        elif is_doubtful:
            self._restoring = list(self._announced)
        agreed = self._namespaces.named, self._namespaces.default
        if agreed != self._agreed:
            self._agreed = agreed
            self._changes.update(self._here)

    async def _announce_some(self) -> bool:
        """Whether there may be more."""
        if self._restoring:
            return await self._restore_some()
        now = self._clock()
        if now < self._settled_at:
            return False
        self._note_left(now)
        with self._changes.taken(_CHANGES_PER_CALL_MAX) as taken:
            counts = {
                membership: count
                for membership in taken
                # Of those that are leaving we hear again when they have left.
                if membership not in self._leaving
                and (count := self._due(membership)) != self._announced.of(membership)
            }
            if counts:
                crossings, is_whole = await self._presence.announce(by_channel(counts))
                if is_whole:
                    for membership, count in counts.items():
                        self._announced.set(membership, count)
                else:
                    self._changes.update(taken)
                    self._is_doubtful = True
                await self._tell(crossings)
        return bool(taken)

    def _due(self, membership: Membership) -> int:
        """What the table should say of us."""
        is_kept = self._namespaces.of(membership[0]).presence
        return self._here.of(membership) if is_kept else 0

    async def _restore_some(self) -> bool:
        some = self._restoring[-_CHANGES_PER_CALL_MAX:]
        counts = {membership: self._announced.of(membership) for membership in some}
        _, is_whole = await self._presence.announce(by_channel(counts))
        # Told to nobody: for those who listen, they have been there all the time.
        if is_whole:
            del self._restoring[-_CHANGES_PER_CALL_MAX:]
        else:
            self._is_doubtful = True
        return True

    def _note_left(self, now: float) -> None:
        while self._leaving:
            membership, due = next(iter(self._leaving.items()))
            if due > now:
                return
            del self._leaving[membership]
            self._changes.add(membership)

    async def _sweep_some(self) -> bool:
        crossings = await self._presence.sweep()
        await self._tell(crossings or ())
        return crossings is not None

    async def _pause(self, seconds: float) -> None:
        now = self._clock()
        if now < self._settled_at:
            await asyncio.sleep(min(seconds, self._settled_at - now))
            return
        next_due = next(iter(self._leaving.values()), now + seconds)
        await self._changes.wait(min(seconds, max(next_due - now, 0)))

    # Telling.

    async def _tell(self, crossings: Sequence[Crossing]) -> None:
        words: dict[str, dict[str, list[str]]] = {"joined": {}, "left": {}}
        for channel, user, joined in crossings:
            if self._namespaces.of(channel).join_leave:
                word = words["joined" if joined else "left"]
                word.setdefault(channel, []).append(user)
        if any(words.values()):
            try:
                await self._signals.send(_SIGNAL, words)
            except Unavailable as trouble:
                # Not again: it may have been sent. Who needs certainty asks for the members.
                logger.warning("join and leave notices may be lost: %s", trouble.detail)

    def _told(self, signal: dict[str, Any]) -> None:
        for word in ("joined", "left"):
            for channel, users in signal[word].items():
                self._notify(channel, partial(_notices, f"user_{word}", channel, users))


def _notices(kind: str, channel: str, users: Sequence[str], wire: Wire) -> bytes:
    return b"".join(wire.notice(kind, channel=channel, user=user) for user in users)
