"""What publishers and listeners write down, for the oracle to judge.

All times are those of `time.monotonic` in the process of the test.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple


class Outcome(StrEnum):
    OK = "ok"
    FAIL = "fail"  # it was certainly not published
    UNKNOWN = "unknown"  # it may have been


class Place(NamedTuple):
    """A position of a channel, as the wire tells it."""

    epoch: str
    offset: int

    @classmethod
    def parse(cls, text: str) -> "Place":
        epoch, _, offset = text.rpartition(":")
        return cls(epoch, int(offset))

    def __str__(self) -> str:
        return f"{self.epoch}:{self.offset}"


class Attempt(NamedTuple):
    """One request to publish one message; with an Idempotency-Key there may be several."""

    id: str  # unique, and in the message's data
    channel: str
    publisher: str
    began: float
    ended: float
    outcome: Outcome
    place: Place | None = None  # of the receipt
    why: str = ""  # what was answered instead


class Heard(NamedTuple):
    """A message, as a listener got it."""

    time: float
    place: Place
    id: str


class Told(NamedTuple):
    """A notice, as a listener got it."""

    time: float
    type: str
    fields: Mapping[str, Any]


@dataclass(slots=True)
class Visit:
    """One connection of a listener, from the 101 on."""

    replica: str
    asked: str  # what stood in since=, or ""
    opened: float
    events: list[Heard | Told] = field(default_factory=list)
    closed: float = math.inf
    code: int = 0  # 1006: it ended without a close frame
    reason: str = ""
    began: float = 0.0  # when it knocked

    @property
    def is_open(self) -> bool:
        return self.closed == math.inf

    def heard(self) -> list[Heard]:
        return [event for event in self.events if isinstance(event, Heard)]

    def told(self, type: str) -> list[Told]:
        return [event for event in self.events if isinstance(event, Told) and event.type == type]


class Refusal(NamedTuple):
    """A connect that did not come to a 101."""

    time: float
    replica: str
    why: str


@dataclass(slots=True)
class ListenerLog:
    name: str
    channel: str
    resumes: bool = True
    may_listen: bool = True  # or whatever it hears is a leak
    visits: list[Visit] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)


@dataclass(slots=True)
class Journal:
    """Everything that was done and seen in one test."""

    attempts: list[Attempt] = field(default_factory=list)
    listeners: list[ListenerLog] = field(default_factory=list)
