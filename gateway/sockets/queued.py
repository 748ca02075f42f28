"""A client's socket where somebody else does the sending: what waits for it, and its limit."""

import asyncio
from functools import partial

from gateway.core.centrifuge.client import Client
from gateway.core.centrifuge.subscription import Subscription
from gateway.domain.namespaces import SlowConsumer
from gateway.protocols.centrifuge import codes
from gateway.sockets.backlog import Backlog
from gateway.sockets.door import Door
from gateway.sockets.log import ABNORMAL


class QueuedSocket:
    """One connection; a coroutine of its own takes from ``_backlog`` what it sends.

    ``_wake`` is set when there is something to take, or the end has come.
    """

    due = 0
    is_reading_paused = False
    _client: Client

    def __init__(self, door: Door, address: str) -> None:
        self._door = door
        self._address = address
        self._has_entered = False
        self._closing: tuple[int, str] | None = None
        self._backlog = Backlog()
        self._wake = asyncio.Event()

    # Called by the client.

    def send(self, payload: bytes) -> None:
        if self._closing is None:
            self._put(None, self._client.wire.frame_of(payload))

    def send_rest(self, rest: bytes) -> None:
        raise AssertionError("what is put is put whole")

    def ping(self) -> None:
        if self._closing is None:
            self._put(None, self._client.wire.ping)

    def enter(self) -> None:
        self._door.enter_client(self._client, self._address)
        self._has_entered = True
        self._door.counts.joining -= 1

    def adopt(self, subscription: Subscription) -> None:
        subscription.write = partial(self._put, subscription)

    def forget(self, subscription: Subscription) -> None:
        self._backlog.forget(subscription)

    def visit(self) -> None:
        if self._closing is None:
            self._door.wheel.schedule(self, self._door.wheel.now() + 1)

    def close(self, code: int, reason: str) -> None:
        if self._closing is None:
            self._closing = code, reason
            if code == codes.SLOW.code:
                self._backlog.clear()
            # To leave is to forget, and what waits is still to be sent.
            backlog, self._backlog = self._backlog, Backlog()
            self._leave()
            self._backlog = backlog
            self._wake.set()

    def tick(self, now: int) -> int:
        """The wheel's visit."""
        return 0 if self._closing is not None else self._client.tick(now)

    def _put(self, subscription: Subscription | None, payload: bytes) -> None:
        policy = SlowConsumer.DISCONNECT
        if subscription is not None:
            policy = self._door.namespaces.of(subscription.channel).slow_consumer
            # Who reads differences needs the old one to read the new one.
            if policy is SlowConsumer.LATEST_ONLY and subscription.deltas is None:
                self.forget(subscription)
        # One payload may be larger than the limit; who has not taken the one before is slow.
        is_behind = len(self._backlog) > 0
        self._backlog.put(subscription, payload)
        self._wake.set()
        if not is_behind or self._backlog.waiting_bytes <= self._door.outbox_bytes_max:
            return
        if subscription is None or policy is SlowConsumer.DISCONNECT:
            self._door.counts.slow_closed += 1
            self._client.disconnect(codes.SLOW)
        else:
            self._client.lost(subscription)

    def _leave(self) -> None:
        client = self._client
        if client.is_gone:
            return
        client.leave()
        if self._has_entered:
            code = self._closing[0] if self._closing else ABNORMAL
            self._door.leave_client(client, self._address, code)
        else:
            self._door.counts.joining -= 1
