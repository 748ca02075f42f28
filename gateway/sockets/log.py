"""A line for each connection that comes, and one when it goes."""

import logging
import secrets
import time

from gateway.core.roster import Connection

ABNORMAL = 1006  # it went without a close frame; RFC 6455 section 7.1.5

logger = logging.getLogger("gateway.access")


class SocketLog:
    """Gives each connection an id, under which both of its lines stand.

    Kept here and not with the connection: where nobody wants these lines, they cost no memory.
    """

    def __init__(self) -> None:
        self._open: dict[Connection, tuple[str, float]] = {}

    def opened(self, connection: Connection, channel: str) -> None:
        id = secrets.token_hex(6)
        self._open[connection] = id, time.monotonic()
        fields = {"connection": id, "user": connection.principal.subject, "channel": channel}
        logger.info("connection opened", extra=fields)

    def closed(self, connection: Connection, channel: str, code: int | None) -> None:
        """``code`` is None for an event stream, which has none."""
        id, since = self._open.pop(connection)
        fields = {
            "connection": id,
            "user": connection.principal.subject,
            "channel": channel,
            "code": code,
            "duration_seconds": round(time.monotonic() - since, 3),
        }
        logger.info("connection closed", extra=fields)
