"""Latency at a fixed rate: how long after it was due does a message reach each socket?

Message ``n`` is due at ``started + n / rate``, and latency counts from there, not from when it
could be sent: a server that stalls would otherwise delay the questions and hide its stall.
"""

import select
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.bench.fanout import Publisher
from gateway.bench.receivers import STALL_SECONDS_MAX, Receivers

_SLOTS_PER_SECOND = 100_000
_SECONDS_MAX = 5


@dataclass
class Latencies:
    """Counts per 10 µs up to 5 s; what is later counts as 5 s, and the maximum is exact."""

    counts: list[int] = field(default_factory=lambda: [0] * (_SLOTS_PER_SECOND * _SECONDS_MAX + 1))
    max_seconds: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[min(int(seconds * _SLOTS_PER_SECOND), len(self.counts) - 1)] += 1
        self.max_seconds = max(self.max_seconds, seconds)

    def dump(self) -> dict[str, int]:
        return {str(slot): count for slot, count in enumerate(self.counts) if count}

    def merge(self, counts: Mapping[str, int], max_seconds: float) -> None:
        for slot, count in counts.items():
            self.counts[int(slot)] += count
        self.max_seconds = max(self.max_seconds, max_seconds)

    def percentile(self, percent: float) -> float:
        """In seconds, rounded up to the end of its slot."""
        wanted = sum(self.counts) * percent / 100
        so_far = 0
        for slot, count in enumerate(self.counts):
            so_far += count
            if count and so_far >= wanted:
                return min((slot + 1) / _SLOTS_PER_SECOND, self.max_seconds)
        return self.max_seconds


def run_at_rate(
    receivers: Receivers,
    publisher: Publisher | None,
    *,
    started: float,
    rate: float,
    messages: int,
    base: int,
) -> Latencies:
    """Receive ``messages`` after the first ``base``; one process has the publisher."""
    latencies = Latencies()
    checker = receivers.checker
    published, ended = 0, started + messages / rate + STALL_SECONDS_MAX
    while checker.done < base + messages and (now := time.monotonic()) < ended:
        due = started + published / rate
        if publisher is not None and published < messages and now >= due:
            publisher.publish(1)
            published += 1
            continue
        wait = due - now if publisher is not None and published < messages else 0.1
        # select() waits to the microsecond; epoll's own time-out is in milliseconds.
        if not select.select([receivers.epoll], [], [], wait)[0]:
            continue
        for index in receivers.ready():
            before = checker.messages(index)
            receivers.receive_one(index)
            now = time.monotonic()
            for message in range(before, checker.messages(index)):
                latencies.add(now - started - (message - base) / rate)
    receivers.receive_until(base + messages)
    return latencies
