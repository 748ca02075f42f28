"""Ordering holds through all of it: whoever pauses, lags and resumes, and however it is published.

One replica, a channel for each policy, and on each of them readers who keep up and readers who
do as a drawn plan says. Those who keep up tell what was published in which order. Everybody else
saw a part of that, in that order; which part it may be depends on the policy.
"""

import asyncio
import json
import secrets
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from gateway.app import build, create_app
from gateway.domain.namespaces import SlowConsumer
from gateway.replica import Gateway
from gateway.settings import NamespaceSettings, Settings, SocketDoor
from tests.integration.sockets.in_process import Served, serving
from tests.support.clients import call, make_token, publish
from tests.support.servers import SECRET

POLICIES = ["disconnect", "drop_oldest", "latest_only"]
SLOW = ["json", "text", "raw"]
BATCH_MAX = 16
LATE = len(SLOW)  # the index of one more, in json, who joins when the plan first mentions it
PUBLISHER = make_token("paula", "publisher")
FAST_KERNEL_BYTES, SLOW_KERNEL_BYTES = 200_000, 8192
"""What the kernel may keep for a socket; left to itself, it takes megabytes off a slow reader."""
FAST_BEHIND_BYTES_MAX = 60_000
"""What may be on its way to those who keep up: less than fills anything before them."""
ENVELOPE_BYTES = 250
"""What a message in json has around its data, and more."""


# A plan: what is published and who reads, step by step.


class Say(NamedTuple):
    """Publish over a socket, one frame after the other, without waiting for an answer."""

    policy: str
    sizes: list[int]


class Post(NamedTuple):
    policy: str
    size: int


class PostBatch(NamedTuple):
    entries: list[tuple[str, int]]


class Read(NamedTuple):
    """Let a reader read so many messages now, and so many more for each that is published."""

    policy: str
    reader: int
    messages: int
    pace: float


class CatchUp(NamedTuple):
    """Wait until a reader has read all that there is for it, and then let it pause."""

    policy: str
    reader: int


Step = Say | Post | PostBatch | Read | CatchUp

policies = st.sampled_from(POLICIES)
sizes = st.sampled_from([0, 100, 3000, 16_000])
long_sizes = st.lists(st.sampled_from([3000, 16_000]), min_size=15, max_size=30)
entries = st.tuples(policies, st.sampled_from([0, 100, 3000]))
steps = st.one_of(
    st.builds(Say, policies, st.lists(sizes, min_size=1, max_size=12)),
    # Twice, and long: who pauses has to lag behind by 100 KB before anything becomes of it.
    st.builds(Say, policies, long_sizes),
    st.builds(Say, policies, long_sizes),
    st.builds(Post, policies, sizes),
    st.builds(PostBatch, st.lists(entries, min_size=1, max_size=BATCH_MAX)),
    st.builds(
        Read,
        policies,
        st.integers(0, LATE),
        st.sampled_from([0, 0, 1, 10, 1000]),
        st.sampled_from([0, 0.5, 1, 1]),
    ),
    st.builds(CatchUp, policies, st.integers(0, LATE - 1)),
)
plans = st.lists(steps, min_size=30, max_size=60)

ALWAYS_BEHIND: list[Step] = [
    *(Post("drop_oldest", 16_000) for _ in range(20)),
    *(Read("drop_oldest", reader, 0, pace=1) for reader in range(LATE)),
    *(Post("drop_oldest", 16_000) for _ in range(40)),
]
"""Whoever reads just as fast as is published never gets to the end of its outbox."""


class Reader:
    """A client that reads as many messages as it may, and keeps what it saw."""

    def __init__(self, format: str, *, is_fast: bool = False) -> None:
        self.format = format
        self.seen: list[str] = []
        self.seen_bytes = 0
        self.offsets: list[int] = []
        self.gaps: dict[int, int] = {}  # so many are missing before the one of this index
        self.is_open = self.is_closed = False
        self._is_fast = is_fast
        self._may_read = asyncio.Event()
        self._news = asyncio.Event()
        self.allow(sys.maxsize if is_fast else 0)

    async def join(self, served: Served, channel: str) -> None:
        self.channel = channel
        kernel_bytes = FAST_KERNEL_BYTES if self._is_fast else SLOW_KERNEL_BYTES
        # The server's end gets its size from the socket that listens, when we connect.
        listening = served.server.servers[0].sockets[0]
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, kernel_bytes)
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, kernel_bytes)
        sock.connect(("127.0.0.1", served.port))
        sock.setblocking(False)
        self.socket = await connect(
            f"{served.ws}/ws/{channel}?format={self.format}",
            sock=sock,
            additional_headers={"Authorization": f"Bearer {PUBLISHER}"},
            compression=None,
            max_queue=1,
        )
        self.is_open = True

    async def run(self) -> None:
        try:
            while True:
                await self._may_read.wait()
                self._take(str(await self.socket.recv()))
                self._allow_more(-1)
                self._news.set()
        except ConnectionClosed:
            self.is_closed = True
            self._news.set()

    def allow(self, messages: int, pace: float = 0) -> None:
        self._allowed: float = messages
        self._pace = pace
        self._allow_more(0)

    def keep_pace(self) -> None:
        self._allow_more(self._pace)

    async def until(self, condition: Callable[["Reader"], bool], trouble: str) -> None:
        try:
            async with asyncio.timeout(10):
                while not condition(self):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(
                f"{self.format} on {self.channel} {trouble}: it has seen {len(self.seen)}, "
                f"the last of them {[text[:20] for text in self.seen[-1:]]}"
            ) from None

    def _allow_more(self, messages: float) -> None:
        self._allowed += messages
        if self._allowed >= 1:
            self._may_read.set()
        else:
            self._may_read.clear()

    def _take(self, text: str) -> None:
        if self.format == "json":
            message = json.loads(text)
            if "type" in message:
                assert (message["type"], message["reason"]) == ("gap", "slow_consumer"), message
                assert len(self.seen) not in self.gaps, "two notices in one place"
                self.gaps[len(self.seen)] = message["dropped"]
                return
            self.offsets.append(message["offset"])
            text = message["data"]
        elif self.format == "text":
            channel, _, text = text.partition(" ")
            assert channel == f"[{self.channel}]"
        self.seen.append(text)
        self.seen_bytes += len(text) + ENVELOPE_BYTES


