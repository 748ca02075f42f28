"""Telling listeners that their channels have gone silent, and that they have not any more."""

import asyncio
from collections.abc import Callable, Iterable
from functools import partial

from gateway.core.subscriber import Wire
from gateway.ports.broker import Concerns


class Outages:
    """Says it once per outage, and only of one that lasts: a link that is back at once has
    missed nothing that is not repaired, and would only alarm.

    What was lost meanwhile is announced by the repair, so ``restored`` comes behind it.
    """

    def __init__(
        self,
        notify: Callable[[str, Callable[[Wire], bytes]], None],
        channels: Callable[[], Iterable[str]],
        *,
        grace_seconds: float = 1.0,
    ) -> None:
        self._notify = notify
        self._channels = channels
        self._grace_seconds = grace_seconds
        self._cut_off: dict[Concerns, bool] = {}  # and whether that has been told
        self._told: set[str] = set()
        self._wake = asyncio.Event()

    def began(self, concerns: Concerns) -> None:
        """The broker hears nothing of these channels; to be called again does no harm."""
        if concerns not in self._cut_off:
            self._cut_off[concerns] = False
            self._wake.set()

    def ended(self, concerns: Concerns) -> None:
        """It hears them again."""
        self._cut_off.pop(concerns, None)

    def repaired(self, channel: str, _: object = None) -> None:
        """What a channel missed has been delivered, or announced."""
        if channel in self._told and not any(concerns(channel) for concerns in self._cut_off):
            self._told.discard(channel)
            self._notify(channel, lambda wire: wire.notice("restored", channel=channel))

    async def run(self) -> None:
        """Tell until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            cut_off = list(self._cut_off)
            await asyncio.sleep(self._grace_seconds)
            for concerns in cut_off:
                if self._cut_off.get(concerns) is False:
                    self._cut_off[concerns] = True
                    self._tell(concerns)

    def _tell(self, concerns: Concerns) -> None:
        self._told.intersection_update(self._channels())
        for channel in filter(concerns, tuple(self._channels())):
            if channel not in self._told:
                self._told.add(channel)
                self._notify(channel, partial(_degraded, channel))


def _degraded(channel: str, wire: Wire) -> bytes:
    why = "messages are late until Redis is back"
    return wire.notice("degraded", channel=channel, reason=why)
