"""Publishers and listeners on many channels of which some are to suffer and others are not."""

import contextlib
from collections.abc import AsyncIterator, Sequence

from tests.faults.support.cluster import eventually
from tests.faults.support.publishers import publishing, several
from tests.faults.support.records import Heard, Journal
from tests.faults.support.subscribers import audience, crowd
from tests.support.servers import GatewayProcess

_PER_SECOND = 150  # for each group of channels


@contextlib.asynccontextmanager
async def traffic(
    gateways: Sequence[GatewayProcess], journal: Journal, *groups: Sequence[str]
) -> AsyncIterator[None]:
    """Two listeners to every channel, and publishers of its own for each group of them.

    A publisher sends one request after the other, so one that has to wait holds up its group.
    """
    ports = [gateway.port for gateway in gateways]
    publishers = [
        publisher
        for group in groups
        for publisher in several(2, list(group), ports, journal, per_second=_PER_SECOND)
    ]
    for number, publisher in enumerate(publishers):
        publisher.name = f"publisher-{number}"
    channels = [channel for group in groups for channel in group]
    async with audience(journal, *crowd(2 * len(channels), channels, ports)) as everybody:
        async with publishing(*publishers):
            await eventually(lambda: all_heard_since(journal, 0), "everybody hears", 25)
            yield
        await everybody.until_caught_up()


def all_heard_since(journal: Journal, since: float) -> bool:
    """Whether every listener heard something that was published after that moment."""
    fresh = {a.id for a in journal.attempts if a.began >= since}
    return all(
        any(isinstance(event, Heard) and event.id in fresh for event in log.visits[-1].events)
        for log in journal.listeners
    )


def delays(journal: Journal, channels: Sequence[str]) -> list[float]:
    """For each message on these channels and each of its listeners, how long it took."""
    began = {a.id: a.began for a in journal.attempts if a.channel in channels}
    return [
        heard.time - began[heard.id]
        for log in journal.listeners
        for visit in log.visits
        for heard in visit.heard()
        if heard.id in began
    ]


def epochs_of(journal: Journal, channel: str) -> set[str]:
    """What the publishers of a channel were told."""
    return {a.place.epoch for a in journal.attempts if a.channel == channel and a.place}
