"""One connection of the protocol: what it may say when, and what time does to it.

It knows no socket but through `Socket`, waits for nothing by itself, and is the same behind
every door.
"""

import logging
import math
import random
import time
import uuid
from enum import Enum

from gateway.core.centrifuge.clients import CONNECT_SECONDS, EXPIRY_GRACE_SECONDS, Clients
from gateway.core.centrifuge.emulation import Entrance
from gateway.core.centrifuge.pings import Pings
from gateway.core.centrifuge.refusals import disconnect_of
from gateway.core.centrifuge.socket import Socket
from gateway.core.centrifuge.subscription import Subscription, nowhere
from gateway.core.centrifuge.wire import ClientWire
from gateway.core.tokens import ConnectionToken
from gateway.domain.errors import Denied, GatewayError
from gateway.domain.principal import Principal
from gateway.protocols.centrifuge import codes
from gateway.protocols.centrifuge.codes import Disconnect, Error, Unsubscribe
from gateway.protocols.centrifuge.commands import (
    BadCommand,
    Command,
    Connect,
    Pong,
    Send,
)
from gateway.protocols.centrifuge.results import ClientInfo, Result

logger = logging.getLogger(__name__)


class Stage(Enum):
    NEW = "it has not said who it is"
    LIVE = "it has"
    REFUSED = "it was refused, and may not say anything any more"
    GONE = "its socket is closed, or about to be"


