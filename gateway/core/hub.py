"""The meeting point of sessions and broker: who may, who listens, and what goes out."""

import asyncio
import logging
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.core.limits import RateLimit
from gateway.domain.channels import check_channel
from gateway.domain.errors import GatewayError, TooBig
from gateway.domain.messages import Draft, Message, Publication, Receipt
from gateway.domain.principal import Action, Permissions, Principal
from gateway.domain.subscriptions import Subscriptions
from gateway.ports.broker import Broker
from gateway.protocols.plain import payload_of

_RELEASE_TICK_SECONDS = 0.25

logger = logging.getLogger(__name__)


class Wire(Protocol):
    """How one kind of socket wants messages encoded; shared by all sockets of that kind."""

    def encode(self, messages: Sequence[Message]) -> bytes: ...


class Subscriber(Protocol):
    """What the hub needs of a session."""

    @property
    def wire(self) -> Wire: ...

    def write(self, batch: bytes, /) -> None:
        """Take what the wire encoded, or give up on the connection; never wait."""


@dataclass(slots=True)
class Counts:
    """Totals since the start of this replica."""

    published: int = 0
    received: int = 0
    delivered: int = 0
    write_failures: int = 0


class Hub:
    """Coordinates; what is true about subscriptions stands in `Subscriptions`.

    There is no lock: every decision is made without waiting, between two awaits, and the
    broker promises to carry out ``subscribe`` and ``unsubscribe`` in the order of the calls.
    """

    def __init__(
        self,
        broker: Broker,
        permissions: Permissions,
        publish_rate: RateLimit,
        *,
        message_bytes_max: int,
        release_delay_seconds: float,
    ) -> None:
        self._broker = broker
        self._permissions = permissions
        self._publish_rate = publish_rate
        self._message_bytes_max = message_bytes_max
        self._release_delay_seconds = release_delay_seconds
        self._subscriptions: Subscriptions[Wire, Subscriber] = Subscriptions()
        # Channels that the broker is listening to, and since when nobody here needs them.
        self._held: set[str] = set()
        self._idle_since: dict[str, float] = {}
        # Channels with somebody inside `Broker.subscribe`. They are not released even when that
        # somebody has left: the confirmation would then mark a channel as held that is not.
        self._opening: Counter[str] = Counter()
        self.counts = Counts()

    async def subscribe(self, principal: Principal, subscriber: Subscriber, channel: str) -> None:
        """Return once every message published from now on will be written to the subscriber.

        Messages may be written before this returns. Raises `InvalidChannel`, `Denied` or
        `Unavailable`; then the subscriber is not subscribed.
        """
        if self.subscribe_if_held(principal, subscriber, channel):
            return
        self._subscriptions.add(subscriber, channel, subscriber.wire)
        self._opening[channel] += 1
        try:
            await self._broker.subscribe(channel)
        except BaseException:
            self.unsubscribe(subscriber, channel)
            raise
        finally:
            self._opening[channel] -= 1
            if not self._opening[channel]:
                del self._opening[channel]
        self._held.add(channel)
        if channel not in self._subscriptions:  # it left while we waited
            self._idle_since.setdefault(channel, time.monotonic())

    def subscribe_if_held(self, principal: Principal, subscriber: Subscriber, channel: str) -> bool:
        """Subscribe without waiting where the broker listens already; False where it does not.

        Raises `InvalidChannel` or `Denied`.
        """
        self._permissions.require(principal, Action.SUBSCRIBE, check_channel(channel))
        if channel not in self._held:
            return False
        self._idle_since.pop(channel, None)
        self._subscriptions.add(subscriber, channel, subscriber.wire)
        return True

    def unsubscribe(self, subscriber: Subscriber, channel: str) -> None:
        # The broker keeps listening for a moment (see `run`), so that a page that reloads
        # does not cost two commands per channel.
        if self._subscriptions.remove(subscriber, channel):
            self._idle_since[channel] = time.monotonic()

    def unsubscribe_all(self, subscriber: Subscriber) -> None:
        for channel in self._subscriptions.channels_of(subscriber):
            self.unsubscribe(subscriber, channel)

    async def publish(self, principal: Principal, draft: Draft) -> Receipt:
        """Publish one message; raises what `publish_many` answers or raises."""
        (outcome,) = await self.publish_many(principal, [draft])
        if isinstance(outcome, GatewayError):
            raise outcome
        return outcome

    async def publish_many(
        self, principal: Principal, drafts: Sequence[Draft]
    ) -> list[Receipt | GatewayError]:
        """Publish in order; each entry is answered on its own, in the same order.

        Entries are a `Receipt`, or `InvalidChannel`, `Denied`, `TooBig`, `KeyReused` or
        `Unavailable`. Raises `LimitReached` for all of them.
        """
        self._publish_rate.spend(principal.subject, len(drafts))
        outcomes: dict[int, Receipt | GatewayError] = {}
        publications: list[Publication] = []
        now = time.time()
        for index, draft in enumerate(drafts):
            try:
                self._check(principal, draft)
            except GatewayError as refusal:
                outcomes[index] = refusal
            else:
                publications.append(
                    Publication(
                        channel=draft.channel,
                        data=draft.data,
                        id=secrets.token_hex(12),
                        user=principal.subject,
                        time=now,
                        idempotency_key=draft.idempotency_key,
                    )
                )
        answers = iter(await self._broker.publish(publications) if publications else ())
        result = [outcomes.get(index) or next(answers) for index in range(len(drafts))]
        self.counts.published += sum(isinstance(outcome, Receipt) for outcome in result)
        return result

    def _check(self, principal: Principal, draft: Draft) -> None:
        self._permissions.require(principal, Action.PUBLISH, check_channel(draft.channel))
        bytes_max = self._message_bytes_max
        # Encoding makes a text longer; what counts is what was said.
        if len(draft.data) > bytes_max and len(payload_of(draft.data)) > bytes_max:
            raise TooBig(f"a message has at most {bytes_max} bytes")

    def deliver(self, messages: Sequence[Message]) -> None:
        """Write messages to everybody here who listens, in their order.

        Nothing waits between the broker and the sockets. Per wake-up each channel's messages
        are encoded once per wire and written once per socket: with more load the batches grow
        by themselves, and a delivery costs less than a system call.
        """
        self.counts.received += len(messages)
        by_channel: dict[str, list[Message]] = {}
        for message in messages:
            by_channel.setdefault(message.channel, []).append(message)
        for channel, batch in by_channel.items():
            # Copies, because a write that gives up on its socket changes the audience.
            for wire, subscribers in tuple(self._subscriptions.audience(channel).items()):
                self._write_all(tuple(subscribers), wire.encode(batch))
                self.counts.delivered += len(subscribers) * len(batch)

    def _write_all(self, subscribers: tuple[Subscriber, ...], batch: bytes) -> None:
        remaining = iter(subscribers)
        while True:
            try:
                for subscriber in remaining:
                    subscriber.write(batch)
                return
            except Exception:
                # One broken socket must not cost the others their message; the iterator goes
                # on behind it, and the loop costs nothing while nobody fails.
                self.counts.write_failures += 1
                logger.exception("a socket failed while a message was written to it")

    async def run(self) -> None:
        """Release channels a moment after their last subscriber left, until cancelled."""
        while True:
            await asyncio.sleep(_RELEASE_TICK_SECONDS)
            self.release_idle(time.monotonic())

    def release_idle(self, now: float) -> None:
        for channel, since in list(self._idle_since.items()):
            if channel in self._subscriptions:
                del self._idle_since[channel]
            elif channel in self._opening:
                continue
            elif now - since >= self._release_delay_seconds:
                del self._idle_since[channel]
                self._held.discard(channel)
                self._broker.unsubscribe(channel)

    @property
    def subscriber_count(self) -> int:
        return self._subscriptions.subscriber_count

    @property
    def channel_count(self) -> int:
        return self._subscriptions.channel_count
