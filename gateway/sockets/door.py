"""What every WebSocket door decides in the same way: who may come in, and to what."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from websockets.extensions import Extension

from gateway.core.hub import Hub
from gateway.core.roster import Roster
from gateway.core.session import Session
from gateway.core.tasks import Tasks
from gateway.core.tokens import TokenVerifier
from gateway.core.wheel import Wheel
from gateway.domain.channels import check_channel
from gateway.domain.errors import GatewayError, InvalidRequest, Unavailable
from gateway.domain.messages import Message
from gateway.domain.namespaces import Namespaces, SlowConsumer
from gateway.domain.principal import Principal
from gateway.protocols.compression import compressed_text_frame, negotiate
from gateway.protocols.credentials import SUBPROTOCOL, check_origin, find_token, subprotocols
from gateway.protocols.frames import text_frame
from gateway.protocols.plain import Format, encode_message, encode_notice
from gateway.protocols.upgrade import Upgrade
from gateway.sockets.outbox import Outbox

PATH_PREFIX = "/ws/"
_PARAMETERS = {"token", "format"}


class FrameWire:
    """Messages of one format as WebSocket frames, joined into one write."""

    def __init__(self, format: Format, frame_of: Callable[[bytes], bytes]) -> None:
        self._format = format
        self._frame_of = frame_of

    def encode(self, messages: Sequence[Message]) -> bytes:
        return b"".join(
            self._frame_of(encode_message(self._format, message)) for message in messages
        )


FRAME_WIRES = {format: FrameWire(format, text_frame) for format in Format}
COMPRESSED_WIRES = {format: FrameWire(format, compressed_text_frame) for format in Format}


class Admission(NamedTuple):
    principal: Principal
    channel: str
    format: Format


@dataclass(slots=True)
class SocketCounts:
    """Totals since the start of this replica; ``open`` and ``joining`` as of now."""

    open: int = 0
    joining: int = 0
    accepted: int = 0
    refused: int = 0
    slow_closed: int = 0
    dead_closed: int = 0


@dataclass(frozen=True, slots=True)
class Door:
    """What the doors share, and the limits they keep; see `gateway.settings` for each limit."""

    hub: Hub
    roster: Roster
    verifier: TokenVerifier
    wheel: Wheel
    tasks: Tasks
    allowed_origins: frozenset[str]
    token_in_url_allowed: bool
    namespaces: Namespaces
    compression_offered: bool
    message_bytes_max: int
    outbox_bytes_max: int
    sockets_max: int
    ping_interval_seconds: int
    ping_timeout_seconds: int
    close_timeout_seconds: int
    counts: SocketCounts = field(default_factory=SocketCounts)

    def outbox(self, channel: str) -> Outbox:
        return Outbox(self.namespaces.of(channel).slow_consumer, self.outbox_bytes_max)

    def gap_notice(self, session: Session, missing: int) -> bytes:
        """The frame that stands where messages are missing; empty where nothing is to be said."""
        policy = self.namespaces.of(session.channel).slow_consumer
        if not missing or session.format is not Format.JSON or policy is SlowConsumer.LATEST_ONLY:
            return b""
        notice = encode_notice(
            "gap", channel=session.channel, reason="slow_consumer", dropped=missing
        )
        return text_frame(notice)

    def admit(self, upgrade: Upgrade) -> Admission:
        """Decide without waiting; raises a `GatewayError` that becomes a close code.

        The channel's name is looked at before anything else is asked, and the permission to
        subscribe is left to the hub, which no door can forget to ask.
        """
        if self.counts.open + self.counts.joining >= self.sockets_max:
            raise Unavailable("this replica is full", retry_after_seconds=5)
        channel = check_channel(upgrade.path.removeprefix(PATH_PREFIX))
        query = upgrade.query
        if unknown := sorted(query.keys() - _PARAMETERS):
            raise InvalidRequest(f"unknown parameter: {unknown[0][:40]}")
        formats = query.get("format", [Format.JSON])
        if len(formats) != 1:
            raise InvalidRequest("format was given twice")
        format = Format.parse(formats[0])
        token = find_token(
            upgrade.headers,
            query,
            query_allowed=self.token_in_url_allowed,
            allowed_origins=self.allowed_origins,
        )
        return Admission(self.verifier.verify(token), channel, format)

    def compression(self, upgrade: Upgrade) -> tuple[str, Extension] | None:
        """What `negotiate` agrees on, where compression is turned on and the client offers it."""
        offers = upgrade.headers.get("sec-websocket-extensions")
        return negotiate(offers) if offers and self.compression_offered else None

    def origin_refusal(self, upgrade: Upgrade) -> GatewayError | None:
        """Why this page may not connect; answered in HTTP: a foreign page learns nothing more."""
        try:
            check_origin(upgrade.headers, self.allowed_origins, required=False)
        except GatewayError as refusal:
            return refusal
        return None


def chosen_subprotocol(upgrade: Upgrade) -> str | None:
    """Only the word ``bearer`` is echoed, never the token that was offered beside it.

    It must be echoed: Chromium drops a connection whose server chose none of its offers.
    """
    return SUBPROTOCOL if SUBPROTOCOL in subprotocols(upgrade.headers) else None
