"""The numbers of the Centrifuge client protocol, each with the words that go with it.

Clients decide by the number: a disconnect below 3500 is followed by a reconnect, one from 3500
on ends the client; an unsubscribe from 2500 on is followed by a resubscribe. They look at the
number of a close frame only where it has a reason, so none is empty, and none parses as JSON.
"""

from typing import NamedTuple


class Error(NamedTuple):
    """Why a command was refused. ``temporary``: the client may try the same once more."""

    code: int
    message: str
    temporary: bool = False


INTERNAL = Error(100, "internal server error", temporary=True)
UNAUTHORIZED = Error(101, "unauthorized")
UNKNOWN_CHANNEL = Error(102, "unknown channel")
PERMISSION_DENIED = Error(103, "permission denied")
METHOD_NOT_FOUND = Error(104, "method not found")
ALREADY_SUBSCRIBED = Error(105, "already subscribed")
LIMIT_EXCEEDED = Error(106, "limit exceeded")
BAD_REQUEST = Error(107, "bad request")
NOT_AVAILABLE = Error(108, "not available")
TOKEN_EXPIRED = Error(109, "token expired")
TOO_MANY_REQUESTS = Error(111, "too many requests", temporary=True)
UNRECOVERABLE_POSITION = Error(112, "unrecoverable position")


class Disconnect(NamedTuple):
    """The code and the reason of a close frame."""

    code: int
    reason: str


SHUTDOWN = Disconnect(3001, "shutdown")
SERVER_ERROR = Disconnect(3004, "internal server error")
EXPIRED = Disconnect(3005, "connection expired")
SUBSCRIPTION_EXPIRED = Disconnect(3006, "subscription expired")
SLOW = Disconnect(3008, "slow")
INSUFFICIENT_STATE = Disconnect(3010, "insufficient state")
NO_PONG = Disconnect(3012, "no pong")
TOO_MANY = Disconnect(3013, "too many requests")
INVALID_TOKEN = Disconnect(3500, "invalid token")
BAD_FRAME = Disconnect(3501, "bad request")
STALE = Disconnect(3502, "stale")
FORCED = Disconnect(3503, "force disconnect")
CONNECTION_LIMIT = Disconnect(3504, "connection limit")
CHANNEL_LIMIT = Disconnect(3505, "channel limit")
INAPPROPRIATE_PROTOCOL = Disconnect(3506, "inappropriate protocol")
DENIED = Disconnect(3507, "permission denied")
NO_HANDLER = Disconnect(3508, "not available")


class Unsubscribe(NamedTuple):
    """Why the server ended a subscription."""

    code: int
    reason: str


BY_SERVER = Unsubscribe(2000, "server unsubscribe")
POSITION_LOST = Unsubscribe(2500, "insufficient state")
TOKEN_RAN_OUT = Unsubscribe(2501, "subscription expired")
