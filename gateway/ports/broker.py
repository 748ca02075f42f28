"""The promise of whatever carries messages between replicas."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.domain.errors import GatewayError
from gateway.domain.messages import Message, Publication, Receipt

Deliver = Callable[[Sequence[Message]], None]


class Broker(Protocol):
    """Carries messages between replicas and gives each its position.

    Every adapter keeps these promises; ``tests/contracts/test_broker.py`` checks them:

    - a published message reaches each replica that subscribed its channel, at most once, and
      the publishing replica gets its own messages the same way as everybody else's;
    - a replica gets nothing of channels that it did not subscribe;
    - the offsets of one channel rise by exactly one, and messages arrive in their order;
    - giving the position, storing and sending are one step: a receipt means all of it;
    - an idempotency key used twice on a channel publishes once and answers the same receipt.
    """

    @abstractmethod
    async def publish(self, publications: Sequence[Publication]) -> list[Receipt | GatewayError]:
        """Publish in this order; answer in the same order, each entry on its own.

        Entries are a `Receipt`, `KeyReused`, or `Unavailable`. Nothing is ever sent twice to
        make up for a lost answer: then the entry says that the outcome is unknown.
        """

    @abstractmethod
    async def subscribe(self, channel: str) -> None:
        """Return once every message published from now on will reach this replica.

        May be called for a channel that is subscribed already, also concurrently. Raises
        `Unavailable` when the confirmation does not come in time.
        """

    @abstractmethod
    def unsubscribe(self, channel: str) -> None:
        """Stop; takes effect in order with calls of `subscribe` before and after it."""

    @abstractmethod
    async def run(self, deliver: Deliver) -> None:
        """Hand arriving messages to ``deliver`` until cancelled; reconnect as needed.

        ``deliver`` gets everything that is ready at once, in order, and never waits.
        """

    @property
    @abstractmethod
    def trouble(self) -> str:
        """Why this replica cannot send and receive right now; "" while it can."""

    @abstractmethod
    async def close(self) -> None:
        """Give back connections; call it after `run` has ended."""
