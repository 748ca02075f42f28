"""The native door of the Centrifuge protocol: many channels on one WebSocket.

As in `gateway.sockets.live`, nothing waits in here: what goes out is written straight to the
transport, what comes in and takes time is left to the `Inbox`, and time is the wheel's business.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

from uvicorn.server import ServerState
from websockets.extensions import Extension

from gateway.core.centrifuge.client import Client
from gateway.core.centrifuge.clients import CONNECT_SECONDS
from gateway.core.centrifuge.conversation import carry_out
from gateway.core.centrifuge.one_way import OneWayClient
from gateway.core.centrifuge.pings import Pings
from gateway.core.centrifuge.refusals import disconnect_of
from gateway.core.centrifuge.subscription import Subscription
from gateway.domain.errors import GatewayError
from gateway.domain.namespaces import SlowConsumer
from gateway.protocols.centrifuge import codes
from gateway.protocols.centrifuge.codes import Disconnect
from gateway.protocols.centrifuge.commands import Command
from gateway.protocols.frames import PING_FRAME, close_frame
from gateway.protocols.upgrade import Upgrade
from gateway.sockets.backlog import Backlog
from gateway.sockets.door import Door
from gateway.sockets.flavours import (
    NO_PROTOBUF,
    ONE_WAY_PATH,
    Flavour,
    flavour_of,
    json_flavour,
    pings_of,
    words_in,
)
from gateway.sockets.framed import FramedSocket
from gateway.sockets.inbox import Inbox
from gateway.sockets.log import ABNORMAL
from gateway.sockets.reader import MessageReader


class CentrifugeSocket(FramedSocket):
    """One connection, from the answer to its handshake to its end."""

    __slots__ = (
        "_backlog",
        "_client",
        "_frame_of",
        "_has_entered",
        "_reader",
        "_send",
        "_server_state",
    )

    _reader: MessageReader
    _client: Client
    _send: Callable[[bytes], int | None]
    _frame_of: Callable[[bytes], bytes]

    def __init__(self, door: Door, server_state: ServerState) -> None:
        super().__init__()
        self._door = door
        self._server_state = server_state
        self._has_entered = False
        # Made when the peer first reads too slowly.
        self._backlog: Backlog | None = None

    # Opening.

    def open(
        self,
        transport: asyncio.Transport,
        upgrade: Upgrade,
        response: bytes,
        extensions: Sequence[Extension],
    ) -> None:
        """Send the 101 that was agreed on; the transport has this object as its protocol."""
        door = self._door
        self._transport = transport
        self._server_state.connections.add(cast(Any, self))
        self._address = door.address_of(transport.get_extra_info("peername"), upgrade.headers)
        flavour = flavour_of(upgrade)
        self._speak(extensions, upgrade, flavour or json_flavour(upgrade))
        transport.write(response)
        door.counts.joining += 1
        try:
            door.admit_client(self._address)
        except GatewayError as refusal:
            door.counts.refusals[refusal.code] += 1
            self._reject(disconnect_of(refusal), refusal.detail)
        else:
            if flavour is None:
                self._reject(codes.INAPPROPRIATE_PROTOCOL, NO_PROTOBUF)
            elif words := words_in(upgrade):
                if door.token_in_url_allowed:
                    self._take(self._client.take(words))
                else:
                    self._reject(codes.DENIED, "a token in the URL is turned off here")

    def _speak(self, extensions: Sequence[Extension], upgrade: Upgrade, flavour: Flavour) -> None:
        door = self._door
        self._reader = MessageReader(door.message_bytes_max, extensions)
        self._send = self._set_out() or self._transport.write
        self._frame_of = flavour.frame_of
        wire, pings = flavour.compressed_frames if extensions else flavour.frames, pings_of(upgrade)
        kind = OneWayClient if upgrade.path == ONE_WAY_PATH else Client
        self._client = kind(door.clients, self, wire, pings=pings)
        door.wheel.schedule(self, door.wheel.now() + CONNECT_SECONDS)

    def _reject(self, why: Disconnect, detail: str) -> None:
        self._door.counts.refused += 1
        self.close(why.code, f"{why.reason}: {detail}")

    # Called by the transport and the server.

    def data_received(self, data: bytes) -> None:
        client = self._client
        if client.pings.has_frames:
            client.heard()
        incoming = self._reader.read(data)
        binaries = iter(incoming.binaries)
        for message in incoming.messages:
            if self._closing:
                break  # it may not say anything anymore
            self._take(client.take(next(binaries) if message is None else message))
        if incoming.reply and not self._closing:
            self._write_aside(incoming.reply)
        if incoming.end is not None:
            self._end(incoming.end, incoming.closing)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server_state.connections.discard(cast(Any, self))
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        self._is_paused = True
        for subscription in self._client.subscriptions.values():
            self.adopt(subscription)

    def resume_writing(self) -> None:
        self._is_paused = False
        while self._backlog and not self._is_paused:  # a write may pause us again
            self._transport.write(self._backlog.take())
        if not self._is_paused:
            for subscription in self._client.subscriptions.values():
                self.adopt(subscription)

    def shutdown(self) -> None:
        """Part of the server's stop."""
        self._client.end(self._door.drain.farewell())

    def _take(self, commands: Sequence[Command]) -> None:
        if commands and self._inbox is None:
            work = partial(carry_out, self._client)
            self._inbox = Inbox(work, self._fail, self._transport, self._door.tasks)
        for command in commands:
            assert self._inbox is not None
            self._inbox.put(command)

    def _fail(self) -> None:
        self._client.disconnect(codes.SERVER_ERROR)

    # Called by the client.

    def send(self, payload: bytes) -> None:
        if not self._closing:
            self._write_aside(self._frame_of(payload))

    def ping(self) -> None:
        client = self._client
        if client.pings.has_frames:
            self._transport.write(PING_FRAME)
        if client.pings is not Pings.FRAMES:
            self._transport.write(client.wire.ping)

    def enter(self) -> None:
        self._door.enter_client(self._client, self._address)
        self._has_entered = True
        self._door.counts.joining -= 1

    def adopt(self, subscription: Subscription) -> None:
        if self._is_paused:
            subscription.write = partial(self._write_slowly, subscription)
        else:
            subscription.write = self._send

    def forget(self, subscription: Subscription) -> None:
        if self._backlog is not None:
            self._backlog.forget(subscription)

    def visit(self) -> None:
        if not self._closing:
            self._door.wheel.schedule(self, self._door.wheel.now() + 1)

    def close(self, code: int, reason: str) -> None:
        """Say goodbye, and make sure that it ends."""
        if self._closing:
            return
        self._closing = True
        if code == codes.NO_PONG.code:
            self._door.counts.dead_closed += 1
        backlog, self._backlog = self._backlog, None
        self._leave(code)
        if self._inbox is not None:
            self._inbox.clear()  # it may not say anything anymore
        while backlog and code != codes.SLOW.code:
            self._transport.write(backlog.take())
        farewell = self._client.farewell(Disconnect(code, reason))
        self._transport.write(farewell + close_frame(code, reason))
        self._end_soon()

    # Slow readers.

    def _write_slowly(self, subscription: Subscription, batch: bytes) -> None:
        policy = self._door.namespaces.of(subscription.channel).slow_consumer
        # While it lags, an old value is worth nothing, but to who needs it to read the new one.
        if policy is SlowConsumer.LATEST_ONLY and subscription.deltas is None:
            self.forget(subscription)
        if self._backlog is None:
            self._backlog = Backlog()
        self._backlog.put(subscription, batch)
        waiting = self._backlog.waiting_bytes + self._transport.get_write_buffer_size()
        if waiting <= self._door.outbox_bytes_max:
            return
        if policy is SlowConsumer.DISCONNECT:
            self._close_slow()
        else:
            # What is thrown away must not go unnoticed: it comes back for it when it reads again.
            self._client.lost(subscription)

    def _close_slow(self) -> None:
        self._door.counts.slow_closed += 1
        self._client.disconnect(codes.SLOW)

    def _leave(self, code: int = ABNORMAL) -> None:
        client = self._client
        if client.is_gone:
            return
        client.leave()
        self._backlog = None
        if self._has_entered:
            self._door.leave_client(client, self._address, code)
        else:
            self._door.counts.joining -= 1

    def tick(self, now: int) -> int:
        """The wheel's visit."""
        if self._closing:
            self._transport.abort()
            return 0
        return self._client.tick(now) or self.due
