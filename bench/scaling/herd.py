"""The processes with the listeners that come back, as the scenarios see them."""

import contextlib
import http.client
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from bench.scaling.returning import channel_of
from bench.scaling.stage import Stage
from gateway.bench.checker import Misdelivered
from gateway.bench.crew import divide
from gateway.bench.machine import with_package_path
from gateway.bench.servers import Server
from gateway.bench.target import Target

_PROCESSES = 2
_BATCH = 500
_ANSWER_SECONDS_MAX = 30.0


class Herd:
    """Divides the listeners among its processes."""

    def __init__(self, processes: "Sequence[_Process]", stage: Stage) -> None:
        self._processes = processes
        self._stage = stage
        self._opened = 0

    def open(self, server: Server, count: int, channels: int) -> None:
        """So many more listeners to one replica; returns when all are there."""
        stage = self._stage
        seconds = count / stage.plan.connects_per_second
        for process, share in zip(
            self._processes, divide(count, len(self._processes)), strict=True
        ):
            process.ask(
                "open",
                port=server.target.port,
                secret=server.target.secret,
                first=self._opened + share.start,
                count=len(share),
                channels=channels,
                seconds=seconds,
            )
        self._opened += count
        stage.wait("all sockets are open", lambda: self.state()["live"] == self._opened)

    def redirect(self, ports: Sequence[int]) -> None:
        self._all("redirect", ports=ports)

    def expect_leaps(self) -> None:
        """Redis was started again: each is told once that something may be missing."""
        self._all("expect_leaps")

    def state(self) -> dict[str, int]:
        """Sums over all listeners; raises `Misdelivered` for what they found wrong."""
        answers = self._all("state")
        names = ("live", "lost", "caught_up", "may_leap")
        return {name: sum(answer[name] for answer in answers) for name in names}

    def wait_for(self, offsets: Mapping[str, int]) -> None:
        """Return when everybody has the last message of its channel."""

        def is_so() -> bool:
            return not sum(each["behind"] for each in self._all("behind", offsets=offsets))

        self._stage.wait("every socket has the last message of its channel", is_so)

    def returns(self) -> list[dict[str, float]]:
        return [record for answer in self._all("returns") for record in answer["returns"]]

    def busy_seconds(self) -> float:
        """The processor time of all processes so far."""
        return float(sum(answer["busy_seconds"] for answer in self._all("state")))

    def _all(self, do: str, **fields: object) -> list[dict[str, Any]]:
        answers = [process.ask(do, **fields) for process in self._processes]
        if wrong := [text for answer in answers for text in answer.get("wrong", ())]:
            raise Misdelivered("; ".join(wrong))
        return answers


class _Process:
    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.scaling.returning"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=with_package_path(dict(os.environ)),
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout

    def ask(self, do: str, **fields: object) -> dict[str, Any]:
        self._in.write(orjson.dumps({"do": do, **fields}) + b"\n")
        self._in.flush()
        if not select.select([self._out], [], [], _ANSWER_SECONDS_MAX)[0]:
            raise Misdelivered(f"no answer from the listeners within {_ANSWER_SECONDS_MAX:g} s")
        line = self._out.readline()
        if not line:
            raise Misdelivered(f"a process with listeners ended: {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._in.close()
        try:
            self._process.wait(3)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._out.close()


@contextlib.contextmanager
def listeners(stage: Stage) -> Iterator[Herd]:
    processes: list[_Process] = []
    try:
        for _ in range(_PROCESSES):
            processes.append(_Process())
        yield Herd(processes, stage)
    finally:
        for process in processes:
            process.stop()


class RestPublisher:
    """Publishes over REST to one replica, and knows where each channel stands."""

    def __init__(self, target: Target, channels: int) -> None:
        self._connection = http.client.HTTPConnection(target.host, target.port, timeout=20)
        self._headers = {
            "Authorization": f"Bearer {target.publisher_token()}",
            "Content-Type": "application/json",
        }
        self._names = [channel_of(number, channels) for number in range(channels)]
        self._next = 0
        self.offsets: dict[str, int] = {}

    def publish(self, count: int) -> None:
        """So many messages, going round the channels; raises `Misdelivered` if any is refused."""
        self._connection.close()  # the server has closed it meanwhile, if it was idle for long
        while count > 0:
            size = min(count, _BATCH)
            numbers = range(self._next, self._next + size)
            names = [self._names[number % len(self._names)] for number in numbers]
            self._post(names)
            self._next += size
            count -= size

    def publish_round(self) -> None:
        self.publish(len(self._names))

    def close(self) -> None:
        self._connection.close()

    def _post(self, names: Sequence[str]) -> None:
        messages = [{"channel": name, "data": f"{time.time():.3f}{'.' * 100}"} for name in names]
        body = orjson.dumps({"messages": messages})
        self._connection.request("POST", "/publish", body, self._headers)
        response = self._connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise Misdelivered(f"publishing was answered with {response.status} {answer[:300]!r}")
        for result in orjson.loads(answer)["results"]:
            if "offset" not in result:
                raise Misdelivered(f"a message was not published: {result}")
            self.offsets[result["channel"]] = result["offset"]
