"""The way out: a channel's messages and notices, written to everybody here who listens."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from gateway.core.metrics import LATENCY_SECONDS, Histogram
from gateway.core.subscriber import Subscriber, Wire
from gateway.core.track import Gap
from gateway.domain.messages import Message
from gateway.domain.subscriptions import Subscriptions

Traced: TypeAlias = Callable[[str, Sequence[Message], int], None]

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Counts:
    """Totals since the start of this replica."""

    received: int = 0
    delivered: int = 0
    bytes: int = 0  # that were written for these
    latency: Histogram = field(default_factory=lambda: Histogram(LATENCY_SECONDS))
    write_failures: int = 0
    gaps_announced: int = 0


class Delivery:
    """Encodes once per wire, and writes once per socket; nothing here waits."""

    def __init__(
        self, subscriptions: Subscriptions[Wire, Subscriber], traced: Traced | None
    ) -> None:
        """``traced`` is told what has been written, and to how many."""
        self._subscriptions = subscriptions
        self._traced = traced
        self.counts = Counts()

    def write(self, channel: str, messages: Sequence[Message]) -> int:
        """Write messages that follow each other; return how many bytes that were."""
        counts, before, everybody = self.counts, self.counts.bytes, 0
        # Copies, because a write that gives up on its socket changes the audience.
        for wire, subscribers in tuple(self._subscriptions.audience(channel).items()):
            sockets, batch = len(subscribers), wire.encode(messages)
            self._write_all(tuple(subscribers), batch)
            everybody += sockets
            counts.delivered += sockets * len(messages)
            counts.bytes += sockets * len(batch)
        # Once per batch, and of the message that waited longest. A publisher's clock that is
        # ahead of ours would make it negative.
        counts.latency.observe(max(time.time() - messages[0].time, 0.0))
        if self._traced is not None:
            self._traced(channel, messages, everybody)
        return counts.bytes - before

    def announce(self, channel: str, gap: Gap) -> None:
        """Tell everybody that messages are lost."""
        self.counts.gaps_announced += 1
        logger.warning("messages of %s are lost: %s", channel, gap)
        self.notify(channel, lambda wire: wire.gap(channel, gap))
        for subscriber in self.listeners(channel):
            subscriber.missed(gap)

    def notify(self, channel: str, notice_of: Callable[[Wire], bytes]) -> None:
        """Write a notice to everybody here who listens and whose wire has words for it."""
        for wire, subscribers in tuple(self._subscriptions.audience(channel).items()):
            if notice := notice_of(wire):
                self._write_all(tuple(subscribers), notice)

    def listeners(self, channel: str) -> list[Subscriber]:
        """Everybody here who listens; a copy."""
        return [one for group in self._subscriptions.audience(channel).values() for one in group]

    def _write_all(self, subscribers: tuple[Subscriber, ...], batch: bytes) -> None:
        size = len(batch)
        remaining = iter(subscribers)
        while True:
            try:
                for subscriber in remaining:
                    # Mostly the kernel's `send`: a method of ours around it, and what that
                    # touches in memory, would be an eighth of a delivery.
                    sent = subscriber.write(batch)
                    if sent != size and sent is not None:
                        subscriber.write_rest(batch[sent:])
                return
            except OSError:  # full, or broken: the socket knows what to do about both
                self._write_rest(subscriber, batch)
            except Exception:
                # One broken socket must not cost the others their message; the iterator goes
                # on behind it, and the loop costs nothing while nobody fails.
                self._failed()

    def _write_rest(self, subscriber: Subscriber, rest: bytes) -> None:
        try:
            subscriber.write_rest(rest)
        except Exception:
            self._failed()

    def _failed(self) -> None:
        self.counts.write_failures += 1
        logger.exception("a socket failed while a message was written to it")
