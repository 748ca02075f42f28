"""A client that says who it is and to what it listens, and from then on is only told things.

It has no library of the protocol, so nothing here wants an answer: every channel is subscribed
by the server, whatever cannot be is a reason to disconnect, and a token's end is the client's.
"""

import secrets
from typing import Final

from gateway.core.centrifuge.client import Client
from gateway.core.centrifuge.clients import Clients
from gateway.core.centrifuge.emulation import Entrance
from gateway.core.centrifuge.pings import Pings
from gateway.core.centrifuge.socket import Socket
from gateway.core.centrifuge.wire import ClientWire
from gateway.protocols.centrifuge import codes
from gateway.protocols.centrifuge.codes import Disconnect, Error
from gateway.protocols.centrifuge.commands import Command

_SESSION_BYTES = 24

# What a command would be answered with; the client learns by the number whether to come back.
_DISCONNECTS: Final = {
    codes.UNAUTHORIZED: codes.INVALID_TOKEN,
    codes.PERMISSION_DENIED: codes.DENIED,
    codes.UNKNOWN_CHANNEL: codes.DENIED,
    codes.LIMIT_EXCEEDED: codes.CHANNEL_LIMIT,
    codes.BAD_REQUEST: codes.BAD_FRAME,
    codes.TOKEN_EXPIRED: codes.EXPIRED,
    codes.TOO_MANY_REQUESTS: codes.TOO_MANY,
}


class OneWayClient(Client):
    __slots__ = ("_has_spoken",)

    is_one_way = True

    def __init__(self, clients: Clients, socket: Socket, wire: ClientWire, *, pings: Pings) -> None:
        # Nobody hears it there; it is the name by which other servers may mean this client.
        entrance = Entrance(secrets.token_urlsafe(_SESSION_BYTES), "")
        super().__init__(clients, socket, wire, pings=pings, entrance=entrance)
        self._has_spoken = False

    def take(self, payload: str | bytes) -> list[Command]:
        """Its first words count; a terminal in which somebody types goes on to listen."""
        if self._has_spoken:
            return []
        self._has_spoken = True
        return super().take(payload)

    def farewell(self, why: Disconnect) -> bytes:
        """The push that says why, as it goes over the wire."""
        return self.wire.frame_of(self.wire.codec.push("", why))

    def refuse(self, command: Command, error: Error) -> None:
        self.disconnect(_DISCONNECTS.get(error, codes.SERVER_ERROR))

    def _until(self, ends_at: int) -> int:
        """No time of grace: that is for who can bring a new token."""
        return self.second_of(ends_at)
