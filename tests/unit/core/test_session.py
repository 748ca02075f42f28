"""One client of the plain protocol, between a socket that takes notes and a real hub."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson
import pytest

from gateway.adapters.memory.broker import MemoryBroker
from gateway.core.hub import Hub
from gateway.core.inbound import Inbound
from gateway.core.limits import RateLimit
from gateway.core.session import Session
from gateway.core.signals import Signals
from gateway.core.track import Gap
from gateway.domain.errors import (
    Denied,
    GatewayError,
    InvalidChannel,
    LimitReached,
    TooBig,
    Unavailable,
)
from gateway.domain.messages import Message, Position, Publication, Receipt
from gateway.domain.namespaces import Namespaces
from gateway.domain.principal import Permissions, Principal
from gateway.protocols.plain import Format, encode_message

MESSAGE_BYTES_MAX = 1000


class FakeSocket:
    """Takes notes of what a session says to its own client."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.refusals: list[GatewayError] = []

    def send(self, payload: bytes) -> None:
        self.sent.append(orjson.loads(payload))

    def send_rest(self, rest: bytes) -> None:
        self.sent.append(orjson.loads(rest))

    def refuse(self, error: GatewayError) -> None:
        self.refusals.append(error)


class Lines:
    """A wire that writes one message per line."""

    def __init__(self, format: Format) -> None:
        self._format = format

    def encode(self, messages: Sequence[Message]) -> bytes:
        return b"".join(encode_message(self._format, message) + b"\n" for message in messages)

    def gap(self, channel: str, gap: Gap) -> bytes:
        return f"gap {gap.after} to {gap.before}\n".encode()

    def caught_up(self, channel: str, position: Position) -> bytes:
        return f"caught up at {position}\n".encode()

    def notice(self, kind: str, **fields: object) -> bytes:
        return f"{kind} {fields}\n".encode()


WIRES = {format: Lines(format) for format in Format}


class UnreachableBroker(MemoryBroker):
    async def publish(self, publications: Sequence[Publication]) -> list[Receipt | GatewayError]:
        return [Unavailable("Redis is away", outcome_unknown=True) for _ in publications]


class Client:
    """A session with everything around it."""

    def __init__(
        self, hub: Hub, principal: Principal, channel: str = "room", format: Format = Format.JSON
    ) -> None:
        self.socket = FakeSocket()
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()
        self.session = Session(
            self.socket, hub, principal, channel, format, WIRES[format], self.heard.put_nowait
        )

    async def hears(self) -> bytes:
        return await asyncio.wait_for(self.heard.get(), 5)


def who(subject: str = "alice", *roles: str) -> Principal:
    return Principal(subject, "t1", 0, 1, frozenset(roles))


def make_hub(broker: MemoryBroker, rate: int = 0) -> Hub:
    return Hub(
        broker,
        Permissions(Namespaces()),
        RateLimit(rate),
        message_bytes_max=MESSAGE_BYTES_MAX,
        release_delay_seconds=1,
    )


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    broker = MemoryBroker(idempotency_seconds=60)
    hub = make_hub(broker)
    running = asyncio.create_task(broker.run(Inbound(hub, Signals(broker))))
    yield hub
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_a_session_hears_what_is_published_on_its_channel(hub: Hub) -> None:
    alice, bob = Client(hub, who("alice", "publisher")), Client(hub, who("bob"))
    await bob.session.join()
    await alice.session.receive("Hola canal")
    message = orjson.loads(await bob.hears())
    assert (message["channel"], message["data"], message["user"]) == ("room", "Hola canal", "alice")


@pytest.mark.parametrize(
    ("format", "line"),
    [(Format.TEXT, b"[room] Hola canal\n"), (Format.RAW, b"Hola canal\n")],
)
async def test_a_session_hears_in_its_own_format(hub: Hub, format: Format, line: bytes) -> None:
    alice, bob = Client(hub, who("alice", "publisher")), Client(hub, who("bob"), format=format)
    await bob.session.join()
    await alice.session.receive("Hola canal")
    assert await bob.hears() == line


async def test_a_publisher_hears_its_own_message(hub: Hub) -> None:
    alice = Client(hub, who("alice", "publisher"))
    await alice.session.join()
    await alice.session.receive("echo")
    assert orjson.loads(await alice.hears())["data"] == "echo"
    assert alice.socket.sent == []


async def test_another_channel_is_not_heard(hub: Hub) -> None:
    alice = Client(hub, who("alice", "publisher"))
    elsewhere = Client(hub, who("alice", "publisher"), channel="hall")
    await alice.session.join()
    await elsewhere.session.receive("in the hall")
    await alice.session.receive("in the room")
    assert orjson.loads(await alice.hears())["data"] == "in the room"


async def test_joining_without_waiting_works_once_the_broker_listens(hub: Hub) -> None:
    alice, bob = Client(hub, who("alice", "publisher")), Client(hub, who("bob"))
    assert bob.session.join_if_held() is False
    assert hub.subscriber_count == 0
    await alice.session.join()
    assert bob.session.join_if_held() is True
    await alice.session.receive("hi")
    assert orjson.loads(await bob.hears())["data"] == "hi"


async def test_a_session_that_left_hears_nothing_more(hub: Hub) -> None:
    alice, bob = Client(hub, who("alice", "publisher")), Client(hub, who("bob"))
    await alice.session.join()
    await bob.session.join()
    bob.session.leave()
    bob.session.leave()
    await alice.session.receive("is anybody there?")
    await alice.hears()
    assert bob.heard.empty()
    assert hub.subscriber_count == 1


