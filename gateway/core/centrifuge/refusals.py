"""How the gateway's refusals are said in the numbers of the protocol."""

from gateway.domain.errors import (
    Crowded,
    Denied,
    ExpiredToken,
    GatewayError,
    InvalidToken,
    LimitReached,
    NotFound,
    Restarting,
    TooBig,
    Unavailable,
)
from gateway.protocols.centrifuge import codes
from gateway.protocols.centrifuge.codes import Disconnect, Error

# The first that fits counts; whatever is not listed is the client's own fault.
_ERRORS: tuple[tuple[type[GatewayError], Error], ...] = (
    (ExpiredToken, codes.TOKEN_EXPIRED),
    (InvalidToken, codes.PERMISSION_DENIED),
    (Denied, codes.PERMISSION_DENIED),
    (LimitReached, codes.TOO_MANY_REQUESTS),
    (TooBig, codes.LIMIT_EXCEEDED),
    (NotFound, codes.NOT_AVAILABLE),
    (Unavailable, codes.INTERNAL),
)
_DISCONNECTS: tuple[tuple[type[GatewayError], Disconnect], ...] = (
    (ExpiredToken, codes.EXPIRED),
    (InvalidToken, codes.INVALID_TOKEN),
    (Denied, codes.DENIED),
    (LimitReached, codes.CONNECTION_LIMIT),
    (Restarting, codes.SHUTDOWN),
    (Crowded, codes.TOO_MANY),
    (Unavailable, codes.SERVER_ERROR),
)


class Refusal(Exception):
    """A command is answered with this error."""

    def __init__(self, error: Error) -> None:
        super().__init__(error.message)
        self.error = error


class Ending(Exception):
    """The connection is closed for this reason."""

    def __init__(self, disconnect: Disconnect) -> None:
        super().__init__(disconnect.reason)
        self.disconnect = disconnect


def error_of(refusal: GatewayError) -> Error:
    for kind, error in _ERRORS:
        if isinstance(refusal, kind):
            return error
    return codes.BAD_REQUEST


def disconnect_of(refusal: GatewayError) -> Disconnect:
    for kind, disconnect in _DISCONNECTS:
        if isinstance(refusal, kind):
            return disconnect
    return codes.BAD_FRAME
