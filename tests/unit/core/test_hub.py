"""The hub's decisions, with a broker whose answers the test holds back or refuses."""

import asyncio
import contextlib
from collections.abc import Sequence

import pytest

from gateway.adapters.memory.broker import MemoryBroker
from gateway.core.hub import Hub
from gateway.core.limits import RateLimit
from gateway.core.subscriber import Wire
from gateway.core.track import Gap, Resumption
from gateway.domain.errors import (
    Denied,
    GatewayError,
    InvalidChannel,
    LimitReached,
    TooBig,
    Unavailable,
)
from gateway.domain.history import HistoryQuery
from gateway.domain.messages import Draft, Message, Position, Receipt
from gateway.domain.namespaces import Namespaces
from gateway.domain.principal import Action, Permissions, Principal
from gateway.ports.broker import all_channels

ALICE = Principal("alice", "t1", 0, 1, frozenset({"publisher"}))
READER = Principal("reader", "t2", 0, 1)
LIMITED = Principal("limited", "t3", 0, 1, frozenset({"publisher"}), {Action.PUBLISH: ("news.*",)})


class SlowBroker(MemoryBroker):
    """A broker behind a network: confirmations come when the test lets them."""

    def __init__(self) -> None:
        super().__init__(idempotency_seconds=60)
        self.confirm = asyncio.Event()
        self.confirm.set()
        self.fails = False
        self.commands: list[tuple[str, str]] = []

    async def subscribe(self, channel: str) -> None:
        self.commands.append(("subscribe", channel))
        await super().subscribe(channel)
        await self.confirm.wait()
        if self.fails:
            raise Unavailable("not confirmed")

    def unsubscribe(self, channel: str) -> None:
        self.commands.append(("unsubscribe", channel))
        super().unsubscribe(channel)

    @property
    def channels(self) -> set[str]:
        return set(self._subscribed)


