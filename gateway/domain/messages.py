"""What travels: a publication on its way in, a message on its way out, and its position."""

import re
from typing import NamedTuple

from gateway.domain.errors import InvalidRequest

# No channel counts that far, and a number of 15 digits is the same one in every JSON reader.
_POSITION = re.compile(r"([A-Za-z0-9_\-]{1,32}):(0|[1-9][0-9]{0,14})|:0")


_TRACE = re.compile("[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class Position(NamedTuple):
    """Where a message stands in its channel.

    Offsets count 1, 2, 3 … within an epoch. When the stored state of a channel is lost, the
    count starts again under a new epoch: without it, message 4 of the new life could be taken
    for message 4 of the old one. `BEGINNING` stands before the first message of any epoch, and
    is where a channel is that was never used.
    """

    epoch: str
    offset: int

    @classmethod
    def parse(cls, text: str) -> "Position":
        """Read ``EPOCH:OFFSET``, as ``str`` writes it; raises `InvalidRequest`."""
        if not _POSITION.fullmatch(text):
            raise InvalidRequest(
                "a position is EPOCH:OFFSET as a message has them, like 5f3c9a2e:42, or :0 for "
                "the beginning"
            )
        epoch, _, offset = text.partition(":")
        return cls(epoch, int(offset))

    def __str__(self) -> str:
        return f"{self.epoch}:{self.offset}"


BEGINNING = Position("", 0)


class Draft(NamedTuple):
    """What somebody wants to publish; the hub adds who, when and an id.

    ``client`` is the connection that publishes, where the others know it by a name. ``tags``,
    ``is_kept`` and ``info`` mean what they mean in `Publication`.
    """

    channel: str
    data: bytes
    idempotency_key: str = ""
    client: str = ""
    tags: bytes = b""
    is_kept: bool = True
    trace: str = ""
    info: bytes = b""


class Publication(NamedTuple):
    """A message on its way to the broker, complete but for its position.

    ``data`` is one JSON value, encoded. ``time`` is seconds since 1970 by the clock of the
    replica that publishes. ``tags`` is an encoded JSON object of texts, or empty. One that is
    not kept has its place in the channel like any other, but is not in its history. ``trace`` is
    a ``traceparent`` where somebody follows the message, see `gateway.tracing`. ``info`` is what
    the client that publishes shows of itself, an encoded JSON object, or empty.
    """

    channel: str
    data: bytes
    id: str
    user: str
    time: float
    idempotency_key: str = ""
    tags: bytes = b""
    is_kept: bool = True
    trace: str = ""
    info: bytes = b""


def parse_trace(text: object) -> str:
    """The text where it is a ``traceparent`` (W3C Trace Context), "" for anything else."""
    return text if isinstance(text, str) and _TRACE.fullmatch(text) else ""


def message_id(unique: str, client: str) -> str:
    """The id of a message: it says which client published it, where one did."""
    return f"{client}.{unique}" if client else unique


def client_of(id: str) -> str:
    """The client that published the message of this id; "" where none did."""
    return id.rpartition(".")[0]


class Receipt(NamedTuple):
    """The proof that a publication is stored and sent.

    ``replayed`` is True when the idempotency key had been used before and nothing new was sent.
    """

    channel: str
    id: str
    position: Position
    replayed: bool = False


class Message(NamedTuple):
    """A published message, as every replica hands it to its sessions.

    The fields mean what they mean in `Publication`.
    """

    channel: str
    data: bytes
    id: str
    user: str
    time: float
    position: Position
    tags: bytes = b""
    trace: str = ""
    info: bytes = b""
