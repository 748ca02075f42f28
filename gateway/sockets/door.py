"""What every door of listeners decides in the same way: who may come in, and to what."""

import logging
import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from weakref import WeakSet

from websockets.extensions import Extension

from gateway.core.addresses import Network, client_address
from gateway.core.attendance import Attendance
from gateway.core.centrifuge.client import Client
from gateway.core.centrifuge.clients import Clients
from gateway.core.drain import Drain
from gateway.core.hub import Hub
from gateway.core.session import Session
from gateway.core.tasks import Tasks
from gateway.core.tickets import TicketOffice
from gateway.core.tokens import TokenVerifier
from gateway.core.track import Start
from gateway.core.wheel import Wheel
from gateway.domain.channels import check_channel
from gateway.domain.errors import (
    Crowded,
    GatewayError,
    InvalidRequest,
    InvalidToken,
    Unavailable,
)
from gateway.domain.messages import Position
from gateway.domain.namespaces import Namespaces, SlowConsumer
from gateway.domain.principal import Principal
from gateway.protocols.compression import negotiate
from gateway.protocols.credentials import SUBPROTOCOL, check_origin, find_token, subprotocols
from gateway.protocols.frames import count_frames, last_frame
from gateway.protocols.hosts import WRONG_HOST, Hosts
from gateway.protocols.plain import Format, encode_notice
from gateway.protocols.upgrade import Upgrade
from gateway.sockets.log import ABNORMAL, SocketLog
from gateway.sockets.outbox import Outbox
from gateway.sockets.room import Room, SocketCounts

PATH_PREFIX = "/ws/"
DOOR = "door"  # the name under which the lifespan state carries the `Door`
logger = logging.getLogger(__name__)

_PARAMETERS = {"token", "ticket", "format", "since", "history"}


class Admission(NamedTuple):
    """``principal`` is None for a ticket, which `Door.redeem` turns into one."""

    principal: Principal | None
    ticket: str
    channel: str
    format: Format
    start: Start | None


