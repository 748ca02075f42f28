"""What the hub needs of those who listen; each kind of session is one."""

from collections.abc import Sequence
from typing import Protocol

from gateway.core.track import Gap, Resumption
from gateway.domain.errors import GatewayError
from gateway.domain.messages import Message
from gateway.domain.principal import Principal


class Wire(Protocol):
    """How one kind of socket wants messages encoded; shared by all sockets of that kind."""

    def encode(self, messages: Sequence[Message]) -> bytes: ...

    def gap(self, channel: str, gap: Gap) -> bytes:
        """The notice of a gap; empty where the format has no notices."""

    def notice(self, kind: str, **fields: object) -> bytes:
        """Any other notice; empty where the format has no notices."""


class Subscriber(Protocol):
    """One connection, whatever its protocol."""

    @property
    def wire(self) -> Wire: ...

    @property
    def principal(self) -> Principal: ...

    def end(self, error: GatewayError) -> None:
        """Close for this reason; never wait."""

    def write(self, batch: bytes, /) -> int | None:
        """Take what the wire encoded, or give up on the connection; never wait.

        It may be the kernel's own ``send``: where it returns a number below the length, or
        raises `OSError`, it did not take the rest, which belongs to `write_rest`.
        """

    def write_rest(self, rest: bytes) -> None:
        """Take what `write` did not take."""

    def missed(self, gap: Gap) -> None:
        """Messages are lost for this subscriber, and the wire's notice has said so already."""

    def resume(self, resumption: Resumption) -> None:
        """Take what comes before everything that is published from now on; never wait."""


def write_whole(subscriber: Subscriber, batch: bytes) -> None:
    """Write to one subscriber; the delivery loop of the hub does the same to many."""
    try:
        sent = subscriber.write(batch)
    except OSError:
        sent = 0
    if sent is not None and sent < len(batch):
        subscriber.write_rest(batch[sent:])