class Room:
    """A channel, everybody who listens to it, and everything that was published there."""

    def __init__(self, served: Served, policy: str, tasks: asyncio.TaskGroup) -> None:
        self._served = served
        self._tasks = tasks
        self._policy = policy
        self.channel = f"{policy}:{secrets.token_hex(4)}"
        self._fast = [Reader("json", is_fast=True), Reader("raw", is_fast=True)]
        self._slow = [Reader(format) for format in (*SLOW, "json")]
        self._late_starts = range(1)
        self._published: dict[str, list[str]] = {"rest": [], "socket": []}
        self._bytes = 0

    async def open(self) -> None:
        for reader in (*self._fast, *self._slow[:LATE]):
            await reader.join(self._served, self.channel)
            self._tasks.create_task(reader.run())

    async def close(self) -> None:
        for reader in (*self._fast, *self._slow):
            if reader.is_open:
                reader.socket.transport.abort()
                await reader.socket.wait_closed()

    # Publishing.

    async def say(self, sizes: Sequence[int]) -> None:
        for size in sizes:
            await self.until_there_is_room(size)
            await self._fast[0].socket.send(self.compose("socket", size))

    async def until_there_is_room(self, *sizes: int) -> None:
        """Nobody who keeps up is to be overrun."""
        more = sum(size + ENVELOPE_BYTES for size in sizes)
        enough = self._bytes + more - FAST_BEHIND_BYTES_MAX
        for reader in self._fast:
            await reader.until(lambda reader: reader.seen_bytes >= enough, "does not keep up")

    def compose(self, source: str, size: int) -> str:
        """The next text of this source, different from all others."""
        text = f"{source} {len(self._published[source])} {'x' * size}"
        self._published[source].append(text)
        self._bytes += len(text) + ENVELOPE_BYTES
        for reader in self._slow:
            reader.keep_pace()
        return text

    # Reading.

    async def read(self, index: int, messages: int, pace: float) -> None:
        reader = self._slow[index]
        if not reader.is_open:
            earliest = max(len(fast.seen) for fast in self._fast)
            await reader.join(self._served, self.channel)
            self._late_starts = range(earliest, self._count + 1)
            self._tasks.create_task(reader.run())
        reader.allow(messages, pace)

    async def catch_up(self, *indices: int) -> None:
        for reader in self._fast:
            await reader.until(lambda reader: len(reader.seen) >= self._count, "lacks some")
        latest = self._fast[0].seen[-1:]
        for reader in [self._slow[index] for index in indices]:
            if reader.is_open:
                reader.allow(sys.maxsize)
                await reader.until(
                    lambda reader: reader.is_closed or reader.seen[-1:] == latest,
                    "does not get to the latest",
                )
                reader.allow(0)

    @property
    def _count(self) -> int:
        return sum(map(len, self._published.values()))

    # What has to be true in the end.

    def check(self) -> Counter[str]:
        """Return what became of the slow readers, and of how many."""
        order = self._fast[0].seen
        for source, texts in self._published.items():
            assert [text for text in order if text.startswith(source)] == texts
        for reader in self._fast:
            assert (reader.seen, reader.gaps, reader.is_closed) == (order, {}, False)
        place_of = {text: place for place, text in enumerate(order)}
        fates: Counter[str] = Counter()
        for index, reader in enumerate(self._slow):
            if reader.is_open:
                starts = self._late_starts if index == LATE else range(1)
                places = [place_of[text] for text in reader.seen]
                fates[f"{self._policy}: {self._fate(reader, places, starts)}"] += 1
        for reader in (*self._fast, *self._slow):
            if reader.format == "json":
                assert reader.offsets == [place_of[text] + 1 for text in reader.seen]
        return fates

    def _fate(self, reader: Reader, places: list[int], starts: range) -> str:
        assert all(earlier < later for earlier, later in pairwise(places))
        assert all(place >= starts[0] for place in places[:1])
        is_told = self._policy == "drop_oldest" and reader.format == "json"
        if reader.is_closed:
            assert self._policy == "disconnect"
            assert reader.socket.close_code == 1013
        else:
            assert places[-1] == self._count - 1
        if not places:
            return "closed"

        start = places[0] - reader.gaps.get(0, 0)
        if is_told or self._policy == "disconnect":
            assert start in starts
        else:
            start = starts[0]
        holes = {
            index: place - before - 1
            for index, (before, place) in enumerate(pairwise([start - 1, *places]))
            if place > before + 1
        }
        assert reader.gaps == (holes if is_told else {})
        if self._policy == "disconnect":
            assert not holes
            return "closed" if reader.is_closed else "whole"
        return "holes" if holes else "whole"


