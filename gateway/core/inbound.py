"""Where everything goes that the broker brings."""

from collections.abc import Callable, Sequence

from gateway.core.hub import Hub
from gateway.core.signals import Signals
from gateway.domain.messages import Message
from gateway.ports.broker import Concerns, Listener


class Inbound(Listener):
    """Messages go to the hub, signals to their handlers; the hooks hear of the connection."""

    def __init__(
        self, hub: Hub, signals: Signals, connected_hooks: Sequence[Callable[[], None]] = ()
    ) -> None:
        self._hub = hub
        self._signals = signals
        self._connected_hooks = connected_hooks

    def deliver(self, messages: Sequence[Message]) -> None:
        self._hub.deliver(messages)

    def signalled(self, data: bytes) -> None:
        self._signals.received(data)

    def connected(self, concerns: Concerns) -> None:
        self._hub.connected(concerns)
        for hook in self._connected_hooks:
            hook()

    def disconnected(self, concerns: Concerns) -> None:
        self._hub.disconnected(concerns)
