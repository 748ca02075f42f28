"""Who listens to which channel, kept in Redis.

A channel's members and what each holder holds of them share the channel's hash tag, so that a
count, its sum and the answer whether somebody came or went are one step (``attend.lua``). A
holder is a replica during one lease: when a lease is lost, the replica goes on under another
name, and what it held under the old one is taken out by whoever finds it (``evict.lua``).
"""

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import hiredis
from redis.asyncio import Redis

from gateway.adapters.redis.keys import Keys
from gateway.adapters.redis.places.asked import asked
from gateway.adapters.redis.places.pipe import Commands, NotSent, Unanswered
from gateway.adapters.redis.script import Script
from gateway.domain.errors import Unavailable
from gateway.ports.channel_presence import (
    Announced,
    ChannelPresence,
    ChannelsPage,
    Crossing,
    Headcount,
    Lease,
    MembersPage,
)

# How long a holder that was ended stays shut out: longer than any process sleeps and lives on.
_SHUT_OUT_MS = 3_600_000
# What Redis does in one go for a sweep; nobody else is served meanwhile.
_CHANNELS_PER_SWEEP = 20
_USERS_PER_SWEEP = 400

logger = logging.getLogger(__name__)


SCRIPTS = _ATTEND, _EVICT, _LEASE, _CLAIM = [
    Script(path) for path in ("shared/attend", "shared/evict", "shared/lease", "shared/claim")
]


