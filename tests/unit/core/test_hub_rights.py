"""What the hub does with rights that are taken away, and with a history one may not see."""

import asyncio

import pytest

from gateway.adapters.memory.broker import MemoryBroker
from gateway.core.hub import Hub
from gateway.core.limits import RateLimit
from gateway.core.track import Start
from gateway.domain.errors import Denied
from gateway.domain.history import HistoryQuery
from gateway.domain.messages import Draft, Position
from gateway.domain.namespaces import Anyone, Namespace, Namespaces
from gateway.domain.principal import Permissions, Principal
from tests.unit.core.test_hub import ALICE, READER, FakeSession, FakeWire, SlowBroker

STAFF = Principal("sam", "t9", 0, 1, frozenset({"staff"}))
CLOSED = Namespaces(Namespace(), {"club": Namespace(subscribe=frozenset({"staff"}))})


def make_hub(broker: MemoryBroker, namespaces: Namespaces) -> Hub:
    return Hub(
        broker,
        Permissions(namespaces),
        RateLimit(0),
        message_bytes_max=100,
        release_delay_seconds=1.0,
    )


@pytest.fixture
def broker() -> SlowBroker:
    return SlowBroker()


async def test_those_who_lost_the_right_are_closed_and_nobody_else(broker: SlowBroker) -> None:
    namespaces = Namespaces()
    hub, wire = make_hub(broker, namespaces), FakeWire()
    sessions = [FakeSession(wire, who) for who in (READER, STAFF, READER)]
    for session, channel in zip(sessions, ["club:a", "club:a", "news"], strict=True):
        await hub.subscribe(session.principal, session, channel)
    assert hub.end_denied() == 0

    namespaces.replace(CLOSED)
    assert hub.end_denied() == 1
    ended = [session.ended for session in sessions]
    assert ended == [["role: subscribing needs one of: staff"], [], []]


async def test_rights_that_go_while_somebody_joins_are_seen(broker: SlowBroker) -> None:
    namespaces = Namespaces()
    hub = make_hub(broker, namespaces)
    plain, resuming = (FakeSession(FakeWire(), READER) for _ in range(2))
    broker.confirm.clear()
    first = asyncio.create_task(hub.subscribe(READER, plain, "club:a"))
    second = asyncio.create_task(hub.subscribe(READER, resuming, "club:b", Start(None, 5)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    namespaces.replace(CLOSED)
    hub.end_denied()
    broker.confirm.set()
    await first
    assert len(plain.ended) == 1
    with pytest.raises(Denied, match=r"^role: subscribing"):
        await second
    assert resuming.received == []
    assert hub.channel_count == 1


async def test_history_is_for_whoever_may_see_it(broker: SlowBroker) -> None:
    hidden = Namespaces(Namespace(see_history=Anyone.NOBODY))
    hub = make_hub(broker, hidden)
    with pytest.raises(Denied, match=r"^namespace: seeing history"):
        await hub.history(READER, "news", HistoryQuery(None, 5))
    session = FakeSession(FakeWire(), READER)
    with pytest.raises(Denied, match=r"^namespace: seeing history"):
        await hub.subscribe(READER, session, "news", Start(None, 5))
    assert (session.received, broker.commands) == ([], [])


@pytest.mark.parametrize("since", [0, 2])
async def test_whoever_comes_back_without_that_right_is_told_of_the_gap(
    broker: SlowBroker, since: int
) -> None:
    hub = make_hub(broker, Namespaces(Namespace(see_history=Anyone.NOBODY)))
    receipts = [await hub.publish(ALICE, Draft("news", b"%d" % number)) for number in range(3)]
    epoch = receipts[0].position.epoch
    session = FakeSession(FakeWire(), READER)
    await hub.subscribe(READER, session, "news", Start(Position(epoch, since)))
    assert session.received == [
        f"gap {epoch}:{since} to {epoch}:4".encode(),
        f"live from {Position(epoch, 3)}".encode(),
    ]


async def test_whoever_missed_nothing_is_told_of_no_gap(broker: SlowBroker) -> None:
    hub = make_hub(broker, Namespaces(Namespace(see_history=Anyone.NOBODY)))
    position = (await hub.publish(ALICE, Draft("news", b"1"))).position
    session = FakeSession(FakeWire(), READER)
    await hub.subscribe(READER, session, "news", Start(position))
    assert session.received == [f"live from {position}".encode()]