async def test_what_replaces_write_gets_the_next_message(hub: Hub) -> None:
    """A slow reader is taken out of the fast path in this way."""
    alice = Client(hub, who("alice", "publisher"))
    slow: asyncio.Queue[bytes] = asyncio.Queue()
    await alice.session.join()
    alice.session.write = slow.put_nowait
    await alice.session.receive("hi")
    assert orjson.loads(await asyncio.wait_for(slow.get(), 5))["data"] == "hi"
    assert alice.heard.empty()


@pytest.mark.parametrize("waiting", [True, False], ids=["join", "join_if_held"])
async def test_a_channel_of_another_user_cannot_be_joined(hub: Hub, waiting: bool) -> None:
    """S33"""
    owner = Client(hub, who("bob"), channel="user:bob")
    await owner.session.join()
    intruder = Client(hub, who("alice"), channel="user:bob")
    with pytest.raises(Denied):
        await intruder.session.join() if waiting else intruder.session.join_if_held()
    assert hub.subscriber_count == 1


async def test_a_channel_that_is_no_name_cannot_be_joined(hub: Hub) -> None:
    """S34"""
    client = Client(hub, who(), channel="a*")
    with pytest.raises(InvalidChannel):
        await client.session.join()
    with pytest.raises(InvalidChannel):
        client.session.join_if_held()


@pytest.mark.parametrize("format", [Format.JSON, Format.TEXT])
async def test_without_the_role_a_client_is_told_no(hub: Hub, format: Format) -> None:
    """S32"""
    alice, bob = Client(hub, who("alice", "reader"), format=format), Client(hub, who("bob"))
    await bob.session.join()
    await alice.session.receive("hi")
    assert alice.socket.sent == [
        {
            "type": "error",
            "error": "denied",
            "detail": "role: publishing needs one of: admin, publisher",
        }
    ]
    assert alice.socket.refusals == []
    assert hub.published_count == 0


async def test_in_the_raw_format_no_is_said_by_closing(hub: Hub) -> None:
    alice = Client(hub, who("alice"), format=Format.RAW)
    await alice.session.receive("hi")
    assert [type(error) for error in alice.socket.refusals] == [Denied]
    assert alice.socket.sent == []


@pytest.mark.parametrize(
    "text",
    ["{", '{"data": }', "{'data': 1}", '{"data": NaN}', '{"a": "\ud800"}', "\ud800", "{}{}"]
    + ['{"data":' + "[" * depth + "]" * depth + "}" for depth in (300, 1000, 3000)],
    ids=lambda text: ascii(text[:16]),
)
async def test_a_frame_that_cannot_be_read_is_answered(hub: Hub, text: str) -> None:
    """S42: nothing else escapes."""
    alice = Client(hub, who("alice", "publisher"))
    await alice.session.receive(text)
    (answer,) = alice.socket.sent
    assert (answer["type"], answer["error"]) == ("error", "invalid_request")
    assert "data" not in answer


async def test_a_message_over_the_limit_is_answered(hub: Hub) -> None:
    alice = Client(hub, who("alice", "publisher"))
    await alice.session.receive("x" * MESSAGE_BYTES_MAX)
    await alice.session.receive("x" * (MESSAGE_BYTES_MAX + 1))
    assert [answer["error"] for answer in alice.socket.sent] == [TooBig.code]
    assert hub.published_count == 1


async def test_too_many_messages_are_answered() -> None:
    hub = make_hub(MemoryBroker(idempotency_seconds=60), rate=1)
    alice, bob = Client(hub, who("alice", "publisher")), Client(hub, who("bob", "publisher"))
    for _ in range(3):
        await alice.session.receive("hi")
    await bob.session.receive("hi")
    assert [answer["error"] for answer in alice.socket.sent] == ["limit_reached"]
    assert bob.socket.sent == []


async def test_a_broker_that_is_away_is_answered() -> None:
    hub = make_hub(UnreachableBroker(idempotency_seconds=60))
    alice = Client(hub, who("alice", "publisher"))
    await alice.session.receive("hi")
    assert [answer["error"] for answer in alice.socket.sent] == ["unavailable"]


async def test_what_arrived_together_is_published_together_and_in_order() -> None:
    asked: list[int] = []

    class CountingBroker(MemoryBroker):
        async def publish(
            self, publications: Sequence[Publication]
        ) -> list[Receipt | GatewayError]:
            asked.append(len(publications))
            return await super().publish(publications)

    hub = make_hub(CountingBroker(idempotency_seconds=60))
    alice = Client(hub, who("alice", "publisher"))
    await alice.session.receive("one", "{broken", "two")

    assert asked == [2]
    assert [answer["error"] for answer in alice.socket.sent] == ["invalid_request"]


async def test_of_too_much_at_once_goes_as_much_as_may_go() -> None:
    hub = make_hub(MemoryBroker(idempotency_seconds=60), rate=2)
    alice = Client(hub, who("alice", "publisher"))
    await alice.session.receive("first")
    await alice.session.receive("1", "2", "3", "4", "5")

    assert hub.published_count == 4
    assert [answer["error"] for answer in alice.socket.sent] == [LimitReached.code] * 2


async def test_a_denial_is_logged_in_the_words_that_the_client_gets(
    hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    bob = Client(hub, who("bob\n"))
    await bob.session.receive("hello")
    (answer,) = bob.socket.sent
    (record,) = caplog.records
    assert record.getMessage() == f"'bob\\n' on 'room' was refused: {answer['detail']}"
