"""Short-lived stand-ins for a token, for clients that can only connect with an address."""

import dataclasses
import logging
import re
import secrets
import time
from collections.abc import Callable

import orjson
from pydantic import TypeAdapter

from gateway.domain.errors import InvalidToken
from gateway.domain.principal import Principal
from gateway.ports.tickets import Tickets

_BYTES = 24
_FORM = re.compile(r"[A-Za-z0-9_-]{32}")
_CLAIMS = TypeAdapter(Principal)
_NAMES = {field.name for field in dataclasses.fields(Principal)}

logger = logging.getLogger(__name__)


class TicketOffice:
    """Gives tickets for verified tokens; each admits once, on any replica, within seconds.

    A ticket in an address is harmless when it leaks, as it has been used by then. Whom it
    admits is who had the token, with the same claims, until the same moment.
    """

    def __init__(
        self,
        tickets: Tickets,
        *,
        lifetime_seconds: int = 30,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._tickets = tickets
        self.lifetime_seconds = lifetime_seconds
        self._clock = clock

    async def issue(self, principal: Principal) -> str:
        """A new ticket, 192 random bits as text; raises `Unavailable`."""
        ticket = secrets.token_urlsafe(_BYTES)
        await self._tickets.put(ticket, _CLAIMS.dump_json(principal), self.lifetime_seconds)
        return ticket

    async def redeem(self, ticket: str) -> Principal:
        """Whom it was given to; raises `InvalidToken`, `Unavailable`."""
        value = await self._tickets.take(ticket) if _FORM.fullmatch(ticket) else None
        if value is None:
            raise InvalidToken("the ticket is unknown, used or expired")
        principal = _principal_of(value)
        if principal.expires_at <= self._clock():
            raise InvalidToken("the token has expired")
        return principal


def _principal_of(value: bytes) -> Principal:
    try:
        claims = orjson.loads(value)
        if claims.keys() - _NAMES:
            # A newer replica knows a claim that we cannot heed; it might be a restriction.
            raise ValueError("claims")
        return _CLAIMS.validate_json(value)
    except (ValueError, AttributeError):
        logger.warning("a ticket's claims cannot be understood: do all replicas run one version?")
        raise InvalidToken("the ticket cannot be understood; get a new one") from None
