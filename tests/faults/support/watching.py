"""Looking at gateways from outside, several times a second: what they say, and how soon."""

import contextlib
import http.client
import json
import math
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.servers import GatewayProcess

INTERVAL_SECONDS = 0.2
_TIMEOUT_SECONDS = 2.0


class Sample(NamedTuple):
    """What one gateway answered; a status of 0 means that nobody did."""

    time: float  # when it was asked whether it is ready
    replica: int
    answered: float
    ready: int
    reason: str
    health: int
    live_seconds: float  # how long /livez took
    starved_seconds: float  # how long gateway and test waited for a core meanwhile
    rss_bytes: int
    descriptors: int


class Watch:
    """Samples every gateway in a thread of its own until it is stopped."""

    def __init__(self, gateways: Sequence[GatewayProcess]) -> None:
        self._gateways = list(gateways)
        self._is_stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(index,), daemon=True)
            for index in range(len(self._gateways))
        ]
        self.samples: list[Sample] = []

    def __enter__(self) -> "Watch":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_stopping.set()
        for thread in self._threads:
            thread.join()
        self.samples.sort()

    def of(self, replica: int, since: float = 0.0, until: float = math.inf) -> list[Sample]:
        """In their order, also while it still watches."""
        chosen = [s for s in tuple(self.samples) if s.replica == replica]
        return sorted(s for s in chosen if since <= s.time <= until)

    def first(self, replica: int, since: float, *, ready: bool) -> float | None:
        """How long after that moment the gateway first said that it is (not) ready."""
        for sample in self.of(replica, since):
            if (sample.ready == 200) is ready:
                return sample.time - since
        return None

    def lag_p99_seconds(self, since: float = 0.0, until: float = math.inf) -> float:
        """The response time of /livez at the 99th of 100, without what the machine adds.

        A loop that hangs works or waits for something; on a busy machine it waits for a core,
        and so do we.
        """
        lags = sorted(
            max(sample.live_seconds - sample.starved_seconds, 0)
            for sample in tuple(self.samples)
            if sample.ready and since <= sample.time <= until
        )
        return lags[min(int(len(lags) * 0.99), len(lags) - 1)] if lags else 0.0

    def _run(self, index: int) -> None:
        due = time.monotonic()
        while not self._is_stopping.is_set():
            pid = self._gateways[index].pid
            starved = starved_seconds(pid)
            live_seconds = self._ask(index, "/livez")[2]
            starved = starved_seconds(pid) - starved
            began = time.monotonic()
            ready, answer, _ = self._ask(index, "/readyz")
            answered = time.monotonic()
            health, _, _ = self._ask(index, "/health")
            self.samples.append(
                Sample(
                    began,
                    index,
                    answered,
                    ready,
                    str(answer.get("reason", "")),
                    health,
                    live_seconds,
                    starved,
                    rss_bytes(pid),
                    descriptors(pid),
                )
            )
            due = max(due + INTERVAL_SECONDS, time.monotonic())
            self._is_stopping.wait(max(due - time.monotonic(), 0))

    def _ask(self, index: int, path: str) -> tuple[int, dict[str, Any], float]:
        began = time.monotonic()
        connection = http.client.HTTPConnection(
            "127.0.0.1", self._gateways[index].port, timeout=_TIMEOUT_SECONDS
        )
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            answer = json.loads(response.read())
            return response.status, answer, time.monotonic() - began
        except (OSError, http.client.HTTPException):
            return 0, {}, time.monotonic() - began
        finally:
            connection.close()


def untruthful(
    samples: Sequence[Sample],
    *,
    broken_at: float,
    healed_at: float,
    detect_seconds: float,
    recover_seconds: float,
) -> list[str]:
    """Moments of one gateway at which /readyz or /health did not say what was the case.

    Around each change the gateway has its time to find out. The two are asked one after the
    other, so only a contradiction that lasts counts.
    """
    wrong = []
    contradictions = 0
    for sample in samples:
        is_ready = sample.ready == 200
        if is_ready and broken_at + detect_seconds < sample.time < sample.answered < healed_at:
            wrong.append(f"ready {sample.time - broken_at:.1f} s after the fault")
        if not is_ready and (
            sample.answered < broken_at or sample.time > healed_at + recover_seconds
        ):
            after = sample.time - healed_at
            wrong.append(f"not ready {after:.1f} s after the end ({sample.reason})")
        contradictions = contradictions + 1 if is_ready != (sample.health == 200) else 0
        if contradictions > 2:
            wrong.append(f"/readyz {sample.ready}, /health {sample.health}")
    return wrong


def starved_seconds(pid: int) -> float:
    """How long a gateway's loop, our own loop, and this thread have waited for a core so far."""
    waited = 0
    for path in (f"/proc/{pid}/schedstat", "/proc/self/schedstat", "/proc/thread-self/schedstat"):
        with contextlib.suppress(OSError, IndexError):  # gone, or a kernel that does not count
            waited += int(Path(path).read_text().split()[1])
    return waited / 1e9


def rss_bytes(pid: int) -> int:
    """What the process has in memory; 0 when it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def descriptors(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0
