"""What a client needs of the socket that carries it; each door makes one."""

from typing import Protocol

from gateway.core.centrifuge.subscription import Subscription


class Socket(Protocol):
    """Nothing of it waits."""

    def send(self, payload: bytes) -> None:
        """Send one message to this client alone."""

    def send_rest(self, rest: bytes) -> None:
        """Take the end of a batch that a subscription's ``write`` did not take."""

    def ping(self) -> None: ...

    def enter(self) -> None:
        """Count the client among the others; raises a `GatewayError` where there is no room."""

    def adopt(self, subscription: Subscription) -> None:
        """Set its ``write``, now and whenever the socket's speed changes."""

    def forget(self, subscription: Subscription) -> None:
        """Nothing of this subscription may be sent any more."""

    def visit(self) -> None:
        """Something is due earlier than the last `Client.tick` said."""

    def close(self, code: int, reason: str) -> None:
        """Say goodbye and end; calls `Client.leave`."""

    @property
    def is_reading_paused(self) -> bool: ...
