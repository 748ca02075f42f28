"""What time it is for all replicas, as far as this one can tell.

See ``docs/decisions/0022-clocks.md``.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from gateway.domain.errors import Unavailable
from gateway.ports.common_clock import CommonClock

_READ_SECONDS = 10.0
# Where the clocks are further apart, nobody can tell which is right, and a moment far in the
# future would shut a user out until then.
_BELIEVED_SECONDS_MAX = 3600.0

logger = logging.getLogger(__name__)


class CommonTime:
    """This replica's clock, and how far it is from the one that all replicas see.

    Between two looks at that one, the monotonic clock tells how it goes on; so a clock of ours
    that is set while nobody looks makes no difference. ``common`` is None for a replica that is
    alone.
    """

    def __init__(
        self,
        common: CommonClock | None,
        *,
        tolerated_seconds: float,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._common = common
        self._tolerated_seconds = tolerated_seconds
        self._clock = clock
        self._monotonic = monotonic
        self._started_at: float | None = None  # by the common clock, when the monotonic one was 0
        self._is_off = False

    @property
    def offset_seconds(self) -> float:
        """How far our clock is ahead of the common one; 0 as long as nobody knows."""
        if self._started_at is None:
            return 0.0
        return self._clock() - self._started_at - self._monotonic()

    def latest(self) -> float:
        """The later one of the two, in seconds since 1970: no replica that is right is past it."""
        behind = min(max(-self.offset_seconds, 0.0), _BELIEVED_SECONDS_MAX)
        return self._clock() + behind

    async def look(self) -> None:
        """Compare the clocks; raises `Unavailable`."""
        if self._common is None:
            return
        asked_at = self._monotonic()
        told = await self._common.time()
        self._started_at = told - (asked_at + self._monotonic()) / 2

    async def run(self) -> None:
        """Compare them again and again until cancelled, and say so when they disagree."""
        while self._common is not None:
            try:
                await self.look()
            except Unavailable as trouble:
                logger.debug("the common clock cannot be read: %s", trouble.detail)
            self._note(self.offset_seconds)
            await asyncio.sleep(_READ_SECONDS)

    def _note(self, offset: float) -> None:
        is_off = abs(offset) > self._tolerated_seconds
        if is_off and not self._is_off:
            logger.warning(
                "this replica's clock is %.0f s %s Redis': it is wrong about which tokens are "
                "valid, if Redis is right",
                *(abs(offset), "ahead of" if offset > 0 else "behind"),
            )
        elif self._is_off and not is_off:
            logger.info("this replica's clock agrees with Redis' again")
        self._is_off = is_off