class RedisChannelPresence(ChannelPresence):
    """Writes go through a connection of their own: redis-py spends ten times the CPU on each."""

    def __init__(
        self,
        redis: Redis,
        pipe: Commands,
        keys: Keys,
        *,
        replica: str,
        lease_seconds: float,
        redis_of: Callable[[str], Redis] | None = None,
    ) -> None:
        """``redis_of``: where a channel's members are, if not all of them are in one Redis.

        It raises `Unavailable` where nobody knows.
        """
        self._redis = redis
        self._redis_of = redis_of or (lambda channel: redis)
        self._pipe = pipe
        self._keys = keys
        self._replica = replica
        self._lease_ms = int(lease_seconds * 1000)
        self._holder = ""
        self._table = ""
        self._is_torn = False
        # The channels that are written down for the holder, and those of them where it is known
        # to hold somebody, or nobody any more.
        self._listed: set[str] = set()
        self._filled: set[str] = set()
        self._empty: set[str] = set()
        # The holder whose members are being taken out, and how far that is on its channels.
        self._claimed = ""
        self._cursors: dict[str, bytes] = {}

    async def renew(self) -> Lease:
        is_held = False
        if self._holder:
            is_held = await self._prolong([])
            if is_held and not self._is_torn:
                return Lease.HELD
        # Named before Redis answers: a lease whose answer was lost is never taken up again.
        holder = f"{self._replica}:{secrets.token_hex(4)}"
        (answer,) = await self._run(_LEASE, [self._lease_call(holder, 1, [], [])])
        known, self._table = self._table, answer[1].decode()
        is_same = not known or known == self._table
        self._holder, self._is_torn = holder, False
        for channels in (self._listed, self._filled, self._empty):
            channels.clear()
        return Lease.ENDED if is_same and not is_held else Lease.EMPTIED

    async def announce(self, counts: Mapping[str, Mapping[str, int]]) -> Announced:
        new = [channel for channel in counts if channel not in self._listed]
        self._empty.difference_update(counts)
        if not self._holder or not await self._prolong(new):
            return Announced([], False)
        calls = []
        for channel, users in counts.items():
            pairs = [word for user, count in users.items() for word in (user, count)]
            keys = self._keys_of(channel, self._holder)
            calls.append(_ATTEND.call(keys, int(channel in self._filled), *pairs))
        self._filled.difference_update(counts)  # until it is known
        crossings: list[Crossing] = []
        for channel, answer in zip(counts, await self._run(_ATTEND, calls), strict=True):
            if not answer[0]:
                self._is_torn = True
                continue
            _, held, joined, left = answer
            (self._filled if held else self._empty).add(channel)
            crossings += [Crossing(channel, user.decode(), True) for user in joined]
            crossings += [Crossing(channel, user.decode(), False) for user in left]
        return Announced(crossings, not self._is_torn)

    async def sweep(self) -> Sequence[Crossing] | None:
        if not self._claimed:
            keys = [self._keys.leases, self._keys.ended_leases]
            (answer,) = await self._run(_CLAIM, [_CLAIM.call(keys, self._lease_ms)])
            if answer is None:
                return None
            self._claimed = answer.decode()
            self._cursors.clear()
        holder, self._claimed = self._claimed, ""  # in doubt, somebody claims it again
        holdings = self._keys.holdings(holder)
        (names,) = await self._ask([("ZRANGE", holdings, 0, _CHANNELS_PER_SWEEP - 1)])
        if not names:
            await self._ask([("ZREM", self._keys.ended_leases, holder)])
            return []
        channels = [name.decode() for name in names]
        crossings = await self._evict(holder, channels)
        self._claimed = holder
        return crossings

    async def _evict(self, holder: str, channels: Sequence[str]) -> Sequence[Crossing]:
        calls = []
        users = _USERS_PER_SWEEP // len(channels)
        for channel in channels:
            keys, cursor = self._keys_of(channel, holder), self._cursors.get(channel, b"0")
            calls.append(_EVICT.call(keys, cursor, users, _SHUT_OUT_MS))
        crossings: list[Crossing] = []
        done = []
        for channel, (cursor, left) in zip(channels, await self._run(_EVICT, calls), strict=True):
            crossings += [Crossing(channel, user.decode(), False) for user in left]
            if cursor:
                self._cursors[channel] = cursor
            else:
                self._cursors.pop(channel, None)
                done.append(channel)
        if done:
            try:
                await self._ask([("ZREM", self._keys.holdings(holder), *done)])
            except Unavailable:
                # What has been taken out must still be told; the next sweep finds these empty.
                logger.warning("channels of %s will be looked at once more", holder)
        return crossings

    async def headcount(self, channel: str) -> Headcount:
        (found,) = await self._headcounts([channel])
        return found

    async def members(self, channel: str, limit: int, after: str = "") -> MembersPage:
        redis = self._redis_of(channel)
        names = await asked(_page(redis, self._keys.member_names(channel), limit, after))
        if not names:
            return MembersPage([], "")
        counts = await asked(redis.hmget(self._keys.members(channel), names))
        users = [
            (name.decode(), int(count))
            for name, count in zip(names, counts, strict=True)
            if count  # who left between the two questions has none
        ]
        return MembersPage(users, names[-1].decode() if len(names) == limit else "")

    async def channels(self, limit: int, after: str = "") -> ChannelsPage:
        holders = await asked(self._redis.zrange(self._keys.leases, 0, -1))
        found: set[bytes] = set()
        for holder in holders:
            key = self._keys.holdings(holder.decode())
            found.update(await asked(_page(self._redis, key, limit, after)))
        names = [name.decode() for name in sorted(found)[:limit]]
        counts = await self._headcounts(names)
        # A holder's list may name channels that it has nobody on any more.
        page = [pair for pair in zip(names, counts, strict=True) if pair[1].members]
        return ChannelsPage(page, names[-1] if len(names) == limit else "")

    async def close(self) -> None:
        self._pipe.close()

    async def _headcounts(self, channels: Sequence[str]) -> list[Headcount]:
        async def read(redis: Redis, here: Sequence[str]) -> list[Any]:
            async with redis.pipeline(transaction=False) as pipeline:
                for channel in here:
                    pipeline.zcard(self._keys.member_names(channel))
                    pipeline.hget(self._keys.members(channel), "")
                answers: list[Any] = await pipeline.execute()
            return answers

        by_redis: dict[Redis, list[str]] = {}
        for channel in channels:
            by_redis.setdefault(self._redis_of(channel), []).append(channel)
        counts: dict[str, Headcount] = {}
        for redis, here in by_redis.items():
            answers = await asked(read(redis, here))
            for channel, members, sum in zip(here, answers[::2], answers[1::2], strict=True):
                counts[channel] = Headcount(members, int(sum or 0))
        return [counts[channel] for channel in channels]

    def _keys_of(self, channel: str, holder: str) -> list[str]:
        keys = self._keys
        return [keys.members(channel), keys.member_names(channel), keys.held(channel, holder)]

    async def _prolong(self, new: Sequence[str]) -> bool:
        """Renew the lease, with these further channels; False where it is over."""
        empty = list(self._empty)
        call = self._lease_call(self._holder, 0, new, empty)
        (answer,) = await self._run(_LEASE, [call])
        if answer[0]:
            self._listed.update(new)
            self._listed.difference_update(empty)
            self._empty.clear()
        return bool(answer[0])

    def _lease_call(
        self, holder: str, begin: int, new: Sequence[str], given_up: Sequence[str]
    ) -> tuple[Any, ...]:
        keys = [self._keys.leases, self._keys.presence, self._keys.holdings(holder)]
        table = secrets.token_hex(8)
        channels = [*new, *given_up]
        return _LEASE.call(keys, holder, self._lease_ms, begin, table, len(new), *channels)

    async def _run(self, script: Script, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The answers to calls of one script; raises `Unavailable`."""
        answers = await self._ask(calls, is_checked=False)
        missing = [i for i, answer in enumerate(answers) if _is_error(answer, "NOSCRIPT")]
        if missing:
            # A restarted Redis has forgotten the script, and has therefore run none of these.
            load = ("SCRIPT", "LOAD", script.text)
            _, *again = await self._ask([load, *(calls[i] for i in missing)])
            for i, answer in zip(missing, again, strict=True):
                answers[i] = answer
        return _checked(answers)

    async def _ask(self, commands: Sequence[tuple[Any, ...]], is_checked: bool = True) -> list[Any]:
        try:
            answers = await self._pipe.execute(commands)
        except (NotSent, Unanswered) as error:
            raise Unavailable(str(error)) from None
        return _checked(answers) if is_checked else answers


def _page(redis: Redis, key: str, limit: int, after: str) -> Any:
    first = f"({after}" if after else "-"
    return redis.zrange(key, first, "+", bylex=True, offset=0, num=limit)


def _checked(answers: list[Any]) -> list[Any]:
    for answer in answers:
        if isinstance(answer, hiredis.ReplyError):
            raise Unavailable(f"Redis refused: {str(answer)[:100]}")
    return answers


def _is_error(answer: Any, code: str) -> bool:
    return isinstance(answer, hiredis.ReplyError) and str(answer).startswith(code)
