"""How commands, replies and pushes are spelled; every connection has chosen one."""

from abc import abstractmethod
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Protocol

from gateway.domain.messages import Message
from gateway.protocols.centrifuge.codes import Error
from gateway.protocols.centrifuge.commands import Command, Said
from gateway.protocols.centrifuge.results import Push, Result


def protobuf_is_installed() -> bool:
    """The extra ``gateway[protobuf]``, without which there is one spelling less."""
    try:
        return find_spec("google.protobuf") is not None
    except ModuleNotFoundError:
        return False


class Codec(Protocol):
    """Everything returned is the payload of one message of the transport; never empty."""

    @abstractmethod
    def decode(self, payload: str | bytes) -> list[Command]:
        """The commands of one message, one at least; raises `BadCommand` and nothing else.

        A binary message comes as bytes, and each spelling takes one of the two.
        """

    @abstractmethod
    def said(self, body: bytes) -> Said:
        """What the body of a request to ``/emulation`` says; raises `BadCommand`."""

    @abstractmethod
    def reply(self, id: int, answer: Result | Error) -> bytes: ...

    @abstractmethod
    def push(self, channel: str, push: Push) -> bytes: ...

    @abstractmethod
    def publications(self, channel: str, messages: Sequence[Message]) -> bytes:
        """The push of messages of one channel, the same for everybody who hears them."""

    @abstractmethod
    def deltas(
        self, channel: str, messages: Sequence[Message], patches: Sequence[bytes | None]
    ) -> bytes:
        """As `publications`, for those who asked for differences; None: the message itself."""

    @abstractmethod
    def joined(self, payloads: Sequence[bytes]) -> bytes:
        """Several payloads as one."""

    @property
    @abstractmethod
    def ping(self) -> bytes: ...
