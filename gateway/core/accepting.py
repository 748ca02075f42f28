"""Whether the system lets this process take connections at all."""

import logging
import time
from collections.abc import Callable

ACCEPTING = "accepting"  # the name under which the lifespan state carries it to the server
# The event loop tries again after a second; who fails again by then has not recovered.
_PAUSE_SECONDS = 1.5
_NOTE_SECONDS = 10.0

logger = logging.getLogger(__name__)


class Accepting:
    """Remembers when no connection could be accepted, as without a free file descriptor.

    New clients wait in the kernel's queue meanwhile; those who are here go on.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed_at = -_PAUSE_SECONDS
        self._noted_at = -_NOTE_SECONDS
        self._reason = ""
        self.pauses = 0

    def failed(self, reason: str) -> None:
        now = self._failed_at = self._clock()
        self._reason = reason
        self.pauses += 1
        if now >= self._noted_at + _NOTE_SECONDS:
            self._noted_at = now
            logger.warning(
                "no connection can be accepted: %s; trying again every second. A higher limit of "
                "open files, or a lower sockets_max, would help",
                reason,
            )

    @property
    def trouble(self) -> str:
        is_paused = self._clock() < self._failed_at + _PAUSE_SECONDS
        return f"no connection can be accepted: {self._reason}" if is_paused else ""
