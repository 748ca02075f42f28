"""Listening: which channels this replica wants, and keeping a live link that delivers them."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.adapters.redis.channels.envelope import decode_payload
from gateway.adapters.redis.channels.link import Link, LinkListener, LinkLost, Payload
from gateway.adapters.redis.channels.topics import Topics
from gateway.adapters.redis.keys import Keys
from gateway.adapters.redis.places.asked import asked
from gateway.adapters.redis.places.connection import (
    Place,
    end_if_cancelled,
    greeting,
    open_connection,
)
from gateway.domain.errors import Unavailable
from gateway.domain.messages import Message
from gateway.ports.broker import Concerns, Listener, all_channels

_BACKOFF_SECONDS_MIN = 0.05
_BACKOFF_SECONDS_MAX = 2.0
_RESUBSCRIBE_SECONDS_MAX = 30.0

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Subscriber(LinkListener):
    """Owns one link at a time and what is subscribed on it."""

    def __init__(
        self,
        place: Place,
        redis: Redis,
        keys: Keys,
        *,
        replica: str,
        timeout_seconds: float,
        ping_interval_seconds: float,
        ping_timeout_seconds: float,
        data_bytes_max: int,
        concerns: Concerns = all_channels,
        part: str = "",
    ) -> None:
        """``concerns``: the channels that are on this Redis, if it is one of several.

        ``part`` keeps apart those that pass on to each other what is published: its own probes
        and signals have to come from this one.
        """
        self._place = place
        self._concerns = concerns
        self._redis = redis
        self._keys = keys
        self._replica = replica
        self._timeout_seconds = timeout_seconds
        self._ping_interval_seconds = ping_interval_seconds
        self._ping_timeout_seconds = ping_timeout_seconds
        self._data_bytes_max = data_bytes_max
        self._listener: Listener | None = None
        self._link: Link | None = None
        self._topics = Topics()
        self._unsent: list[tuple[str, str]] = []
        self._probe = keys.probe(replica) + part
        self._signals = keys.signals + part
        self._probe_came = asyncio.Event()
        self.trouble = "not connected to Redis yet"
        self.foreign_count = 0
        self.reconnect_count = 0
        self._proved_at = time.monotonic()
        self._moved = asyncio.Event()
        self._opening: asyncio.Timeout | None = None
        place.on_move(self._leave)

    async def subscribe(self, channel: str) -> None:
        """`Broker.subscribe`."""
        self.want(channel)
        if self.hears(channel):
            return
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._topics.confirmation(self._keys.topic(channel))
        except TimeoutError:
            raise Unavailable("Redis did not confirm the subscription in time") from None

    def want(self, channel: str) -> None:
        """Begin what `subscribe` waits for."""
        topic = self._keys.topic(channel)
        if self._topics.want(topic, channel):
            self._send_soon("SUBSCRIBE", topic)

    def hears(self, channel: str) -> bool:
        """Whether every message of this channel reaches this replica now."""
        return self._topics.hears(self._keys.topic(channel))

    @property
    def is_open(self) -> bool:
        """Whether there is a link; `Listener.connected` comes with the next one otherwise."""
        return self._link is not None

    @property
    def proof_age_seconds(self) -> float:
        """`BrokerState.proof_age_seconds`."""
        return time.monotonic() - self._proved_at

    def unsubscribe(self, channel: str) -> None:
        """`Broker.unsubscribe`."""
        topic = self._keys.topic(channel)
        if self._topics.channels.pop(topic, None) is not None:
            self._send_soon("UNSUBSCRIBE", topic)

    async def signal(self, data: bytes) -> int:
        """`Broker.signal`."""
        return int(await asked(self._redis.publish(self._signals, data)))

    async def run(self, listener: Listener) -> None:
        """`Broker.run`."""
        self._listener = listener
        backoff = _BACKOFF_SECONDS_MIN
        while True:
            try:
                link = await self._open()
                try:
                    await self._resubscribe(link)
                    logger.info("listening to Redis at %s", self._place)
                    listener.connected(self._concerns)
                    backoff = _BACKOFF_SECONDS_MIN
                    await self._watch(link)
                finally:
                    self._close(link)
            except (LinkLost, OSError, TimeoutError) as error:
                listener.disconnected(self._concerns)
                self.trouble = f"Redis at {self._place}: {str(error) or type(error).__name__}"
                logger.warning("%s; trying again", self.trouble)
            self.reconnect_count += 1
            # Jittered, so that replicas do not all come back to a restarted Redis at once.
            try:
                async with asyncio.timeout(backoff * random.uniform(0.5, 1)):
                    await self._moved.wait()
                backoff = _BACKOFF_SECONDS_MIN
            except TimeoutError:
                backoff = min(backoff * 2, _BACKOFF_SECONDS_MAX)

    # The link's life.

    async def _open(self) -> Link:
        async with asyncio.timeout(self._timeout_seconds) as limit:
            address = await self._place.find()
            generation = self._place.generation
            self._moved.clear()
            self._opening = limit
            try:
                link = await open_connection(address, self._make_link)
            finally:
                self._opening = None
        if generation != self._place.generation:
            link.abort()
            raise LinkLost("Redis moved meanwhile")
        for command in greeting(address, self._replica):
            link.send(*command)
        return link

    def _make_link(self) -> Link:
        return Link(self, time.monotonic)

    async def _resubscribe(self, link: Link) -> None:
        """Ask for everything that is wanted, and wait until all of it is confirmed."""
        self._link = link
        topics = [self._probe, self._signals, *self._topics.channels]
        self._topics.sent(topics)
        link.send_topics("SUBSCRIBE", topics)
        deadline = time.monotonic() + _RESUBSCRIBE_SECONDS_MAX
        while not self._topics.are_answered:
            if link.lost.done():
                raise LinkLost(link.lost.result())
            now = time.monotonic()
            if now > deadline or now - link.heard > self._timeout_seconds:
                raise LinkLost("the subscriptions were not confirmed in time")
            await asyncio.wait([link.lost], timeout=0.01)

    async def _watch(self, link: Link) -> None:
        """Prove again and again that messages still come through; raises `LinkLost`.

        A TCP connection whose peer has vanished looks healthy for many minutes.
        """
        link.lost.add_done_callback(lambda _: self._probe_came.set())
        while True:
            problem = await self._prove(link)
            end_if_cancelled()
            if problem != self.trouble:
                logger.log(logging.WARNING if problem else logging.INFO, problem or "Redis answers")
                self.trouble = problem
            if not problem:
                self._proved_at = time.monotonic()
            await asyncio.wait([link.lost], timeout=self._ping_interval_seconds)
            if link.lost.done():
                raise LinkLost(link.lost.result())

    async def _prove(self, link: Link) -> str:
        """Publish a probe, and see that it arrives; return why commands fail, or "".

        The probe goes the way of every message: out as a command, back through the link.
        """
        asked = time.monotonic()
        self._probe_came.clear()
        link.send("PING")
        problem = ""
        try:
            async with asyncio.timeout(self._ping_timeout_seconds):
                try:
                    await self._redis.publish(self._probe, self._replica)
                except (RedisError, OSError) as error:
                    problem = f"Redis at {self._place} takes no commands: {error}"
                else:
                    await self._probe_came.wait()
        except TimeoutError:
            if link.heard >= asked:
                # The link answers the ping, so it is the probe's way that is blocked.
                raise LinkLost("a probe did not come back") from None
            raise LinkLost("the connection is silent") from None
        return problem

    def _leave(self) -> None:
        self._moved.set()
        if self._link is not None:
            self._link.abort()
        elif self._opening is not None:
            # A frozen Redis lets nobody finish a TLS handshake.
            self._opening.reschedule(asyncio.get_running_loop().time())

    def _close(self, link: Link) -> None:
        link.abort()
        self._link = None
        self._topics.cut_off()
        self._unsent.clear()

    # Sending subscriptions.

    def _send_soon(self, verb: str, topic: str) -> None:
        """Send with everything else that is asked for in this turn of the event loop."""
        if self._link is None:
            return  # the next link asks for everything that is wanted then
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unsent.append((verb, topic))
        self._topics.sent([topic])

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if self._link is None:
            return
        start = 0
        for end in range(1, len(unsent) + 1):
            if end == len(unsent) or unsent[end][0] != unsent[start][0]:
                self._link.send_topics(unsent[start][0], [topic for _, topic in unsent[start:end]])
                start = end

    # Called by the link.

    def confirmed(self, topic: str, is_subscribed: bool) -> None:
        if not self._topics.answered(topic):
            return
        if is_subscribed:
            self._topics.confirm(topic)
        else:
            self._topics.ended(topic)

    def received(self, payloads: Sequence[Payload]) -> None:
        listener = self._listener
        if listener is None:
            return
        channel_of = self._topics.channels.get
        messages: list[Message] = []
        for topic, data in payloads:
            channel = channel_of(topic)
            if channel is None:
                if topic == self._probe:
                    self._probe_came.set()
                elif topic == self._signals:
                    # Behind the messages that came before it, as it was sent behind them.
                    if messages:
                        _hand_over(listener.deliver, messages)
                        messages = []
                    _hand_over(listener.signalled, data)
                continue
            try:
                messages.append(decode_payload(channel, data, self._data_bytes_max))
            except ValueError:
                self.foreign_count += 1
        if messages:
            _hand_over(listener.deliver, messages)


def _hand_over(take: Callable[[T], None], what: T) -> None:
    try:
        take(what)
    except Exception:
        # A bug behind the hub must not end the only connection that hears.
        logger.exception("what Redis sent could not be handed over")
