"""One process of the generator: ``python -m gateway.bench.worker NUMBER WORKERS PIPE_IN PIPE_OUT``.

It takes commands as JSON objects, one per line, from its standard input, and answers each of
them with one line. The pipe carries the followers' reports to the leader, which is process 0.
"""

import json
import os
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from gateway.bench import channels, http_load, kept, resumes
from gateway.bench.channels import RedisConnection
from gateway.bench.checker import Misdelivered
from gateway.bench.fanout import Followers, Publisher, follow, lead
from gateway.bench.pace import run_at_rate
from gateway.bench.receivers import Receivers
from gateway.bench.storing import StoringConnection
from gateway.bench.target import Kind, Publishing, Target

_LINE_BYTES = 1 << 16


class Control:
    """The line to the driver."""

    def __init__(self) -> None:
        self._rest = b""

    def fileno(self) -> int:
        return 0

    def receive(self) -> dict[str, Any] | None:
        """Wait for the next command; None when the driver is gone."""
        while b"\n" not in self._rest:
            chunk = os.read(self.fileno(), _LINE_BYTES)
            if not chunk:
                return None
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        command: dict[str, Any] = json.loads(line)
        return command

    @staticmethod
    def reply(answer: Mapping[str, Any]) -> None:
        print(json.dumps(answer), flush=True)


@dataclass
class Group:
    """The sockets to one target."""

    target: Target
    numbers: range
    receivers: Receivers
    handshakes: list[bytes]
    publisher: Publisher | None = None
    redis: RedisConnection | None = None


class Worker:
    """Each public method is a command; its result is the answer."""

    def __init__(self, number: int, workers: int, pipe_in: int, pipe_out: int) -> None:
        self._number = number
        self._control = Control()
        self._followers = Followers(pipe_in, range(1, workers))
        self._pipe_out = pipe_out
        self._groups: dict[str, Group] = {}

    def run(self) -> None:
        while (command := self._control.receive()) is not None:
            busy = time.process_time()
            try:
                answer = getattr(self, command.pop("do"))(**command) or {}
            except (Misdelivered, OSError) as error:
                answer = {"error": str(error)}
            self._control.reply(answer | {"busy_seconds": time.process_time() - busy})

    def prepare(self, group: str, target: str, first: int, count: int) -> None:
        """Make what can be made before the clock runs: tokens, requests, expected bytes."""
        aim, numbers = Target.parse(target), range(first, first + count)
        has_publisher = self._leads and not aim.is_row
        self._groups[group] = Group(
            aim,
            numbers,
            Receivers(aim.streams(numbers)),
            aim.handshakes(numbers, has_publisher=has_publisher),
        )
        if aim.is_row or aim.publishing is Publishing.BARE:
            channels.prepare(aim, numbers)

    def open(self, group: str, in_flight: int) -> dict[str, float]:
        opened = self._groups[group]
        target = opened.target
        started = time.monotonic()
        opened.receivers.open((target.host, target.port), opened.handshakes, in_flight)
        ended = time.monotonic()
        opened.handshakes.clear()
        if self._leads and not target.is_row:
            opened.publisher = self._publisher(opened)
        return {"started": started, "ended": ended}

    def close(self, group: str) -> None:
        closed = self._groups.pop(group)
        closed.receivers.close()
        if closed.redis is not None:
            closed.redis.close()

    def lead(self, group: str, seconds: float, outstanding: int) -> dict[str, Any]:
        led = self._groups[group]
        assert led.publisher is not None
        span = lead(
            led.receivers,
            led.publisher,
            self._followers,
            seconds=seconds,
            outstanding=outstanding,
        )
        return {**asdict(span), "messages": led.publisher.published}

    def follow(self, group: str) -> dict[str, Any]:
        receivers = self._groups[group].receivers
        messages: int | None = None

        def finish() -> None:
            nonlocal messages
            command = self._control.receive()
            if command is None:
                raise Misdelivered("the driver is gone")
            messages = command["messages"]

        receivers.watch(self._control.fileno(), finish)
        self._control.reply({})  # the leader may begin
        span = follow(receivers, self._number, self._pipe_out, lambda: messages)
        receivers.unwatch(self._control.fileno())
        return asdict(span)

    def pace(self, group: str, started: float, rate: float, messages: int) -> dict[str, Any]:
        paced = self._groups[group]
        latencies = run_at_rate(
            paced.receivers,
            paced.publisher,
            started=started,
            rate=rate,
            messages=messages,
            base=paced.receivers.checker.done,
        )
        return {"counts": latencies.dump(), "max_seconds": latencies.max_seconds}

    def row(self, group: str, seconds: float, outstanding: int) -> dict[str, Any]:
        opened = self._groups[group]
        if opened.redis is None:
            assert opened.target.redis is not None
            opened.redis = RedisConnection(opened.target.redis)
        commands = channels.commands_of(opened.target, opened.numbers)
        return asdict(
            channels.run_row(
                opened.receivers, opened.redis, commands, seconds=seconds, outstanding=outstanding
            )
        )

    def requests(
        self,
        host: str,
        port: int,
        request: str,
        connections: int,
        seconds: float,
        mark: str,
        marks: int,
    ) -> dict[str, float]:
        started = time.monotonic()
        answered = http_load.run_requests(
            (host, port),
            request.encode(),
            connections=connections,
            seconds=seconds,
            mark=mark.encode(),
            marks=marks,
        )
        return {"answered": answered, "started": started, "ended": time.monotonic()}

    def resume(
        self,
        target: str,
        first: int,
        count: int,
        behind: int,
        seconds: float | None,
        in_flight: int,
    ) -> dict[str, Any]:
        aim = Target.parse(target)
        query = "format=json" + (f"&since={kept.since(behind)}" if behind else "")
        due = kept.missed(aim.channel, behind) if behind else b""
        handshakes = aim.handshakes(range(first, first + count), query=query)
        address = (aim.host, aim.port)
        if seconds is None:
            return asdict(resumes.at_once(address, handshakes, due))
        return asdict(
            resumes.in_turn(address, handshakes, due, in_flight=in_flight, seconds=seconds)
        )

    @property
    def _leads(self) -> bool:
        return self._number == 0

    @staticmethod
    def _publisher(group: Group) -> Publisher:
        target, receivers = group.target, group.receivers
        if target.kind is Kind.GATEWAY and target.publishing is Publishing.SOCKET:
            return Publisher(receivers.sockets[0], target.publications())
        if target.kind is not Kind.LOOP:
            assert target.redis is not None
            is_stored = target.publishing is Publishing.STORED
            group.redis = (StoringConnection if is_stored else RedisConnection)(target.redis)
            group.redis.socket.setblocking(False)
            receivers.watch(group.redis.socket.fileno(), group.redis.drop_answers)
            return Publisher(group.redis.socket, target.publications())
        connection = socket.create_connection((target.host, target.control_port), 5)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        return Publisher(connection, target.publications())


if __name__ == "__main__":
    Worker(*map(int, sys.argv[1:5])).run()
