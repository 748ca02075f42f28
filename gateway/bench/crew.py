"""The generator's processes, as the driver sees them."""

import contextlib
import itertools
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.bench.checker import Misdelivered
from gateway.bench.machine import Cores, pinned, with_package_path
from gateway.bench.pace import Latencies
from gateway.bench.target import Target

_ANSWER_SECONDS_MAX = 120.0

Command = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Count:
    """So many of something in so many seconds.

    ``busy_share`` says how busy the generator was: near 1, the server could have done more.
    """

    count: int
    seconds: float
    busy_share: float = 0.0

    @property
    def per_second(self) -> float:
        return self.count / self.seconds if self.seconds > 0 else 0.0


class Crew:
    """Divides every task among its workers; each method returns when all have done their part."""

    def __init__(self, workers: Sequence["_Worker"], cores: int) -> None:
        self._workers = workers
        self._cores = min(cores, len(workers))

    def open(self, group: str, target: Target, sockets: int, in_flight: int) -> Count:
        """Open so many sockets and return how long that took, the tokens not counted."""
        shares = divide(sockets, len(self._workers))
        self._ask(
            {
                "do": "prepare",
                "group": group,
                "target": target.dump(),
                "first": share.start,
                "count": len(share),
            }
            for share in shares
        )
        each = max(1, in_flight // len(self._workers))
        answers = self._ask_all({"do": "open", "group": group, "in_flight": each})
        return self._count(sockets, answers)

    def open_each(
        self, group: str, targets: Sequence[Target], sockets: int, in_flight: int
    ) -> Count:
        """A target for each worker, with so many sockets each: one group over several replicas."""
        self._ask(
            {"do": "prepare", "group": group, "target": target.dump(), "first": 0, "count": sockets}
            for target in targets
        )
        answers = self._ask_all({"do": "open", "group": group, "in_flight": in_flight})
        return self._count(sockets * len(targets), answers)

    def close(self, group: str) -> None:
        self._ask_all({"do": "close", "group": group})

    def fan_out(self, group: str, *, seconds: float, outstanding: int) -> Count:
        """Deliveries of one channel's messages to all sockets of the group."""
        leader, *followers = self._workers
        for follower in followers:
            follower.send({"do": "follow", "group": group})
        self._answers(followers)
        leader.send({"do": "lead", "group": group, "seconds": seconds, "outstanding": outstanding})
        led = self._answers([leader], also_watched=followers)[0]
        for follower in followers:
            follower.send({"messages": led["messages"]})
        answers = [led, *self._answers(followers)]
        # The leader knows when the last message had arrived; the others make sure of it longer.
        span = {"started": led["started"], "ended": led["ended"]}
        return self._count(_deliveries(answers), [answer | span for answer in answers])

    def row(self, group: str, *, seconds: float, outstanding: int) -> Count:
        """Deliveries where every socket of the group has a channel of its own."""
        shares = divide(outstanding, len(self._workers))
        answers = self._ask(
            {"do": "row", "group": group, "seconds": seconds, "outstanding": max(1, len(share))}
            for share in shares
        )
        return self._count(_deliveries(answers), answers)

    def pace(self, group: str, *, rate: float, seconds: float) -> Latencies:
        """How late messages arrive that are published at a fixed rate."""
        latencies = Latencies()
        for answer in self._ask_all(
            {
                "do": "pace",
                "group": group,
                "started": time.monotonic() + 0.2,
                "rate": rate,
                "messages": max(1, int(rate * seconds)),
            }
        ):
            latencies.merge(answer["counts"], answer["max_seconds"])
        return latencies

    def requests(
        self,
        address: tuple[str, int],
        request: bytes,
        *,
        connections: int,
        seconds: float,
        mark: str,
        marks: int = 1,
    ) -> Count:
        """Answers to one HTTP request, sent over and over; one process is enough for them."""
        leader = self._workers[0]
        leader.send(
            {
                "do": "requests",
                "host": address[0],
                "port": address[1],
                "request": request.decode(),
                "connections": connections,
                "seconds": seconds,
                "mark": mark,
                "marks": marks,
            }
        )
        answer = self._answers([leader])[0]
        return self._count(answer["answered"], [answer])

    def resume(
        self,
        target: Target,
        sockets: int,
        *,
        behind: int,
        seconds: float | None = None,
        in_flight: int = 0,
    ) -> Count:
        """Sockets that come back to a filled channel, so many messages behind (0: new ones).

        With ``seconds`` they come in turn, so many at a time, each leaving when it has got
        everything; without, all of them come at once and stay until the last has.
        """
        answers = self._ask(
            {
                "do": "resume",
                "target": target.dump(),
                "first": share.start,
                "count": len(share),
                "behind": behind,
                "seconds": seconds,
                "in_flight": max(1, in_flight // len(self._workers)),
            }
            for share in divide(sockets, len(self._workers))
        )
        return self._count(_deliveries(answers), answers)

    def _count(self, count: int, answers: Sequence[Mapping[str, float]]) -> Count:
        started = min(answer["started"] for answer in answers)
        seconds = max(answer["ended"] for answer in answers) - started
        busy = sum(answer["busy_seconds"] for answer in answers)
        return Count(count, seconds, busy / seconds / self._cores if seconds else 0.0)

    def _ask_all(self, command: Command) -> list[dict[str, Any]]:
        return self._ask(command for _ in self._workers)

    def _ask(self, commands: Iterator[Command] | Sequence[Command]) -> list[dict[str, Any]]:
        for worker, command in zip(self._workers, commands, strict=True):
            worker.send(command)
        return self._answers(self._workers)

    def _answers(
        self, workers: Sequence["_Worker"], also_watched: Sequence["_Worker"] = ()
    ) -> list[dict[str, Any]]:
        """One answer of each; the first that failed, and be it one of the others, ends it."""
        answers: dict[_Worker, dict[str, Any]] = {}
        deadline = time.monotonic() + _ANSWER_SECONDS_MAX
        while len(answers) < len(workers):
            waited_for = [w for w in (*workers, *also_watched) if w not in answers]
            timeout = max(0.0, deadline - time.monotonic())
            ready = select.select(waited_for, [], [], timeout)[0]
            if not ready:
                raise Misdelivered(f"no answer from the generator within {_ANSWER_SECONDS_MAX} s")
            for worker in ready:
                answers[worker] = worker.read()
        return [answers[worker] for worker in workers]


class _Worker:
    def __init__(self, command: Sequence[str], pass_fds: Sequence[int], env: Mapping[str, str]):
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=pass_fds, env=env
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout

    def fileno(self) -> int:
        return self._out.fileno()

    def send(self, command: Command) -> None:
        self._in.write(json.dumps(command).encode() + b"\n")
        self._in.flush()

    def read(self) -> dict[str, Any]:
        line = self._out.readline()
        if not line:
            raise Misdelivered(f"a process of the generator ended: {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise Misdelivered(answer["error"])
        return answer

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._in.close()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._out.close()


@contextlib.contextmanager
def hired(count: int, cores: Cores) -> Iterator[Crew]:
    """So many workers, on the generator's cores, until the block ends."""
    pipe_in, pipe_out = os.pipe()
    env = with_package_path(dict(os.environ))
    workers: list[_Worker] = []
    try:
        with pinned(cores.generator):
            for number in range(count):
                arguments = [str(n) for n in (number, count, pipe_in, pipe_out)]
                command = [sys.executable, "-m", "gateway.bench.worker", *arguments]
                workers.append(_Worker(command, (pipe_in, pipe_out), env))
        yield Crew(workers, len(cores.generator))
    finally:
        for worker in workers:
            worker.stop()
        os.close(pipe_in)
        os.close(pipe_out)


def divide(total: int, workers: int) -> list[range]:
    edges = [total * n // workers for n in range(workers + 1)]
    return [range(start, end) for start, end in itertools.pairwise(edges)]


def _deliveries(answers: Sequence[Mapping[str, int]]) -> int:
    return sum(answer["deliveries"] for answer in answers)
