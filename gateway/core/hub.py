"""The meeting point of sessions and broker: who may, who listens, and what goes out."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from gateway.core.delivery import Delivery, Traced
from gateway.core.limits import RateLimit
from gateway.core.outages import Outages
from gateway.core.past import Past
from gateway.core.publishing import PUBLISHED, Publishing
from gateway.core.repair import Repairs
from gateway.core.subscriber import Subscriber, Wire
from gateway.core.track import Start, Track, is_behind
from gateway.domain.channels import check_channel
from gateway.domain.errors import Denied, GatewayError
from gateway.domain.history import History, HistoryQuery
from gateway.domain.messages import BEGINNING, Draft, Message, Position, Receipt
from gateway.domain.principal import Action, Permissions, Principal
from gateway.domain.subscriptions import Subscriptions
from gateway.ports.broker import Broker, Concerns

_RELEASE_TICK_SECONDS = 0.25


class Hub:
    """Coordinates; what is true stands in `Subscriptions` and in the channels' `Track`.

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
        past: Past | None = None,
        traced: Traced | None = None,
    ) -> None:
        """``traced`` is told what has been written, and to how many."""
        self._broker = broker
        self._past = past or broker
        self._permissions = permissions
        self._publishing = Publishing(
            broker, permissions, publish_rate, message_bytes_max=message_bytes_max
        )
        self._release_delay_seconds = release_delay_seconds
        self._subscriptions: Subscriptions[Wire, Subscriber] = Subscriptions()
        # Channels that the broker is listening to, and since when nobody here needs them.
        self._held: set[str] = set()
        self._idle_since: dict[str, float] = {}
        # Channels with somebody inside `_open`. They are not released even when that somebody
        # has left: the confirmation would then mark a channel as held that is not.
        self._opening: Counter[str] = Counter()
        self._tracks: dict[str, Track] = {}
        self._delivery = Delivery(self._subscriptions, traced)
        self.counts = self._delivery.counts
        self._repairs = Repairs(broker, self._tracks, self._delivery.write, self._delivery.announce)
        self._outages = Outages(self.notify, lambda: self._held)

    async def subscribe(
        self,
        principal: Principal,
        subscriber: Subscriber,
        channel: str,
        start: Start | None = None,
    ) -> None:
        """Return once every message published from now on will be written to the subscriber.

        With a ``start`` the subscriber is first told to `Subscriber.resume`, and nothing stands
        between that and what comes live: no hole, no message twice. Without one, messages may
        be written before this returns. Whoever may not see the history gets none of it, and is
        told of the gap. Raises `InvalidChannel`, `Denied` or `Unavailable`; then the subscriber
        is not subscribed.
        """
        if start is None and self.subscribe_if_held(principal, subscriber, channel):
            return
        self._permissions.require(principal, Action.SUBSCRIBE, check_channel(channel))
        is_kept_seen = start is None or self._may_see_history(principal, channel, start)
        self._opening[channel] += 1
        try:
            if start is None:
                self._subscriptions.add(subscriber, channel, subscriber.wire)
                await self._open(channel)
            else:
                await self._open(channel)
                resumption = await self._repairs.resumption(
                    channel, start, is_kept_seen=is_kept_seen
                )
                # The rules may have changed while we waited.
                self._permissions.require(principal, Action.SUBSCRIBE, channel)
                subscriber.resume(resumption)
                self._subscriptions.add(subscriber, channel, subscriber.wire)
        except BaseException:
            self._subscriptions.remove(subscriber, channel)
            raise
        finally:
            self._opening[channel] -= 1
            if not self._opening[channel]:
                del self._opening[channel]
                self._note_if_unused(channel)

    def _may_see_history(self, principal: Principal, channel: str, start: Start) -> bool:
        right = self._permissions.decide(principal, Action.SEE_HISTORY, channel)
        if start.since is None and start.newest and not right.allowed:
            raise Denied(right.reason)  # it asked for nothing else
        return right.allowed

    async def _open(self, channel: str) -> None:
        if channel not in self._tracks:
            # Read before the broker listens: so the first message can be seen to be missing.
            top = (await self._broker.history(channel, HistoryQuery(None, 0))).top
            self._tracks.setdefault(channel, Track(top))
        if channel not in self._held:
            await self._broker.subscribe(channel)
            self._held.add(channel)

    def _note_if_unused(self, channel: str) -> None:
        if channel in self._subscriptions:
            self._idle_since.pop(channel, None)
        elif channel in self._held:  # it left while we waited
            self._idle_since.setdefault(channel, time.monotonic())
        else:
            self._tracks.pop(channel, None)
            self._broker.unsubscribe(channel)

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

    def handed_count(self, channel: str, position: Position) -> int:
        """To how many sockets here the message at this position has been written."""
        track = self._tracks.get(channel)
        if track is None or not is_behind(position, track.last):
            return 0
        return sum(map(len, self._subscriptions.audience(channel).values()))

    def end_denied(self) -> int:
        """Close those whom the permissions, as they are now, do not let listen; how many."""
        count = 0
        for subscriber, channel in self._subscriptions.pairs():
            right = self._permissions.decide(subscriber.principal, Action.SUBSCRIBE, channel)
            if not right.allowed:
                count += 1
                subscriber.end(Denied(right.reason))
        return count

    def listeners(self, channel: str) -> list[Subscriber]:
        """`Delivery.listeners`."""
        return self._delivery.listeners(channel)

    def notify(self, channel: str, notice_of: Callable[[Wire], bytes]) -> None:
        """`Delivery.notify`."""
        self._delivery.notify(channel, notice_of)

    def audience_sizes(self) -> dict[str, int]:
        """Every channel that somebody here listens to, and how many do."""
        return self._subscriptions.sizes()

    def position(self, channel: str) -> Position:
        """Up to where this replica has delivered; `BEGINNING` for a channel nobody listens to."""
        track = self._tracks.get(channel)
        return track.last if track else BEGINNING

    async def publish(self, principal: Principal, draft: Draft) -> Receipt:
        """`Publishing.publish`."""
        return await self._publishing.publish(principal, draft)

    async def publish_many(
        self, principal: Principal, drafts: Sequence[Draft]
    ) -> list[Receipt | GatewayError]:
        """`Publishing.publish_many`."""
        return await self._publishing.publish_many(principal, drafts)

    async def history(self, principal: Principal, channel: str, query: HistoryQuery) -> History:
        """What the channel keeps, and its archive has, for whoever may see its history.

        Raises `InvalidChannel`, `Denied` or `Unavailable`.
        """
        self._permissions.require(principal, Action.SEE_HISTORY, check_channel(channel))
        return await self._past.history(channel, query)

    def deliver(self, messages: Sequence[Message]) -> None:
        """Write messages to everybody here who listens, in their order.

        Nothing waits between the broker and the sockets. Per wake-up each channel's messages
        are encoded once per wire and written once per socket: with more load the batches grow
        by themselves, and a delivery costs less than a system call. Where an offset is missing,
        the channel waits until it has been read from the history; the others go on.
        """
        self.counts.received += len(messages)
        by_channel: dict[str, list[Message]] = {}
        for message in messages:
            by_channel.setdefault(message.channel, []).append(message)
        for channel, batch in by_channel.items():
            track = self._tracks.get(channel)
            if track is None:
                continue  # nobody here listens any more
            if ready := track.take(batch):
                self._delivery.write(channel, ready)
            if track.is_parking:
                self._repairs.want(channel)

    def connected(self, concerns: Concerns) -> None:
        """The broker was cut off, or has just begun: look at the channels for what was missed."""
        self._outages.ended(concerns)
        for channel in filter(concerns, self._held):
            repaired = self._repairs.want(channel)
            repaired.add_done_callback(partial(self._outages.repaired, channel))

    def disconnected(self, concerns: Concerns) -> None:
        """Publishing fails by itself now; those who listen have to be told."""
        self._outages.began(concerns)

    async def run(self) -> None:
        """Repair channels, and release them a moment after their last subscriber has left."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._repairs.run(), name="repair")
            group.create_task(self._release(), name="release")
            group.create_task(self._outages.run(), name="outages")

    async def _release(self) -> None:
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
                self._tracks.pop(channel, None)
                self._broker.unsubscribe(channel)

    @property
    def published_count(self) -> int:
        return self._publishing.outcomes[PUBLISHED]

    @property
    def publish_outcomes(self) -> Mapping[str, int]:
        """`Publishing.outcomes`."""
        return self._publishing.outcomes

    @property
    def repaired_count(self) -> int:
        """Messages that were missing and have been read from the history."""
        return self._repairs.filled

    @property
    def subscriber_count(self) -> int:
        return self._subscriptions.subscriber_count

    @property
    def channel_count(self) -> int:
        return self._subscriptions.channel_count
