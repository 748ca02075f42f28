"""One connection to Redis that listens: bytes in, messages and confirmations out."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias, cast

import hiredis

_CHANNELS_PER_COMMAND = 512

Payload: TypeAlias = tuple[str, bytes]
"""The topic, and what came on it. No class of its own: one is made for every message."""

logger = logging.getLogger(__name__)


class LinkLost(Exception):
    """The connection ended or answered with an error; the text is safe to log."""


class LinkListener:
    """What a link tells its owner; all calls are synchronous, in the order of Redis' replies."""

    def received(self, payloads: Sequence[Payload]) -> None:
        """Everything that one read brought, in order."""

    def confirmed(self, topic: str, is_subscribed: bool) -> None:
        """Redis has carried out one SUBSCRIBE or UNSUBSCRIBE of this topic."""

    def refused(self, topic: str) -> None:
        """This node of a cluster has not: the topic is not its own, or it is cut off."""

    def dropped(self, topic: str) -> None:
        """This node of a cluster ended the subscription, for the topic is another's now."""


class Link(asyncio.Protocol):
    """Reads Redis' replies with hiredis, in the protocol callback itself.

    redis-py's pub/sub costs ten times as much per message, spins the event loop after a
    kernel time-out, and never notices a peer that went silent.
    """

    _message = b"message"

    def __init__(self, listener: LinkListener, clock: Callable[[], float]) -> None:
        self._listener = listener
        self._clock = clock
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.heard = clock()

    def send(self, *command: str) -> None:
        self._transport.write(hiredis.pack_command(cast(Any, command)))

    def send_topics(self, verb: str, topics: Iterable[str]) -> None:
        """SUBSCRIBE or UNSUBSCRIBE in batches; one command of 10,000 would block Redis."""
        remaining = list(topics)
        for start in range(0, len(remaining), _CHANNELS_PER_COMMAND):
            self.send(verb, *remaining[start : start + _CHANNELS_PER_COMMAND])

    def abort(self) -> None:
        self._transport.abort()

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.heard = self._clock()
        payloads: list[Payload] = []
        next_reply, kind = self._reader.gets, self._message
        try:
            self._reader.feed(data)
            while (reply := next_reply()) is not False:
                # Nearly everything is a message; a call for each would be a tenth of its cost.
                if type(reply) is list and len(reply) == 3 and reply[0] == kind:
                    payloads.append((reply[1].decode(), reply[2]))
                else:
                    self._take(reply, payloads)
        except (hiredis.HiredisError, UnicodeDecodeError) as error:
            self._fail(f"a reply that cannot be read: {type(error).__name__}")
        if payloads:
            self._listener.received(payloads)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(str(exc) if exc else "Redis closed the connection")

    def _take(self, reply: Any, payloads: list[Payload]) -> None:
        if isinstance(reply, hiredis.ReplyError):
            self._fail(f"Redis answered: {str(reply)[:100]}")
        elif isinstance(reply, list) and len(reply) == 3:
            kind, topic, value = reply
            if kind == b"message":
                payloads.append((topic.decode(), value))
            elif topic is not None:
                self._listener.confirmed(topic.decode(), kind == b"subscribe")

    def _fail(self, why: str) -> None:
        if not self.lost.done():
            self.lost.set_result(why)
        self._transport.abort()
