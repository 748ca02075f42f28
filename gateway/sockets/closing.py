"""Close codes of the plain endpoint (RFC 6455 section 7.4), each with a reason that says why.

A refused client is accepted first and then closed: before the accept, a browser and websocat
learn nothing but 1006.
"""

from gateway.domain.errors import (
    Crowded,
    Dismissed,
    GatewayError,
    LimitReached,
    Restarting,
    TooBig,
    Unavailable,
)

POLICY = 1008
TOO_BIG = 1009
INTERNAL = 1011
RESTART = 1012
OVERLOADED = 1013

_CODES: dict[type[GatewayError], int] = {
    TooBig: TOO_BIG,
    Unavailable: OVERLOADED,
    Crowded: OVERLOADED,
    Restarting: RESTART,
}


def closing_of(error: GatewayError) -> tuple[int, str]:
    """The close code and reason for an error."""
    if isinstance(error, Dismissed):
        return error.close_code, error.detail
    if isinstance(error, LimitReached | Unavailable):
        retry_ms = int(error.retry_after_seconds * 1000)
        code = _CODES.get(type(error), POLICY)
        return code, f"{error.detail}; retry_ms={retry_ms}"
    return _CODES.get(type(error), POLICY), error.detail
