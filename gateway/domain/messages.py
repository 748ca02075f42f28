"""What travels: a publication on its way in, a message on its way out, and its position."""

from typing import NamedTuple


class Position(NamedTuple):
    """Where a message stands in its channel.

    Offsets count 1, 2, 3 … within an epoch. When the stored state of a channel is lost, the
    count starts again under a new epoch: without it, message 4 of the new life could be taken
    for message 4 of the old one.
    """

    epoch: str
    offset: int


class Draft(NamedTuple):
    """What somebody wants to publish; the hub adds who, when and an id."""

    channel: str
    data: bytes
    idempotency_key: str = ""


class Publication(NamedTuple):
    """A message on its way to the broker, complete but for its position.

    ``data`` is one JSON value, encoded. ``time`` is seconds since 1970 by the clock of the
    replica that publishes.
    """

    channel: str
    data: bytes
    id: str
    user: str
    time: float
    idempotency_key: str = ""


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
