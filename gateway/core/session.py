"""One client of the plain protocol: who it is, what it hears and what it may say."""

import logging
from collections.abc import Callable
from typing import Protocol

from gateway.core.hub import Hub
from gateway.core.subscriber import Wire, write_whole
from gateway.core.track import Gap, Resumption, Start
from gateway.domain.errors import Denied, GatewayError, LimitReached
from gateway.domain.messages import Draft, Position
from gateway.domain.principal import Principal
from gateway.protocols.plain import Format, decode_frame, encode_notice

_REPLAY_BYTES_MAX = 524_288  # half of what may wait for a socket by default


logger = logging.getLogger(__name__)


class Socket(Protocol):
    """What a session needs of the socket that carries it."""

    def send(self, payload: bytes) -> None:
        """Send one text frame to this client alone; never wait."""

    def send_rest(self, rest: bytes) -> None:
        """Take the end of a batch that the session's ``write`` did not take; never wait."""

    def refuse(self, error: GatewayError) -> None:
        """Close with the code and the reason that stand for this error."""


class SessionWire(Wire, Protocol):
    """A wire that has words for what a plain client is told about its channel."""

    def caught_up(self, channel: str, position: Position) -> bytes:
        """The notice that what comes now is live; empty where the format has no notices."""


class Session:
    """Holds a subscription for as long as its socket lives.

    ``write`` takes a batch of what the wire encoded. The socket sets it, and replaces it when
    the peer reads too slowly, so that the delivery loop needs no check per socket. On a fast
    socket it is the kernel's ``send`` itself; see `gateway.core.subscriber.Subscriber.write`.
    """

    __slots__ = ("_hub", "_socket", "channel", "format", "principal", "wire", "write")

    def __init__(
        self,
        socket: Socket,
        hub: Hub,
        principal: Principal,
        channel: str,
        format: Format,
        wire: SessionWire,
        write: Callable[[bytes], int | None],
    ) -> None:
        self._socket = socket
        self._hub = hub
        self.principal = principal
        self.channel = channel
        self.format = format
        self.wire = wire
        self.write = write

    def join_if_held(self) -> bool:
        """`Hub.subscribe_if_held` for this session."""
        return self._hub.subscribe_if_held(self.principal, self, self.channel)

    async def join(self, start: Start | None = None) -> None:
        """`Hub.subscribe` for this session."""
        await self._hub.subscribe(self.principal, self, self.channel, start)

    def resume(self, resumption: Resumption) -> None:
        """Write what was missed, and then that what follows is live."""
        messages, gap, position = resumption
        wire, channel = self.wire, self.channel
        batch = wire.encode(messages) if messages else b""
        if len(batch) > _REPLAY_BYTES_MAX:
            # Whoever is that far behind gets as much of the newest as a socket can take.
            first = messages[0].position
            while len(batch) > _REPLAY_BYTES_MAX and len(messages) > 1:
                messages = messages[(len(messages) + 1) // 2 :]
                batch = wire.encode(messages)
            since = gap.after if gap else Position(first.epoch, first.offset - 1)
            gap = Gap(since, messages[0].position)
        notice = wire.gap(channel, gap) if gap else b""
        write_whole(self, notice + batch + wire.caught_up(channel, position))

    def write_rest(self, rest: bytes) -> None:
        self._socket.send_rest(rest)

    def missed(self, gap: Gap) -> None:
        """The notice is all that a plain client is told."""

    def leave(self) -> None:
        self._hub.unsubscribe_all(self)

    async def receive(self, *texts: str) -> None:
        """Publish a client's text frames in their order, or tell the client why not.

        What arrived together is published together: one round trip instead of one each.
        """
        drafts: list[Draft] = []
        for text in texts:
            try:
                drafts.append(Draft(self.channel, decode_frame(self.format, text)))
            except GatewayError as error:
                self.reply_error(error)
        if drafts:
            await self._publish(drafts)

    async def _publish(self, drafts: list[Draft]) -> None:
        try:
            outcomes = await self._hub.publish_many(self.principal, drafts)
        except LimitReached as error:
            if len(drafts) == 1:
                self.reply_error(error)
                return
            for draft in drafts:  # too much at once; as much of it as may go goes
                await self._publish([draft])
            return
        for outcome in outcomes:
            if isinstance(outcome, GatewayError):
                self.reply_error(outcome)

    def end(self, error: GatewayError) -> None:
        """Close the socket for this reason, in whatever state the session is."""
        self._socket.refuse(error)

    def reply_error(self, error: GatewayError) -> None:
        """Say no in the client's format; where the format has no room for it, by closing."""
        if isinstance(error, Denied):
            user, channel = ascii(self.principal.subject), ascii(self.channel)
            logger.info("%s on %s was refused: %s", user, channel, error.detail)
        if self.format is Format.RAW:
            self._socket.refuse(error)
        else:
            self._socket.send(encode_notice("error", error=error.code, detail=error.detail))
