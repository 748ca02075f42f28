"""How client and server know that the other one is still there."""

from enum import Enum


class Pings(Enum):
    """What goes to and fro while nothing else does."""

    ANSWERED = "messages, which the client answers"
    UNANSWERED = "messages; the connection itself tells who is gone"
    FRAMES = "those of WebSocket, which a client's library answers by itself"
    BOTH = "messages, so that the client knows of us, and frames, so that we know of it"

    @property
    def has_frames(self) -> bool:
        return self in (Pings.FRAMES, Pings.BOTH)