async def play(served: Served, plan: list[Step]) -> Counter[str]:
    """Carry out a plan, let everybody catch up, and check; return what became of the readers."""
    async with asyncio.TaskGroup() as tasks:
        rooms = {policy: Room(served, policy, tasks) for policy in POLICIES}
        try:
            for room in rooms.values():
                await room.open()
            for step in plan:
                await take(step, served, rooms)
            for room in rooms.values():
                await post_batch(served, [(room, 3000)] * BATCH_MAX)
                await room.catch_up(*range(LATE + 1))
            return sum((room.check() for room in rooms.values()), Counter[str]())
        finally:
            for room in rooms.values():
                await room.close()


async def take(step: Step, served: Served, rooms: dict[str, Room]) -> None:
    match step:
        case Say(policy, sizes):
            await rooms[policy].say(sizes)
        case Post(policy, size):
            await post(served, rooms[policy], size)
        case PostBatch(entries):
            await post_batch(served, [(rooms[policy], size) for policy, size in entries])
        case Read(policy, reader, messages, pace):
            await rooms[policy].read(reader, messages, pace)
        case CatchUp(policy, reader):
            await rooms[policy].catch_up(reader)


async def post(served: Served, room: Room, size: int) -> None:
    await room.until_there_is_room(size)
    text = room.compose("rest", size)
    answer = await publish(http_of(served), room.channel, text, PUBLISHER)
    assert answer.status == 200, answer.body


async def post_batch(served: Served, entries: list[tuple[Room, int]]) -> None:
    for room in {room for room, _ in entries}:
        await room.until_there_is_room(*(size for other, size in entries if other is room))
    messages = [
        {"channel": room.channel, "data": room.compose("rest", size)} for room, size in entries
    ]
    answer = await asyncio.to_thread(
        call, http_of(served) + "/publish", token=PUBLISHER, json_body={"messages": messages}
    )
    assert answer.status == 200, answer.body
    assert all("error" not in result for result in answer.json["results"])


def http_of(served: Served) -> str:
    return f"http://127.0.0.1:{served.port}"


class Replica(NamedTuple):
    gateway: Gateway
    served: Served
    runner: asyncio.Runner


@pytest.fixture
def replica(door: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Replica]:
    """One for all plans, in a loop of its own; in this process, to reach its kernel buffers."""
    monkeypatch.setattr("gateway.replica._spare_the_collector", lambda: None)
    chosen = Settings(
        jwt_secret=SecretStr(SECRET),
        database_url=SecretStr("sqlite://"),
        socket_door=SocketDoor(door),
        message_bytes_max=32_768,
        outbox_bytes_max=65_536,
        namespaces={
            policy: NamespaceSettings(slow_consumer=SlowConsumer(policy)) for policy in POLICIES
        },
        close_timeout_seconds=60,  # time ends nothing: a reader may pause while it is told to go
    )
    gateway = build(chosen)
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        served = runner.run(stack.enter_async_context(serving(create_app(gateway))))
        yield Replica(gateway, served, runner)
        runner.run(stack.aclose())


def test_whatever_the_readers_do_order_holds(replica: Replica) -> None:
    fates: Counter[str] = Counter()

    # Not shrunk: what a kernel does in between is not drawn, and a failure may take its time.
    @settings(
        max_examples=20,
        deadline=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
    )
    @given(plans)
    @example(ALWAYS_BEHIND)
    def order_holds(plan: list[Step]) -> None:
        fates.update(replica.runner.run(play(replica.served, plan)))

    order_holds()

    # The plans were such that there was something to see.
    ends = {"disconnect": "closed", "drop_oldest": "holes", "latest_only": "holes"}
    expected = {f"{policy}: {end}" for policy in POLICIES for end in ("whole", ends[policy])}
    assert set(fates) == expected
    counts = replica.gateway.door.counts
    assert (counts.slow_closed, counts.dead_closed) == (fates["disconnect: closed"], 0)