class Client:
    __slots__ = (
        "_ends",
        "_ping_due",
        "_pinged",
        "clients",
        "entrance",
        "id",
        "info",
        "pings",
        "principal",
        "socket",
        "stage",
        "subscriptions",
        "wire",
    )

    principal: Principal
    is_one_way = False
    """Whether it says who it is and to what it listens, and nothing more."""

    def __init__(
        self,
        clients: Clients,
        socket: Socket,
        wire: ClientWire,
        *,
        pings: Pings = Pings.ANSWERED,
        entrance: Entrance | None = None,
    ) -> None:
        """``entrance`` is where it says what it says, where its socket goes one way only."""
        self.clients = clients
        self.socket = socket
        self.wire = wire
        self.pings = pings
        self.entrance = entrance
        self.id = ""
        self.info = b""
        self.subscriptions: dict[str, Subscription] = {}
        self.stage = Stage.NEW
        # Seconds of the wheel's clock.
        self._ends = clients.wheel.now() + CONNECT_SECONDS
        self._pinged = 0  # when the ping was sent that has not been answered yet
        self._ping_due = 0

    @property
    def is_live(self) -> bool:
        return self.stage is Stage.LIVE

    @property
    def is_gone(self) -> bool:
        return self.stage is Stage.GONE

    # What arrives.

    def take(self, payload: str | bytes) -> list[Command]:
        """What has to be carried out of what the client said; the rest is done."""
        if self.stage is Stage.GONE:
            return []
        try:
            commands = self.wire.codec.decode(payload)
        except BadCommand:
            self.disconnect(codes.BAD_FRAME)
            return []
        # A pong is about this moment; behind a command that waits it would come too late.
        pongs = sum(isinstance(command, Pong) for command in commands)
        if pongs and not self._pinged:
            self.disconnect(codes.BAD_FRAME)
            return []
        if pongs:
            self._pinged = 0
        return [command for command in commands if not isinstance(command, Pong)]

    def heard(self) -> None:
        """Something came from the peer: where pings are frames, it need not be a pong."""
        self._pinged = 0

    def refuse(self, command: Command, error: Error) -> None:
        """Answer the command with an error."""
        assert not isinstance(command, Send | Pong)
        if isinstance(command, Connect):
            # Its only way on is a new connection; who does not take it is cut off.
            if self.stage is Stage.NEW:
                self.stage = Stage.REFUSED
            self._ends = self.clients.wheel.now() + CONNECT_SECONDS
            self.socket.visit()
        self.reply(command.id, error)

    def reply(self, id: int, answer: Result | Error) -> None:
        self.socket.send(self.wire.codec.reply(id, answer))

    def note_denial(self, denial: Denied) -> None:
        logger.info("%s was refused: %s", ascii(self.principal.subject), ascii(denial.detail)[1:-1])

    # What it is.

    def enter(self, token: ConnectionToken) -> None:
        """It has said who it is; raises a `GatewayError` where there is no room for it."""
        self.principal, self.info = token.principal, token.info
        self.socket.enter()
        self.id = str(uuid.uuid4())
        self._ends = self._until(token.ends_at)

    def go_live(self) -> None:
        self.stage = Stage.LIVE
        # Spread: those who come together are not pinged together.
        interval = self.clients.ping_interval_seconds
        self._ping_due = self.clients.wheel.now() + random.randint((interval + 1) // 2, interval)
        self.socket.visit()

    def renew(self, token: ConnectionToken) -> None:
        self.principal, self.info = token.principal, token.info
        self.prolong(token.ends_at)

    def prolong(self, ends_at: int) -> None:
        """Set another end, in seconds since 1970."""
        self._ends = self._until(ends_at)
        self.socket.visit()

    def _until(self, ends_at: int) -> int:
        return self.second_of(ends_at) + EXPIRY_GRACE_SECONDS

    def second_of(self, wall_second: int) -> int:
        """The second of the wheel's clock, rounded up: nothing ends before its time."""
        return math.ceil(time.monotonic() + wall_second - time.time())

    def info_in(self, channel: str) -> ClientInfo:
        """What others see of it there."""
        subscription = self.subscriptions.get(channel)
        chan_info = b"" if subscription is None else subscription.info
        return ClientInfo(self.principal.subject, self.id, self.info, chan_info)

    # What ends.

    def lost(self, subscription: Subscription) -> None:
        """Messages of this channel cannot be had any more; the client is to find its way back."""
        if subscription.is_server_side:
            self.disconnect(codes.INSUFFICIENT_STATE)
        else:
            self.unsubscribe(subscription, codes.POSITION_LOST)

    def expel(self, subscription: Subscription) -> None:
        """The rules have changed, and the client may not listen any more."""
        self.unsubscribe(subscription, codes.BY_SERVER)

    def unsubscribe(self, subscription: Subscription, why: Unsubscribe) -> None:
        """End one of its subscriptions, and say so."""
        if self.subscriptions.get(subscription.channel) is subscription:
            self.drop(subscription)
            self.socket.send(self.wire.codec.push(subscription.channel, why))

    def drop(self, subscription: Subscription) -> None:
        """End a subscription, in whatever state it is; the client hears nothing of it."""
        clients, channel = self.clients, subscription.channel
        if self.subscriptions.get(channel) is subscription:
            del self.subscriptions[channel]
        clients.hub.unsubscribe(subscription, channel)
        subscription.write = nowhere
        self.socket.forget(subscription)
        if subscription.is_attending:
            subscription.is_attending = False
            if subscription.is_counted:
                clients.attendance.leave(channel, self.principal.subject)
            if not clients.attendance.is_handing_over:  # or it is about to be back elsewhere
                clients.census.left(subscription)

    def farewell(self, why: Disconnect) -> bytes:
        """What goes out in front of the end of a WebSocket, whose close frame says why, too."""
        return b""

    def end(self, error: GatewayError) -> None:
        """Close the connection for this reason."""
        self.disconnect(disconnect_of(error))

    def disconnect(self, why: Disconnect) -> None:
        if self.stage is not Stage.GONE:
            self.socket.close(*why)

    def leave(self) -> None:
        """The socket closes; nothing may be written to it any more."""
        self.stage = Stage.GONE
        for subscription in list(self.subscriptions.values()):
            self.drop(subscription)

    # What time does.

    def tick(self, now: int) -> int:
        """Do what is due; return when to be visited next, 0 for never."""
        if self.stage is Stage.GONE:
            return 0
        if now >= self._ends:
            self.disconnect(codes.EXPIRED if self.stage is Stage.LIVE else codes.STALE)
            return 0
        if self.stage is not Stage.LIVE:
            return self._ends
        self._end_expired(now)
        timeout = self.clients.ping_timeout_seconds
        if self._pinged and self.socket.is_reading_paused:
            self._pinged = now  # its pong may be waiting: it is us who do not listen
        if self._pinged and now - self._pinged >= timeout:
            self.disconnect(codes.NO_PONG)
            return 0
        if now >= self._ping_due:
            self._ping_due = now + self.clients.ping_interval_seconds
            if self.pings is not Pings.UNANSWERED:
                self._pinged = self._pinged or now
            self.socket.ping()
        return self._next() if self.is_live else 0

    def _next(self) -> int:
        due = min(self._ends, self._ping_due)
        if self._pinged:
            due = min(due, self._pinged + self.clients.ping_timeout_seconds)
        return min([due, *(each.ends_at for each in self.subscriptions.values() if each.ends_at)])

    def _end_expired(self, now: int) -> None:
        for subscription in list(self.subscriptions.values()):
            if subscription.ends_at and now >= subscription.ends_at:
                if subscription.is_server_side:
                    self.disconnect(codes.SUBSCRIPTION_EXPIRED)
                    return
                self.unsubscribe(subscription, codes.TOKEN_RAN_OUT)
