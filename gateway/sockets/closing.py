"""Close codes of the plain endpoint (RFC 6455 section 7.4), each with a reason that says why.

A refused client is accepted first and then closed: before the accept, a browser and websocat
learn nothing but 1006.
"""

from collections.abc import Mapping
from typing import Any

from gateway.domain.errors import GatewayError, LimitReached, TooBig, Unavailable

STOPPING = "stopping"  # the name under which the lifespan state carries what a stop begins with

POLICY = 1008
TOO_BIG = 1009
INTERNAL = 1011
RESTART = 1012
OVERLOADED = 1013

_CODES: dict[type[GatewayError], int] = {
    TooBig: TOO_BIG,
    Unavailable: OVERLOADED,
}


def closing_of(error: GatewayError) -> tuple[int, str]:
    """The close code and reason for an error."""
    if isinstance(error, LimitReached | Unavailable):
        retry_ms = int(error.retry_after_seconds * 1000)
        code = _CODES.get(type(error), POLICY)
        return code, f"{error.detail}; retry_ms={retry_ms}"
    return _CODES.get(type(error), POLICY), error.detail


def note_stop(app_state: Mapping[str, Any]) -> None:
    """The server stops: whoever leaves from now on is expected to come back elsewhere.

    The server has no hook for that moment, so each connection that it shuts down says it.
    """
    begin = app_state.get(STOPPING)
    if begin is not None:
        begin()
