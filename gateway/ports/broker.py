"""The promise of whatever carries messages between replicas."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from gateway.domain.errors import GatewayError
from gateway.domain.history import History, HistoryQuery
from gateway.domain.messages import Message, Publication, Receipt

Concerns: TypeAlias = Callable[[str], bool]
"""Whether something is about this channel: a broker may be cut off from some channels only."""


def all_channels(channel: str) -> bool:
    return True


class BrokerState(NamedTuple):
    """How the way of messages is, in numbers; of several ways the worst, or their sum.

    ``proof_age_seconds`` is how long ago it was last proved that messages come through, and 0
    where nothing is in between.
    """

    proof_age_seconds: float = 0.0
    reconnects: int = 0
    foreign_messages: int = 0
    waiting_messages: int = 0


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
    - the offsets of one channel rise by exactly one, and messages arrive in their order; they
      leap where messages may have been lost that nobody can name: after a restart of Redis;
    - giving the position, storing and sending are one step: a receipt means all of it;
    - an idempotency key used twice on a channel publishes once and answers the same receipt;
    - a channel keeps its last messages, as many and as long as its namespace says: a message
      with a receipt is among them at once, unless it was published as one that is not kept;
      ``tests/contracts/test_history.py`` checks these;
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
    async def forget(self, channel: str) -> None:
        """Keep nothing of what was published until now; the channel goes on counting.

        Raises `Unavailable`; then it may have been done.
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
    async def signal(self, data: bytes, near: str = "") -> int:
        """Tell every replica something that is not for clients; raises `Unavailable`.

        Returns how many replicas get it. With the name of a channel in ``near`` they get it
        behind every message that was published on that channel before.
        """

    @abstractmethod
    async def run(self, listener: Listener) -> None:
        """Hand over what arrives until cancelled; reconnect as needed."""

    @property
    @abstractmethod
    def trouble(self) -> str:
        """Why this replica cannot send and receive right now; "" while it can."""

    def trouble_of(self, channel: str) -> str:
        """The same for one channel: a broker may be cut off from some of them only."""
        return self.trouble

    @property
    def troubles(self) -> Sequence[str]:
        """All that is wrong, also where it concerns some channels only."""
        return [self.trouble] if self.trouble else []

    @property
    def state(self) -> BrokerState:
        return BrokerState()

    @abstractmethod
    async def close(self) -> None:
        """Give back connections; call it after `run` has ended."""
