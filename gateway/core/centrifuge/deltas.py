"""Messages as differences from the one before, for those who asked: worked out once for all."""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from weakref import WeakValueDictionary

from gateway.core.centrifuge.wire import ClientWire
from gateway.domain.messages import Message, Position
from gateway.protocols.centrifuge import fossil
from gateway.protocols.centrifuge.results import Publication

_KNOWN_MAX, _KNOWN_BYTES_MAX = 300, 128 * 1024
# Of what one client recovers: many may come back at once, and everybody waits for each.
_NEW_MAX = 20


class ChannelDeltas:
    """One channel's, for as long as somebody wants them.

    A difference says nothing to who has not had the message before. So newcomers have a wire of
    their own until it has carried a message: that one whole, and from then on it carries the same
    frames as the wires of those who were there before.
    """

    def __init__(self) -> None:
        self._previous: bytes | None = None
        # For who comes back; the oldest first. By hashes of what they lead from and to: a broker
        # that lost messages gives their positions to others.
        self._known: OrderedDict[tuple[int, int], bytes | None] = OrderedDict()
        self._known_bytes = 0
        self._newest: dict[ClientWire, DeltaWire] = {}
        # Of the messages that are on their way to everybody now.
        self._batch: tuple[Position, Position] | None = None
        self._patches: list[bytes | None] = []
        self._frames: dict[tuple[ClientWire, bool], bytes] = {}

    def newcomers(self, plain: ClientWire) -> "DeltaWire":
        """The wire for who joins now, and without deltas would have this one."""
        wire = self._newest.get(plain)
        if wire is None or not wire.is_fresh:
            wire = self._newest[plain] = DeltaWire(self, plain)
        return wire

    def frame(self, plain: ClientWire, messages: Sequence[Message], *, is_fresh: bool) -> bytes:
        batch = messages[0].position, messages[-1].position
        if batch != self._batch:
            self._batch, self._frames = batch, {}
            self._patches = self._patches_of(messages)
        frame = self._frames.get((plain, is_fresh))
        if frame is None:
            patches = [None, *self._patches[1:]] if is_fresh else self._patches
            payload = plain.codec.deltas(messages[0].channel, messages, patches)
            frame = self._frames[plain, is_fresh] = plain.frame_of(payload)
        return frame

    def _patches_of(self, messages: Sequence[Message]) -> list[bytes | None]:
        """The way from each message to the next; None where the message itself is no longer."""
        patches: list[bytes | None] = []
        for message in messages:
            previous, self._previous = self._previous, message.data
            patches.append(None if previous is None else self._patch(previous, message.data))
        return patches

    def chained(self, publications: Sequence[Publication]) -> list[Publication]:
        """What a client recovers, each with its difference from the one before; the first whole.

        So is whatever nobody had a difference of, where that is too much to work out now.
        """
        chain = list(publications[:1])
        new = 0
        for previous, publication in pairwise(publications):
            before, data = previous.data, publication.data
            is_known = (hash(before), hash(data)) in self._known
            new += not is_known
            if is_known or new <= _NEW_MAX:
                publication = publication._replace(patch=self._patch(before, data) or b"")
            chain.append(publication)
        return chain

    def _patch(self, previous: bytes, data: bytes) -> bytes | None:
        way = hash(previous), hash(data)
        if way in self._known:
            return self._known[way]
        patch = self._known[way] = _patch(previous, data)
        self._known_bytes += len(patch or b"")
        while len(self._known) > _KNOWN_MAX or self._known_bytes > _KNOWN_BYTES_MAX:
            _, oldest = self._known.popitem(last=False)
            self._known_bytes -= len(oldest or b"")
        return patch


class DeltaWire(ClientWire):
    """How those hear a channel who joined it between the same two messages."""

    def __init__(self, deltas: ChannelDeltas, plain: ClientWire) -> None:
        super().__init__(plain.codec, plain.frame_of)
        self.tells_crossings = plain.tells_crossings
        self.is_fresh = True
        self._deltas = deltas
        self._plain = plain

    def encode(self, messages: Sequence[Message]) -> bytes:
        is_fresh, self.is_fresh = self.is_fresh, False
        return self._deltas.frame(self._plain, messages, is_fresh=is_fresh)


class Deltas:
    """Of every channel in which somebody here wants them."""

    def __init__(self) -> None:
        self._channels: WeakValueDictionary[str, ChannelDeltas] = WeakValueDictionary()

    def of(self, channel: str) -> ChannelDeltas:
        """Whoever keeps it keeps the channel's; nobody else does."""
        found = self._channels.get(channel)
        if found is None:
            found = self._channels[channel] = ChannelDeltas()
        return found

    def __len__(self) -> int:
        return len(self._channels)


def _patch(previous: bytes, data: bytes) -> bytes | None:
    patch = fossil.create(previous, data)
    try:
        patch.decode()  # one that cuts a character in two is no text, and JSON carries text
    except UnicodeDecodeError:
        return None
    return patch if len(patch) < len(data) else None
