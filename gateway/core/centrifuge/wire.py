"""How the messages of a channel reach all clients of one flavour: encoded once for all of them."""

import copy
from collections.abc import Callable, Iterable, Sequence

from gateway.core.subscriber import Wire
from gateway.core.track import Gap
from gateway.domain.messages import Message
from gateway.protocols.centrifuge.codec import Codec
from gateway.protocols.centrifuge.results import Push


class ClientWire(Wire):
    """What arrives together goes out in one frame.

    The notices of the plain protocol have no words here: a gap ends the subscription, which each
    `Subscription` sees to, and who joins and leaves is told by client.
    """

    def __init__(self, codec: Codec, frame_of: Callable[[bytes], bytes]) -> None:
        self.codec = codec
        self.frame_of = frame_of
        self.ping = frame_of(codec.ping)
        self.tells_crossings = True
        self._quiet: ClientWire | None = None

    @property
    def quiet(self) -> "ClientWire":
        """The same for those who do not want to hear who comes and goes."""
        if self._quiet is None:
            self._quiet = copy.copy(self)
            self._quiet.tells_crossings = False
        return self._quiet

    def encode(self, messages: Sequence[Message]) -> bytes:
        return self.frame_of(self.codec.publications(messages[0].channel, messages))

    def gap(self, channel: str, gap: Gap) -> bytes:
        return b""

    def notice(self, kind: str, **fields: object) -> bytes:
        return b""

    def pushes(self, channel: str, pushes: Iterable[Push]) -> bytes:
        codec = self.codec
        return self.frame_of(codec.joined([codec.push(channel, push) for push in pushes]))
