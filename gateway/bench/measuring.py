"""What the scenarios share: their means, runs in turn, and figures that several of them print."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import orjson

from gateway.bench.crew import Count, Crew
from gateway.bench.figures import Figure, Measurement, cpu, measure, number, rate
from gateway.bench.http_load import request_of
from gateway.bench.machine import sockets_that_fit
from gateway.bench.plan import Plan
from gateway.bench.servers import Lab, Server
from gateway.bench.stream import data_of
from gateway.bench.target import Target

BATCH = 100
_BUSY_SHARE_TOLERATED = 0.9


@dataclass
class Bench:
    """What the scenarios share."""

    lab: Lab
    crew: Crew
    plan: Plan
    workers: int
    descriptors: int
    attached: Target | None = None  # a server that we did not start
    notes: list[str] = field(default_factory=list)
    waited_share_max: float = 0.0
    limited: list[str] = field(default_factory=list)  # runs in which the generator had no rest

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def fitting(self, sockets: int, servers: int) -> int:
        """So many sockets to each server, or as many as the descriptor limit has room for."""
        room = sockets_that_fit(self.descriptors, self.workers, servers)
        if sockets > room:
            self.notes.append(f"{sockets:,} sockets do not fit here: {room:,} were used")
        return min(sockets, room)

    def open(self, group: str, target: Target, sockets: int) -> Count:
        return self.crew.open(group, target, sockets, self.plan.in_flight)

    def run(self, what: str, server: Server | None, run: Callable[[], Count]) -> Measurement:
        measurement = measure(server, run)
        self.waited_share_max = max(self.waited_share_max, measurement.waited_share)
        if measurement.busy_share > _BUSY_SHARE_TOLERATED and what not in self.limited:
            self.limited.append(what)
        self.say(
            f"  {what}: {number(measurement.per_second)}/s, "
            f"generator {measurement.busy_share:.0%} busy"
        )
        return measurement


def alternate(
    bench: Bench, servers: dict[str, Server], pairs: int, outstanding: int, seconds: float
) -> dict[str, list[Measurement]]:
    """Fan-out runs of all servers in turn, so that a slow moment of the machine hits all."""
    runs: dict[str, list[Measurement]] = {name: [] for name in servers}
    for _ in range(pairs):
        for name, server in servers.items():

            def run(name: str = name) -> Count:
                return bench.crew.fan_out(name, seconds=seconds, outstanding=outstanding)

            runs[name].append(bench.run(f"{name}, {outstanding} outstanding", server, run))
    return runs


def latencies(bench: Bench, group: str, sockets: int) -> Iterator[Figure]:
    plan = bench.plan
    found = bench.crew.pace(group, rate=plan.latency_rate, seconds=plan.latency_seconds)
    title = f"latency, {sockets:,} sockets, {plan.latency_rate:g} messages/s"
    for name, seconds in (
        ("p50", found.percentile(50)),
        ("p99", found.percentile(99)),
        ("max", found.max_seconds),
    ):
        bench.say(f"  {name}: {seconds * 1000:.2f} ms")
        yield Figure(f"latency-{name}", f"{title}, {name}", seconds * 1000, "ms")


def single_call(target: Target, token: str) -> bytes:
    body = orjson.dumps({"data": data_of(0).decode()})
    return request_of(f"/publish/{target.channel}", body, port=target.port, token=token)


def batch_call(target: Target, token: str) -> bytes:
    entry = {"channel": target.channel, "data": data_of(0).decode()}
    body = orjson.dumps({"messages": [entry] * BATCH})
    return request_of("/publish", body, port=target.port, token=token)


def post(
    bench: Bench,
    address: tuple[str, int],
    request: bytes,
    messages: int,
    connections: int,
    seconds: float,
) -> Count:
    """Publish over and over; each answer must say of every message that it was published."""
    answered = bench.crew.requests(
        address,
        request,
        connections=connections,
        seconds=seconds,
        mark='"status":"published"',
        marks=messages,
    )
    return replace(answered, count=answered.count * messages)


def rest_figures(
    single: list[Measurement], batches: list[Measurement], empty: list[Measurement]
) -> Iterator[Figure]:
    yield rate(
        "rest-single",
        "REST publish, one message per request",
        "messages/s",
        single,
        "empty FastAPI POST",
        empty,
        ratio_min=0.6,
    )
    yield cpu("rest-single-cpu", single, "empty FastAPI POST", empty, of="request")
    yield rate(
        "rest-batch",
        f"REST publish, {BATCH} messages per request",
        "messages/s",
        batches,
        "one per request",
        single,
        ratio_min=20,
    )
