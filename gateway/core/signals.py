"""What replicas tell each other: small JSON objects that never reach a client."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from gateway.ports.broker import Broker

Handler = Callable[[dict[str, Any]], None]

logger = logging.getLogger(__name__)


class Signals:
    """Each kind of signal has one handler, and every replica handles it, the sender included.

    A signal may be lost while a replica is cut off from the others. Whoever sends one therefore
    keeps what it says where a replica can look it up when it is back.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._handlers: dict[str, Handler] = {}

    def on(self, kind: str, handler: Handler) -> None:
        if kind in self._handlers:
            raise ValueError(f"two handlers for the signal {kind!r}")
        self._handlers[kind] = handler

    async def send(self, kind: str, body: Mapping[str, Any], *, near: str = "") -> int:
        """Return how many replicas get it; raises `Unavailable`, and may have been sent then.

        It goes behind what was published before on the channel that is named with ``near``.
        """
        return await self._broker.signal(orjson.dumps({"kind": kind, **body}), near)

    def received(self, data: bytes) -> None:
        try:
            signal = orjson.loads(data)
            handler = self._handlers.get(signal.pop("kind"))
        except (ValueError, KeyError, TypeError, AttributeError):
            logger.warning("a signal that no replica writes was thrown away")
            return
        if handler is None:
            return  # a newer replica's, while a new version is rolled out
        try:
            handler(signal)
        except Exception:
            logger.exception("a signal could not be handled")
