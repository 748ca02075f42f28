"""The promise of whatever carries messages between replicas."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from gateway.domain.errors import GatewayError
from gateway.domain.history import History, HistoryQuery
from gateway.domain.messages import Message, Publication, Receipt

Concerns: TypeAlias = Callable[[str], bool]
"""Whether something is about this channel: a broker may be cut off from some channels only."""


def all_channels(channel: str) -> bool:
    return True


class Listener(Protocol):
    """Who takes what arrives; nothing in it waits."""

    @abstractmethod
    def deliver(self, messages: Sequence[Message]) -> None:
        """Everything that is ready at once, in order."""

    @abstractmethod
    def signalled(self, data: bytes) -> None:
        """What a replica, perhaps this one, sent with `Broker.signal`."""

    @abstractmethod
    def connected(self, concerns: Concerns) -> None:
        """The broker listens from now on: for the first time, or again after it was cut off.

        Messages and signals of the time before may have been missed.
        """

    @abstractmethod
    def disconnected(self, concerns: Concerns) -> None:
        """It hears nothing of these channels now, and tries to; may be said more than once.

        `connected` gets an equal ``concerns``.
        """


class Broker(Protocol):
    """Carries messages between replicas and gives each its position.

    Every adapter keeps these promises; ``tests/contracts/test_broker.py`` checks them:

    - a published message reaches each replica that subscribed its channel, at most once, and
      the publishing replica gets its own messages the same way as everybody else's;
    - a replica gets nothing of channels that it did not subscribe;
    - the offsets of one channel rise by exactly one, and messages arrive in their order;
    - giving the position, storing and sending are one step: a receipt means all of it;
    - an idempotency key used twice on a channel publishes once and answers the same receipt;
    - a channel keeps its last messages, as many and as long as its namespace says: a message
      with a receipt is among them at once; ``tests/contracts/test_history.py`` checks these;
    - the position outlives the messages; once it is lost, so is what is left of them, and the
      channel starts again under a new epoch;
    - a signal reaches every replica that is connected, the sender included, at most once.
    """

    @abstractmethod
    async def publish(self, publications: Sequence[Publication]) -> list[Receipt | GatewayError]:
        """Publish in this order; answer in the same order, each entry on its own.

        Entries are a `Receipt`, `KeyReused`, or `Unavailable`. Nothing is ever sent twice to
        make up for a lost answer: then the entry says that the outcome is unknown.
        """

    @abstractmethod
    async def history(self, channel: str, query: HistoryQuery) -> History:
        """What the channel keeps, and where it is, as of one moment after this call.

        Changes nothing: a channel that was never used is at `BEGINNING` before and after. Waits
        for `run`, as publishing does. Raises `Unavailable`.
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
    async def signal(self, data: bytes) -> int:
        """Tell every replica something that is not for clients; raises `Unavailable`.

        Returns how many replicas get it. They get it behind every message that was published
        before.
        """

    @abstractmethod
    async def run(self, listener: Listener) -> None:
        """Hand over what arrives until cancelled; reconnect as needed."""

    @property
    @abstractmethod
    def trouble(self) -> str:
        """Why this replica cannot send and receive right now; "" while it can."""

    @abstractmethod
    async def close(self) -> None:
        """Give back connections; call it after `run` has ended."""
