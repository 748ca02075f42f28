"""What is agreed about channels by their namespace."""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from gateway.domain.channels import namespace_of


class SlowConsumer(StrEnum):
    """What becomes of a reader for whom more waits than its outbox holds.

    - ``disconnect``: it is closed, and may come back for what it missed;
    - ``drop_oldest``: the oldest messages go, and a gap notice stands in their place;
    - ``latest_only``: while it lags, only the newest message waits for it: for prices and
      positions, where an old value is worth nothing.
    """

    DISCONNECT = "disconnect"
    DROP_OLDEST = "drop_oldest"
    LATEST_ONLY = "latest_only"


class Namespace(NamedTuple):
    """``history_length`` is in messages; 0 keeps none. Each publish starts the seconds anew."""

    slow_consumer: SlowConsumer = SlowConsumer.DISCONNECT
    history_length: int = 100
    history_seconds: int = 300


class Namespaces:
    """The agreements by name; a namespace that is not listed is like the default one."""

    def __init__(self, default: Namespace, named: Mapping[str, Namespace]) -> None:
        self._default = default
        self._named = dict(named)

    def of(self, channel: str) -> Namespace:
        return self._named.get(namespace_of(channel), self._default)
