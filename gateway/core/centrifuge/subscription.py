"""One channel of one client, as the hub knows it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from gateway.core.track import Gap, Resumption
from gateway.domain.errors import GatewayError
from gateway.domain.namespaces import AS_EVERYBODY, Namespace
from gateway.domain.principal import Principal
from gateway.protocols.centrifuge.results import ClientInfo

if TYPE_CHECKING:
    from gateway.core.centrifuge.client import Client
    from gateway.core.centrifuge.deltas import ChannelDeltas
    from gateway.core.centrifuge.wire import ClientWire


class Wishes(NamedTuple):
    """What a client asks for where nothing forces it on everybody."""

    positioned: bool = False
    recoverable: bool = False
    join_leave: bool = False


class Subscription:
    """``write`` belongs to the socket, as that of a plain session does.

    ``ends_at`` is the second of the wheel's clock by which its token has to be renewed; 0: never.
    ``opened_for`` is the client's principal with what a subscription token added to it.
    ``override`` and ``wishes`` are settled before it is opened.
    """

    __slots__ = (
        "channel",
        "client",
        "deltas",
        "ends_at",
        "info",
        "is_attending",
        "is_server_side",
        "on_resume",
        "opened_for",
        "override",
        "wishes",
        "write",
    )

    def __init__(self, client: "Client", channel: str, *, is_server_side: bool = False) -> None:
        self.client = client
        self.channel = channel
        self.is_server_side = is_server_side
        self.is_attending = False
        self.info = b""
        self.ends_at = 0
        self.deltas: ChannelDeltas | None = None
        self.opened_for: Principal | None = None
        self.override = AS_EVERYBODY
        self.wishes = Wishes()
        self.on_resume: Callable[[Resumption], None] | None = None
        self.write: Callable[[bytes], int | None] = nowhere

    @property
    def wire(self) -> "ClientWire":
        """Asked for when it joins; see `ChannelDeltas`."""
        plain = self.client.wire if self._hears_crossings else self.client.wire.quiet
        return plain if self.deltas is None else self.deltas.newcomers(plain)

    # What holds for it: as its namespace says, where nobody wants it otherwise.

    @property
    def namespace(self) -> Namespace:
        return self.client.clients.namespaces.of(self.channel)

    @property
    def is_counted(self) -> bool:
        """Whether it is among those who are there; the namespace may keep no list of them."""
        return self.override.presence is not False

    @property
    def tells_crossings(self) -> bool:
        override = self.override.join_leave
        return self.namespace.join_leave if override is None else override

    @property
    def _hears_crossings(self) -> bool:
        override = self.override.force_push_join_leave
        is_forced = self.namespace.force_push_join_leave if override is None else override
        return is_forced or self.wishes.join_leave

    @property
    def may_recover(self) -> bool:
        override = self.override.force_recovery
        is_forced = self.namespace.force_recovery if override is None else override
        return is_forced or self.wishes.recoverable

    @property
    def minds_gaps(self) -> bool:
        override = self.override.force_positioning
        is_forced = self.namespace.force_positioning if override is None else override
        return is_forced or self.wishes.positioned or self.may_recover

    @property
    def principal(self) -> Principal:
        return self.opened_for or self.client.principal

    @property
    def client_info(self) -> ClientInfo:
        client = self.client
        return ClientInfo(client.principal.subject, client.id, client.info, self.info)

    def write_rest(self, rest: bytes) -> None:
        self.client.socket.send_rest(rest)

    def resume(self, resumption: Resumption) -> None:
        on_resume, self.on_resume = self.on_resume, None
        if on_resume is not None:
            on_resume(resumption)

    def missed(self, gap: Gap) -> None:
        if self.minds_gaps:
            self.client.lost(self)

    def end(self, error: GatewayError) -> None:
        self.client.expel(self)


def nowhere(batch: bytes) -> None:
    """Where a batch goes that nobody can be meant to get."""
