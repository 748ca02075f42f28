"""A link to one node of a cluster: which command each answer belongs to."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import hiredis
import pytest

from gateway.adapters.redis.channels.link import LinkListener, Payload
from gateway.adapters.redis.cluster.link import ShardedLink
from gateway.adapters.redis.cluster.slots import slot_of


class Wire(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: Any) -> None:
        self.written += data

    def abort(self) -> None: ...


class Diary(LinkListener):
    def __init__(self) -> None:
        self.entries: list[tuple[str, object]] = []

    def received(self, payloads: Sequence[Payload]) -> None:
        self.entries += [("received", payload) for payload in payloads]

    def confirmed(self, topic: str, is_subscribed: bool) -> None:
        self.entries.append(("on" if is_subscribed else "off", topic))

    def refused(self, topic: str) -> None:
        self.entries.append(("refused", topic))

    def dropped(self, topic: str) -> None:
        self.entries.append(("dropped", topic))


@pytest.fixture
async def diary() -> Diary:
    return Diary()


@pytest.fixture
async def link(diary: Diary) -> ShardedLink:
    link = ShardedLink(diary, lambda: 0.0, {"probe"})
    link.connection_made(Wire())
    return link


def push(kind: str, topic: str, value: bytes | int = 1) -> bytes:
    end = b":%d\r\n" % value if isinstance(value, int) else b"$%d\r\n%s\r\n" % (len(value), value)
    head = f"*3\r\n${len(kind)}\r\n{kind}\r\n${len(topic)}\r\n{topic}\r\n"
    return head.encode() + end


def moved(topic: str) -> bytes:
    return f"-MOVED {slot_of(topic)} 10.0.0.2:6379\r\n".encode()


def commands(link: ShardedLink) -> list[list[bytes]]:
    reader = hiredis.Reader()
    reader.feed(cast(Wire, link._transport).written)
    found = []
    while (command := reader.gets()) is not False:
        found.append(command)
    return found


async def test_each_topic_has_a_command_and_what_has_no_slot_is_not_sharded(
    link: ShardedLink,
) -> None:
    link.send_topics("SUBSCRIBE", ["a", "probe", "b"])
    link.send_topics("UNSUBSCRIBE", ["a"])
    assert sorted(commands(link)) == [
        [b"SSUBSCRIBE", b"a"],
        [b"SSUBSCRIBE", b"b"],
        [b"SUBSCRIBE", b"probe"],
        [b"SUNSUBSCRIBE", b"a"],
    ]


async def test_answers_and_refusals_belong_to_the_commands_in_their_order(
    link: ShardedLink, diary: Diary
) -> None:
    link.send_topics("SUBSCRIBE", ["a", "b", "c", "probe"])
    link.send_topics("UNSUBSCRIBE", ["a", "b"])
    link.data_received(
        push("ssubscribe", "a")
        + push("smessage", "a", b"hi")
        + push("subscribe", "probe")
        + moved("b")
        + b"-CLUSTERDOWN The cluster is down\r\n"
        + push("sunsubscribe", "a")
        + moved("b")
    )
    assert diary.entries == [
        ("on", "a"),
        ("on", "probe"),
        ("refused", "b"),
        ("refused", "c"),
        ("off", "a"),
        ("refused", "b"),
        ("received", ("a", b"hi")),
    ]
    assert not link.lost.done()


async def test_a_subscription_that_the_node_ends_is_told_from_one_that_we_end(
    link: ShardedLink, diary: Diary
) -> None:
    link.send_topics("SUBSCRIBE", ["a", "b"])
    link.data_received(
        push("ssubscribe", "a") + push("sunsubscribe", "a") + push("ssubscribe", "b")
    )
    assert diary.entries == [("on", "a"), ("dropped", "a"), ("on", "b")]


@pytest.mark.parametrize(
    "answer",
    [
        moved("b"),  # it is about another command than the first without an answer
        push("ssubscribe", "b"),
        b"-NOPERM no permissions\r\n",
    ],
)
async def test_where_it_is_not_clear_who_is_meant_the_link_is_given_up(
    link: ShardedLink, diary: Diary, answer: bytes
) -> None:
    link.send_topics("SUBSCRIBE", ["a", "b"])
    link.data_received(answer)
    assert link.lost.done()
    assert diary.entries == []


async def test_a_refusal_that_nobody_asked_for_ends_the_link(link: ShardedLink) -> None:
    link.data_received(moved("a"))
    assert link.lost.done()