@dataclass(slots=True, eq=False)
class Door:
    """What the doors share; see `gateway.settings` for each limit."""

    hub: Hub
    attendance: Attendance
    room: Room
    drain: Drain
    verifier: TokenVerifier
    tickets: TicketOffice
    check: Callable[[Principal], None]
    trouble: Callable[[], str]
    trouble_of: Callable[[str], str]
    wheel: Wheel
    tasks: Tasks
    trusted_networks: Sequence[Network]
    hosts: Hosts
    allowed_origins: Set[str]
    token_in_url_allowed: bool
    namespaces: Namespaces
    clients: Clients
    compression_offered: bool
    message_bytes_max: int
    outbox_bytes_max: int
    ping_interval_seconds: int
    ping_timeout_seconds: int
    close_timeout_seconds: int
    expiry_notice_seconds: int
    history_page_max: int
    log: SocketLog | None = None
    outboxes: WeakSet[Outbox] = field(default_factory=WeakSet)  # of those who read slowly, mostly

    @property
    def counts(self) -> SocketCounts:
        return self.room.counts

    def outbox(
        self,
        channel: str,
        count: Callable[[bytes], int] = count_frames,
        last: Callable[[bytes], bytes] = last_frame,
    ) -> Outbox:
        policy = self.namespaces.of(channel).slow_consumer
        outbox = Outbox(policy, self.outbox_bytes_max, count, last, self.counts.dropped)
        self.outboxes.add(outbox)
        return outbox

    def gap_notice(self, session: Session, missing: int) -> bytes:
        """The payload that stands where messages are missing; empty where nothing is to be said."""
        policy = self.namespaces.of(session.channel).slow_consumer
        if not missing or session.format is not Format.JSON or policy is SlowConsumer.LATEST_ONLY:
            return b""
        return encode_notice(
            "gap", channel=session.channel, reason="slow_consumer", dropped=missing
        )

    def address_of(self, peer: Any, headers: Mapping[str, str]) -> str:
        """Where a client comes from; ``peer`` is what the transport calls its other end."""
        if not self.room.sockets_per_address_max:
            return ""  # nobody counts them, and reading addresses costs a twentieth of a connect
        host = str(peer[0]) if isinstance(peer, tuple | list) and peer else ""
        return client_address(host, headers.get("x-forwarded-for"), self.trusted_networks)

    def admit(
        self,
        channel: str,
        query: Mapping[str, Sequence[str]],
        headers: Mapping[str, str],
        address: str,
    ) -> Admission:
        """Decide without waiting; raises a `GatewayError`, which each door says in its own words.

        Names in ``headers`` are in lower case. The channel's name is looked at before anything
        else is asked, and the permission to subscribe is left to the hub, which no door can
        forget to ask.
        """
        self.room.check()
        check_channel(channel)
        if unknown := sorted(query.keys() - _PARAMETERS):
            raise InvalidRequest(f"unknown parameter: {unknown[0][:40]}")
        formats = query.get("format", [Format.JSON])
        if len(formats) != 1:
            raise InvalidRequest("format was given twice")
        format = Format.parse(formats[0])
        start = start_of(query, self.history_page_max)
        if self.trouble() or self.trouble_of(channel):
            # Nobody would hear anything, and a token that was revoked meanwhile would pass.
            raise Unavailable("this replica has lost touch with the others", retry_after_seconds=2)
        self.room.check_address(address)
        if "ticket" in query:
            if len(query["ticket"]) != 1 or "token" in query:
                raise InvalidRequest("a ticket comes alone and once")
            return Admission(None, query["ticket"][0], channel, format, start)
        try:
            token = find_token(
                headers,
                query,
                query_allowed=self.token_in_url_allowed,
                allowed_origins=self.allowed_origins,
            )
        except InvalidToken:
            self.verifier.failures["missing"] += 1
            raise
        principal = self.verifier.verify(token.text)
        self.room.check_user(principal)
        return Admission(principal, "", channel, format, start)

    async def redeem(self, ticket: str) -> Principal:
        """The other half of `admit` for a ticket; raises a `GatewayError`."""
        principal = await self.tickets.redeem(ticket)
        self.check(principal)
        self.room.check_user(principal)
        return principal

    def enter(self, session: Session, address: str) -> None:
        """A socket goes live; `leave` has to follow."""
        self.room.enter(session, address)
        self.attendance.join(session.channel, session.principal.subject)
        if self.log is not None:
            self.log.opened(session, session.channel)

    def leave(self, session: Session, address: str, code: int | None = None) -> None:
        """``code`` is that of the close frame; None where there are none."""
        self.room.leave(session, address)
        self.attendance.leave(session.channel, session.principal.subject)
        if self.log is not None:
            self.log.closed(session, session.channel, code)

    def admit_client(self, address: str) -> None:
        """`admit` for a socket whose client says who it is, and to what it wants, later on."""
        self.room.check()
        if self.trouble():
            raise Unavailable("this replica has lost touch with the others", retry_after_seconds=2)
        self.room.check_address(address)

    def enter_client(self, client: Client, address: str) -> None:
        """It has said who it is; raises `LimitReached`, or `leave_client` has to follow."""
        self.room.check_user(client.principal)
        self.room.enter(client, address)
        if self.log is not None:
            self.log.opened(client, "")

    def leave_client(self, client: Client, address: str, code: int = ABNORMAL) -> None:
        self.room.leave(client, address)
        if self.log is not None:
            self.log.closed(client, "", code)

    def refused(self, channel: str, refusal: GatewayError) -> None:
        """Count and log it, in the words that the client gets."""
        self.room.count_refusal(refusal)
        if isinstance(refusal, Crowded):
            return  # a line for each would cost more than all the rest of it
        name, words = ascii(channel[:200]), ascii(refusal.detail)[1:-1]
        logger.info("a socket on %s was refused: %s", name, words)

    def expiry_notice(self, session: Session) -> bytes:
        """The notice that a token expires soon, as a payload; empty in formats without notices."""
        if session.format is not Format.JSON:
            return b""
        expires_at = session.principal.expires_at
        return encode_notice("expires", channel=session.channel, expires_at=expires_at)

    def compression(self, upgrade: Upgrade) -> tuple[str, Extension] | None:
        """What `negotiate` agrees on, where compression is turned on and the client offers it."""
        offers = upgrade.headers.get("sec-websocket-extensions")
        return negotiate(offers) if offers and self.compression_offered else None

    def head_refusal(self, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """Why nobody may connect in this way, as an HTTP status and its reason.

        Answered before there is a socket: a foreign page learns nothing more.
        """
        if headers.get("host", "") not in self.hosts:
            return 400, WRONG_HOST
        refusal = self.origin_refusal(headers)
        return None if refusal is None else (403, refusal.detail)

    def origin_refusal(self, headers: Mapping[str, str]) -> GatewayError | None:
        """Why this page may not connect."""
        try:
            check_origin(headers, self.allowed_origins, required=False)
        except GatewayError as refusal:
            return refusal
        return None


def start_of(query: Mapping[str, Sequence[str]], newest_max: int) -> Start | None:
    """Where a client wants to begin, from ``since`` or ``history``; raises `InvalidRequest`."""
    given = [(name, text) for name in ("since", "history") for text in query.get(name, ())]
    if not given:
        return None
    if len(given) > 1:
        raise InvalidRequest("since or history, and once")
    ((name, text),) = given
    if name == "since":
        return Start(Position.parse(text))
    if not re.fullmatch("[0-9]{1,6}", text) or not 0 < int(text) <= newest_max:
        raise InvalidRequest(f"history is a number from 1 to {newest_max}")
    return Start(None, int(text))


def channel_of(upgrade: Upgrade) -> str:
    return upgrade.path.removeprefix(PATH_PREFIX)


def chosen_subprotocol(upgrade: Upgrade) -> str | None:
    """Only the word ``bearer`` is echoed, never the token that was offered beside it.

    It must be echoed: Chromium drops a connection whose server chose none of its offers.
    """
    return SUBPROTOCOL if SUBPROTOCOL in subprotocols(upgrade.headers) else None
