"""One channel of one client, as the hub knows it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway.core.track import Gap, Resumption
from gateway.domain.errors import GatewayError
from gateway.domain.principal import Principal
from gateway.protocols.centrifuge.results import ClientInfo

if TYPE_CHECKING:
    from gateway.core.centrifuge.client import Client
    from gateway.core.centrifuge.deltas import ChannelDeltas
    from gateway.core.centrifuge.wire import ClientWire


class Subscription:
    """``write`` belongs to the socket, as that of a plain session does.

    ``ends_at`` is the second of the wheel's clock by which its token has to be renewed; 0: never.
    ``opened_for`` is the client's principal with what a subscription token added to it.
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
        self.on_resume: Callable[[Resumption], None] | None = None
        self.write: Callable[[bytes], int | None] = nowhere

    @property
    def wire(self) -> "ClientWire":
        """Asked for when it joins; see `ChannelDeltas`."""
        plain = self.client.wire
        return plain if self.deltas is None else self.deltas.newcomers(plain)

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
        self.client.lost(self)

    def end(self, error: GatewayError) -> None:
        self.client.expel(self)


def nowhere(batch: bytes) -> None:
    """Where a batch goes that nobody can be meant to get."""
