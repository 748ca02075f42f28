"""The broker of a single replica: positions, history and keys in this process."""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.adapters.memory.history import MemoryHistory
from gateway.adapters.memory.news import MemoryNews
from gateway.domain.errors import GatewayError, KeyReused, Unavailable
from gateway.domain.history import History, HistoryQuery
from gateway.domain.messages import Message, Publication, Receipt
from gateway.domain.namespaces import Namespaces
from gateway.ports.broker import Broker, Listener, all_channels

_UNDELIVERED_MAX = 10_000
_KEYS_MAX = 100_000


@dataclass(frozen=True, slots=True)
class _Earlier:
    publication: Publication
    receipt: Receipt
    until: float


class MemoryBroker(Broker):
    """Behaves like Redis with one replica.

    Messages are handed over in batches by `run`, not inside `publish`, so that a publisher does
    not pay for the fan-out and the order is one for all. When 10,000 messages wait to be handed
    over, further ones are refused.
    """

    def __init__(
        self,
        namespaces: Namespaces | None = None,
        *,
        idempotency_seconds: float,
        position_seconds: float = 2_592_000,
        news: MemoryNews | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._namespaces = namespaces or Namespaces()
        self._idempotency_seconds = idempotency_seconds
        self._news = news
        self._clock = clock
        self._subscribed: set[str] = set()
        self._history = MemoryHistory(
            self._namespaces,
            position_seconds=position_seconds,
            clock=clock,
        )
        self._earlier: OrderedDict[tuple[str, str, str], _Earlier] = OrderedDict()
        self._undelivered: deque[Message] = deque()
        self._signals: deque[bytes] = deque(maxlen=_UNDELIVERED_MAX)
        self._wake = asyncio.Event()

    async def publish(self, publications: Sequence[Publication]) -> list[Receipt | GatewayError]:
        return [self._publish(publication) for publication in publications]

    def _publish(self, publication: Publication) -> Receipt | GatewayError:
        identity = (publication.channel, publication.user, publication.idempotency_key)
        if publication.idempotency_key:
            self._forget_old_keys()
            if earlier := self._earlier.get(identity):
                if not _is_same(earlier.publication, publication):
                    return KeyReused("this Idempotency-Key was used for another message")
                return earlier.receipt._replace(replayed=True)
        if len(self._undelivered) >= _UNDELIVERED_MAX:
            return Unavailable("too many messages are waiting to be delivered")

        message = self._history.add(publication)
        if self._news is not None and self._namespaces.of(publication.channel).archive:
            self._news.mark(publication.channel)
        receipt = Receipt(publication.channel, publication.id, message.position)
        if publication.idempotency_key:
            until = self._clock() + self._idempotency_seconds
            self._earlier[identity] = _Earlier(publication, receipt, until)
        if publication.channel in self._subscribed:
            self._undelivered.append(message)
            self._wake.set()
        return receipt

    async def history(self, channel: str, query: HistoryQuery) -> History:
        return self._history.read(channel, query)

    async def forget(self, channel: str) -> None:
        self._history.forget(channel)

    async def subscribe(self, channel: str) -> None:
        self._subscribed.add(channel)

    def unsubscribe(self, channel: str) -> None:
        self._subscribed.discard(channel)

    async def signal(self, data: bytes, near: str = "") -> int:
        self._signals.append(data)
        self._wake.set()
        return 1

    async def run(self, listener: Listener) -> None:
        listener.connected(all_channels)
        while True:
            await self._wake.wait()
            self._wake.clear()
            ready = list(self._undelivered)
            self._undelivered.clear()
            # Checked again: a channel may have been left since, and perhaps joined anew.
            listener.deliver([message for message in ready if message.channel in self._subscribed])
            while self._signals:
                listener.signalled(self._signals.popleft())

    @property
    def trouble(self) -> str:
        return ""

    async def close(self) -> None:
        """Nothing to give back."""

    def _forget_old_keys(self) -> None:
        now = self._clock()
        while self._earlier and (
            next(iter(self._earlier.values())).until <= now or len(self._earlier) >= _KEYS_MAX
        ):
            self._earlier.popitem(last=False)


def _is_same(one: Publication, other: Publication) -> bool:
    return (one.data, one.tags) == (other.data, other.tags)