class FakeWire:
    """Encodes readably, and counts how often it is asked."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.calls = 0

    def encode(self, messages: Sequence[Message]) -> bytes:
        self.calls += 1
        return b"|".join(self.name.encode() + message.data for message in messages)

    def gap(self, channel: str, gap: Gap) -> bytes:
        return f"gap {gap.after} to {gap.before}".encode()

    def notice(self, kind: str, **fields: object) -> bytes:
        return f"{kind} {fields}".encode()


class FakeSession:
    def __init__(self, wire: FakeWire, principal: Principal = ALICE) -> None:
        self.wire = wire
        self.principal = principal
        self.ended: list[str] = []
        self.lost: list[Gap] = []
        self.received: list[bytes] = []
        self.heard = asyncio.Event()

    def write(self, batch: bytes) -> int | None:
        self.received.append(batch)
        self.heard.set()
        return None

    def write_rest(self, rest: bytes) -> None:
        self.received.append(b"rest:" + rest)

    def end(self, error: GatewayError) -> None:
        self.ended.append(error.detail)

    def missed(self, gap: Gap) -> None:
        self.lost.append(gap)

    def resume(self, resumption: Resumption) -> None:
        if resumption.gap:
            self.received.append(self.wire.gap("", resumption.gap))
        if resumption.messages:
            self.received.append(self.wire.encode(resumption.messages))
        self.received.append(f"live from {resumption.position}".encode())


def make_hub(broker: MemoryBroker, rate: int = 0) -> Hub:
    return Hub(
        broker,
        Permissions(Namespaces()),
        RateLimit(rate),
        message_bytes_max=100,
        release_delay_seconds=1.0,
    )


@pytest.fixture
def broker() -> SlowBroker:
    return SlowBroker()


@pytest.fixture
def hub(broker: SlowBroker) -> Hub:
    return make_hub(broker)


@pytest.fixture
def wire() -> FakeWire:
    return FakeWire()


def message(channel: str, data: bytes, offset: int = 1) -> Message:
    return Message(channel, data, "id", "alice", 0.0, Position("e", offset))


async def test_the_client_is_told_only_when_the_broker_has_confirmed(
    hub: Hub, broker: SlowBroker, wire: FakeWire
) -> None:
    broker.confirm.clear()
    joining = asyncio.create_task(hub.subscribe(READER, FakeSession(wire), "room"))
    await asyncio.sleep(0)
    assert not joining.done()

    broker.confirm.set()
    await joining


async def test_only_the_first_subscriber_of_a_channel_asks_the_broker(
    hub: Hub, broker: SlowBroker, wire: FakeWire
) -> None:
    assert not hub.subscribe_if_held(READER, FakeSession(wire), "room")
    await hub.subscribe(READER, FakeSession(wire), "room")
    await hub.subscribe(READER, FakeSession(wire), "room")

    assert hub.subscribe_if_held(READER, FakeSession(wire), "room")
    assert broker.commands == [("subscribe", "room")]


async def test_a_second_subscriber_waits_for_the_confirmation_too(
    hub: Hub, broker: SlowBroker, wire: FakeWire
) -> None:
    broker.confirm.clear()
    first = asyncio.create_task(hub.subscribe(READER, FakeSession(wire), "room"))
    await asyncio.sleep(0)
    second = asyncio.create_task(hub.subscribe(READER, FakeSession(wire), "room"))
    await asyncio.sleep(0)
    assert not second.done()

    broker.confirm.set()
    await asyncio.gather(first, second)


async def test_a_channel_is_released_a_moment_after_its_last_subscriber_left(
    hub: Hub, broker: SlowBroker, wire: FakeWire
) -> None:
    session, other = FakeSession(wire), FakeSession(wire)
    await hub.subscribe(READER, session, "room")
    await hub.subscribe(READER, other, "room")
    hub.unsubscribe_all(session)
    hub.release_idle(now=float("inf"))
    assert broker.channels == {"room"}

    hub.unsubscribe_all(other)
    hub.release_idle(now=0)
    assert broker.channels == {"room"}
    hub.release_idle(now=float("inf"))
    assert broker.channels == set()


async def test_a_page_that_reloads_costs_the_broker_nothing(
    hub: Hub, broker: SlowBroker, wire: FakeWire
) -> None:
    session = FakeSession(wire)
    await hub.subscribe(READER, session, "room")
    hub.unsubscribe_all(session)
    assert hub.subscribe_if_held(READER, FakeSession(wire), "room")
    hub.release_idle(now=float("inf"))

    assert broker.commands == [("subscribe", "room")]


async def test_an_arriving_subscriber_after_the_release_is_not_deaf(
    hub: Hub, broker: SlowBroker, wire: FakeWire
) -> None:
    session = FakeSession(wire)
    await hub.subscribe(READER, session, "room")
    hub.unsubscribe_all(session)
    hub.release_idle(now=float("inf"))
    await hub.subscribe(READER, FakeSession(wire), "room")

    assert broker.channels == {"room"}


async def test_one_that_leaves_while_joining_does_not_leave_the_channel_half_held(
    hub: Hub, broker: SlowBroker, wire: FakeWire
) -> None:
    broker.confirm.clear()
    leaving = FakeSession(wire)
    joining = asyncio.create_task(hub.subscribe(READER, leaving, "room"))
    await asyncio.sleep(0)
    hub.unsubscribe_all(leaving)
    hub.release_idle(now=float("inf"))
    broker.confirm.set()
    await joining

    staying = FakeSession(wire)
    await hub.subscribe(READER, staying, "room")
    hub.deliver([message("room", b"1")])
    assert broker.channels == {"room"}
    assert staying.received == [b"1"]


async def test_a_cancelled_subscribe_leaves_nothing_behind(
    hub: Hub, broker: SlowBroker, wire: FakeWire
) -> None:
    broker.confirm.clear()
    joining = asyncio.create_task(hub.subscribe(READER, FakeSession(wire), "room"))
    await asyncio.sleep(0)
    joining.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await joining
    hub.release_idle(now=float("inf"))

    assert hub.subscriber_count == 0
    assert broker.channels == set()


async def test_a_subscription_that_was_not_confirmed_is_no_subscription(
    hub: Hub, broker: SlowBroker, wire: FakeWire
) -> None:
    broker.fails = True
    session = FakeSession(wire)
    with pytest.raises(Unavailable):
        await hub.subscribe(READER, session, "room")
    hub.deliver([message("room", b"1")])

    assert session.received == []
    assert not hub.subscribe_if_held(READER, session, "room")


async def test_a_bad_channel_name_is_refused_before_the_broker_is_asked(
    hub: Hub, broker: SlowBroker, wire: FakeWire
) -> None:
    with pytest.raises(InvalidChannel):
        await hub.subscribe(READER, FakeSession(wire), "a*")
    (outcome,) = await hub.publish_many(ALICE, [Draft("a b", b"1")])

    assert isinstance(outcome, InvalidChannel)
    assert broker.commands == []


async def test_a_subscriber_without_the_right_never_reaches_the_broker(
    hub: Hub, broker: SlowBroker, wire: FakeWire
) -> None:
    with pytest.raises(Denied):
        await hub.subscribe(READER, FakeSession(wire), "user:alice")

    assert broker.commands == []


async def test_messages_of_a_channel_are_encoded_once_per_wire(hub: Hub) -> None:
    json, text = FakeWire("j"), FakeWire("t")
    sessions = [FakeSession(wire) for wire in (json, json, json, text)]
    for session in sessions:
        await hub.subscribe(READER, session, "room")
    hub.deliver([message("room", b"1", 1), message("other", b"x"), message("room", b"2", 2)])

    assert (json.calls, text.calls) == (1, 1)
    assert [session.received for session in sessions] == [[b"j1|j2"]] * 3 + [[b"t1|t2"]]
    assert sessions[0].received[0] is sessions[1].received[0]


async def test_what_came_while_it_was_cut_off_is_read_though_nothing_follows_it(
    hub: Hub, broker: SlowBroker, wire: FakeWire
) -> None:
    session = FakeSession(wire)
    await hub.subscribe(READER, session, "room")
    running = asyncio.create_task(hub.run())
    try:
        # Nobody runs the broker here, so nothing that is published arrives by itself.
        await hub.publish(ALICE, Draft("room", b"1"))
        assert session.received == []

        hub.connected(all_channels)

        async with asyncio.timeout(5):
            await session.heard.wait()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert session.received == [b"1"]


async def test_one_broken_socket_does_not_cost_the_others_their_message(
    hub: Hub, wire: FakeWire, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(FakeSession):
        def write(self, batch: bytes) -> int | None:
            raise RuntimeError("broken")

    sessions = [FakeSession(wire) for _ in range(20)]
    for session in [*sessions[:10], Broken(wire), *sessions[10:], Broken(wire)]:
        await hub.subscribe(READER, session, "room")
    hub.deliver([message("room", b"1")])

    assert [session.received for session in sessions] == [[b"1"]] * 20
    assert hub.counts.write_failures == 2
    assert "a socket failed" in caplog.text


async def test_what_the_kernel_does_not_take_is_left_to_the_socket(
    hub: Hub, wire: FakeWire
) -> None:
    class Full(FakeSession):
        def __init__(self, room: int) -> None:
            super().__init__(wire)
            self.room = room

        def write(self, batch: bytes) -> int | None:
            if not self.room:
                raise BlockingIOError("full")
            self.received.append(batch[: self.room])
            return min(self.room, len(batch))

    half, none, whole = Full(3), Full(0), Full(100)
    for session in (half, none, whole):
        await hub.subscribe(READER, session, "room")
    hub.deliver([message("room", b"12345")])

    assert half.received == [b"123", b"rest:45"]
    assert none.received == [b"rest:12345"]
    assert whole.received == [b"12345"]
    assert hub.counts.write_failures == 0


async def test_a_socket_that_fails_to_take_the_rest_hurts_nobody_else(
    hub: Hub, wire: FakeWire, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(FakeSession):
        def write(self, batch: bytes) -> int | None:
            raise OSError("broken")

        def write_rest(self, rest: bytes) -> None:
            raise RuntimeError("broken")

    before, broken, behind = FakeSession(wire), Broken(wire), FakeSession(wire)
    for session in (before, broken, behind):
        await hub.subscribe(READER, session, "room")
    hub.deliver([message("room", b"1")])

    assert before.received == behind.received == [b"1"]
    assert hub.counts.write_failures == 1
    assert "a socket failed" in caplog.text


async def test_a_socket_may_leave_while_it_is_written_to(hub: Hub, wire: FakeWire) -> None:
    class Leaving(FakeSession):
        def write(self, batch: bytes) -> int | None:
            hub.unsubscribe_all(self)
            return super().write(batch)

    sessions = [Leaving(wire) for _ in range(10)]
    for session in sessions:
        await hub.subscribe(READER, session, "room")
    hub.deliver([message("room", b"1")])
    hub.deliver([message("room", b"2")])

    assert [session.received for session in sessions] == [[b"1"]] * 10


async def test_publishing_needs_the_role_and_a_matching_grant(hub: Hub) -> None:
    with pytest.raises(Denied, match="role"):
        await hub.publish(READER, Draft("news.a", b"1"))
    with pytest.raises(Denied, match="grant"):
        await hub.publish(LIMITED, Draft("sports", b"1"))

    receipt = await hub.publish(LIMITED, Draft("news.a", b"1"))
    assert receipt.position.offset == 1


async def test_every_entry_of_a_batch_is_answered_in_its_place(hub: Hub) -> None:
    drafts = [
        Draft("news.a", b"1"),
        Draft("x y", b"2"),
        Draft("sports", b"3"),
        Draft("news.b", b"4"),
    ]
    outcomes = await hub.publish_many(LIMITED, drafts)

    assert [type(o) for o in outcomes] == [Receipt, InvalidChannel, Denied, Receipt]
    assert [o.channel for o in outcomes if isinstance(o, Receipt)] == ["news.a", "news.b"]
    assert hub.published_count == 2


async def test_a_message_counts_as_long_as_it_was_said_not_as_it_is_encoded(hub: Hub) -> None:
    line_feeds = b'"' + b"\\n" * 100 + b'"'
    assert isinstance(await hub.publish(ALICE, Draft("room", line_feeds)), Receipt)
    with pytest.raises(TooBig):
        await hub.publish(ALICE, Draft("room", b'"' + b"x" * 101 + b'"'))
    with pytest.raises(TooBig):
        await hub.publish(ALICE, Draft("room", b"[" + b"1," * 60 + b"1]"))


async def test_a_publisher_over_its_rate_is_told_when_to_come_back(broker: SlowBroker) -> None:
    hub = make_hub(broker, rate=5)
    await hub.publish_many(ALICE, [Draft("room", b"1")] * 10)
    with pytest.raises(LimitReached) as refusal:
        await hub.publish(ALICE, Draft("room", b"1"))

    assert 0 < refusal.value.retry_after_seconds <= 0.2
    assert isinstance(refusal.value, GatewayError)


async def test_history_needs_the_right_to_subscribe(hub: Hub) -> None:
    """S47"""
    query = HistoryQuery(None, 10)
    await hub.publish(ALICE, Draft("room", b"1"))
    assert [m.data for m in (await hub.history(READER, "room", query)).messages] == [b"1"]

    with pytest.raises(InvalidChannel):
        await hub.history(READER, "x y", query)
    with pytest.raises(Denied, match="personal"):
        await hub.history(READER, "user:alice", query)
    nothing = Principal("nobody", "t4", 0, 1, frozenset({"admin"}), {Action.SUBSCRIBE: ()})
    with pytest.raises(Denied, match="grant"):
        await hub.history(nothing, "room", query)


async def test_a_notice_goes_to_everybody_whose_wire_has_words_for_it(hub: Hub) -> None:
    listeners = [FakeSession(FakeWire(name)) for name in ("a", "b", "silent")]
    elsewhere = FakeSession(FakeWire("a"))
    for listener in listeners:
        await hub.subscribe(ALICE, listener, "room")
    await hub.subscribe(ALICE, elsewhere, "lobby")

    def notice_of(wire: Wire) -> bytes:
        assert isinstance(wire, FakeWire)
        return b"" if wire.name == "silent" else wire.name.encode() + wire.notice("hello", n=1)

    hub.notify("room", notice_of)
    hub.notify("nowhere", notice_of)
    assert [listener.received for listener in listeners] == [
        [b"ahello {'n': 1}"],
        [b"bhello {'n': 1}"],
        [],
    ]
    assert elsewhere.received == []
