"""Positions and the last messages of channels, in this process."""

import secrets
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice

from gateway.domain.history import History, HistoryQuery, history_of
from gateway.domain.messages import BEGINNING, Message, Position, Publication
from gateway.domain.namespaces import Namespaces

_CHANNELS_MAX = 100_000
_BYTES_MAX = 268_435_456
_MESSAGE_BYTES = 500  # what a message weighs besides its data


@dataclass(slots=True)
class _Channel:
    epoch: str
    until: float
    offset: int = 0
    kept: deque[Message] = field(default_factory=deque)
    kept_until: float = 0.0


class MemoryHistory:
    """Keeps 100,000 channels and 256 MB of messages: beyond, the longest silent channel pays.

    Losing its messages, a channel goes on counting; losing its position, it starts again under
    a new epoch when it speaks.
    """

    def __init__(
        self,
        namespaces: Namespaces,
        *,
        position_seconds: float,
        clock: Callable[[], float],
        channels_max: int = _CHANNELS_MAX,
        bytes_max: int = _BYTES_MAX,
    ) -> None:
        self._namespaces = namespaces
        self._position_seconds = position_seconds
        self._clock = clock
        self._channels_max = channels_max
        self._bytes_max = bytes_max
        self._bytes = 0
        # The longest silent ones first; the second has those that keep messages.
        self._channels: OrderedDict[str, _Channel] = OrderedDict()
        self._keeping: OrderedDict[str, _Channel] = OrderedDict()

    def add(self, publication: Publication) -> Message:
        """Give it its position, and keep it as its namespace says."""
        now = self._clock()
        self._forget_lapsed(now)
        name, data, id, user, time, _, tags, is_kept, trace, info = publication
        channel = self._channels.get(name)
        if channel is None:
            channel = self._channels[name] = _Channel(secrets.token_hex(4), now)
        self._channels.move_to_end(name)
        channel.until = now + self._position_seconds
        channel.offset += 1
        position = Position(channel.epoch, channel.offset)
        message = Message(name, data, id, user, time, position, tags, trace, info)
        if is_kept:
            self._keep(channel, message, now)
        if len(self._channels) > self._channels_max:
            self._forget(next(iter(self._channels)))
        return message

    def read(self, channel: str, query: HistoryQuery) -> History:
        """`Broker.history`."""
        state, now = self._channels.get(channel), self._clock()
        if state is None or state.until <= now:
            top, kept = BEGINNING, deque[Message]()
        else:
            top = Position(state.epoch, state.offset)
            kept = state.kept if now < state.kept_until else deque[Message]()
        way = query if query.is_about(top.epoch) else query.from_the_start()
        return history_of(query, top, _found(way, kept))

    def forget(self, channel: str) -> None:
        """`Broker.forget`."""
        state = self._channels.get(channel)
        if state is not None:
            self._drop(state, len(state.kept))
            self._keeping.pop(channel, None)

    @property
    def bytes_kept(self) -> int:
        return self._bytes

    @property
    def channel_count(self) -> int:
        return len(self._channels)

    def _keep(self, channel: _Channel, message: Message, now: float) -> None:
        name = message.channel
        namespace = self._namespaces.of(name)
        if not namespace.history_length:
            return
        if channel.kept_until <= now:
            self._drop(channel, len(channel.kept))
        channel.kept.append(message)
        channel.kept_until = now + namespace.history_seconds
        self._bytes += _weight(message)
        self._drop(channel, len(channel.kept) - namespace.history_length)
        self._keeping[name] = channel
        self._keeping.move_to_end(name)
        while self._bytes > self._bytes_max:
            first, oldest = next(iter(self._keeping.items()))
            self._drop(oldest, 1)
            if not oldest.kept:
                del self._keeping[first]

    def _forget_lapsed(self, now: float) -> None:
        """Positions in the order in which they lapse; messages only from the front: what lapses
        earlier behind it is hidden, and goes in its turn.
        """
        while self._keeping and (first := next(iter(self._keeping.values()))).kept_until <= now:
            self._drop(first, len(first.kept))
            self._keeping.popitem(last=False)
        while self._channels and next(iter(self._channels.values())).until <= now:
            self._forget(next(iter(self._channels)))

    def _forget(self, name: str) -> None:
        channel = self._channels.pop(name, None)
        if channel is not None:
            self._drop(channel, len(channel.kept))
            self._keeping.pop(name, None)

    def _drop(self, channel: _Channel, count: int) -> None:
        for _ in range(count):
            self._bytes -= _weight(channel.kept.popleft())


def _found(query: HistoryQuery, kept: deque[Message]) -> list[Message]:
    """The first messages of the way that `history_of` describes."""
    way: Iterable[Message]
    if query.since is None:
        way = reversed(kept)
    elif query.is_reverse:
        way = (m for m in reversed(kept) if m.position.offset < query.since.offset)
    else:
        way = (m for m in kept if m.position.offset > query.since.offset)
    return list(islice(way, query.reach))


def _weight(message: Message) -> int:
    return len(message.data) + _MESSAGE_BYTES
