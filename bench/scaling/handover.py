"""One of three replicas is killed: how long until its sockets are back and have caught up?"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.scaling.herd import RestPublisher, listeners
from bench.scaling.lag import Probe
from bench.scaling.redis_process import RedisProcess
from bench.scaling.stage import Stage
from gateway.bench.checker import Misdelivered
from gateway.bench.figures import Figure

_REPLICAS = 3
_PUBLISH_SECONDS = 0.25
_BEFORE_SECONDS = 1.0
_READS = ("xrange", "xrevrange")  # of the history


@dataclass(frozen=True, slots=True)
class Storm:
    """What it was like while they came back; times in seconds, sorted."""

    records: list[dict[str, float]]  # one for each that came back
    seconds: float
    survivors_seconds: float  # of their processor
    generator_seconds: float
    reads: int  # of the history, by all survivors together
    drops: int  # of connects, by the kernel
    lags_before: list[float]
    lags: list[float]

    def each(self, name: str) -> list[float]:
        return sorted(record[name] for record in self.records)


def handover(stage: Stage) -> Iterator[Figure]:
    """Its sockets come back to the other two with since=, while messages go on."""
    for admitted in stage.plan.admitted:
        storm = _storm(stage, admitted)
        if len(storm.records) != stage.plan.thrown:
            raise Misdelivered(f"{len(storm.records)} were thrown off, not {stage.plan.thrown}")
        if storm.drops:
            stage.notes.append(f"the kernel dropped {storm.drops} connects at a full backlog")
        stage.say(f"  {admitted or 'all'} let in per second: {storm.seconds:.2f} s until all are")
        yield from _figures(stage, admitted, storm)


def _storm(stage: Stage, admitted: int) -> Storm:
    plan = stage.plan
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(RedisProcess())
        start = partial(stage.lab.gateway, redis.address, admitted=admitted)
        servers = [stack.enter_context(start()) for _ in range(_REPLICAS)]
        killed, *survivors = servers
        herd = stack.enter_context(listeners(stage))
        for server in servers:
            herd.open(server, plan.thrown if server is killed else plan.staying, plan.channels)
        publisher = RestPublisher(survivors[0].target, plan.channels)
        publisher.publish_round()  # now everybody has a position to come back with
        herd.wait_for(publisher.offsets)
        herd.redirect([server.target.port for server in survivors])

        def spent() -> Sequence[float]:
            cpu = sum(server.cpu_seconds() for server in survivors)
            return cpu, herd.busy_seconds(), redis.calls(*_READS), listen_drops()

        with contextlib.ExitStack() as watch:
            probes = [
                watch.enter_context(contextlib.closing(Probe(*server.address)))
                for server in survivors
            ]
            for probe in probes:
                watch.enter_context(repeated(probe.turn))
            lags = [probe.late for probe in probes]
            watch.enter_context(repeated(_publishing(publisher, plan.published_per_second)))
            time.sleep(_BEFORE_SECONDS)
            lags_before = sorted(late for lag in lags for late in lag)
            for lag in lags:
                lag.clear()
            before, gone = spent(), time.monotonic()
            killed.process.kill()
            stage.wait(
                "all sockets are back and have caught up",
                lambda: herd.state()["caught_up"] == plan.thrown,
            )
            seconds = time.monotonic() - gone
            cpu, busy, reads, drops = (b - a for a, b in zip(before, spent(), strict=True))
        herd.wait_for(publisher.offsets)
        publisher.close()
        during = sorted(late for lag in lags for late in lag)
        return Storm(
            herd.returns(), seconds, cpu, busy, int(reads), int(drops), lags_before, during
        )


def _figures(stage: Stage, admitted: int, storm: Storm) -> Iterator[Figure]:
    plan = stage.plan
    key = f"handover-{admitted or 'open'}"

    def figure(name: str, title: str, value: float, unit: str) -> Figure:
        return Figure(f"{key}-{name}", f"  {title}", value, unit)

    limit = f"{admitted:,} let in per second and replica" if admitted else "no limit of admission"
    title = f"{plan.thrown:,} sockets of a killed replica are back; {limit}"
    yield Figure(key, title, storm.each("caught_up")[-1], "s")
    for name, words in (("back", "connected again"), ("caught_up", "caught up")):
        for percent in (50, 99):
            value = percentile(storm.each(name), percent)
            yield figure(f"{name}-{percent}", f"{words}, p{percent}", value, "s")
    for percent in (50, 99):
        value = percentile(storm.each("handshake"), percent) * 1000
        yield figure(f"handshake-{percent}", f"handshake of those let in, p{percent}", value, "ms")
    turned = sum(storm.each("turned_away"))
    yield figure("turned-away", "told to come later", turned, "times")
    reads = storm.reads / plan.channels / (_REPLICAS - 1)
    yield figure("reads", "history reads per channel and replica", reads, "")
    shared = plan.thrown / max(storm.reads, 1)
    yield figure("shared", "returns for each history read", shared, "")
    cpu = storm.survivors_seconds * 1e6 / plan.thrown
    yield figure("cpu", "survivors' CPU per return, with all else they did", cpu, "µs")
    for name, words, late in (
        ("before", "before", storm.lags_before),
        ("lag", "meanwhile", storm.lags),
    ):
        value = percentile(late, 99) * 1000
        yield figure(f"{name}-99", f"survivors' /livez {words}, p99", value, "ms")
        yield figure(f"{name}-max", f"survivors' /livez {words}, longest", late[-1] * 1000, "ms")
    yield figure("drops", "connects that the kernel dropped", storm.drops, "")
    busy = storm.generator_seconds / storm.seconds * 100
    yield figure("generator", "generator busy, of one core", busy, "%")


def percentile(values: Sequence[float], percent: float) -> float:
    """Of sorted values: the smallest that is not below so many of them."""
    return values[max(0, -(-len(values) * int(percent) // 100) - 1)]


@contextlib.contextmanager
def repeated(act: Callable[[], float]) -> Iterator[None]:
    """Call it again and again, each time after as many seconds as it returns; its error is ours."""
    ending = threading.Event()
    errors: list[Exception] = []

    def run() -> None:
        try:
            while not ending.wait(max(0.0, act())):
                pass
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()
    if errors:
        raise Misdelivered(f"while sockets came back: {errors[0]!r}")


def _publishing(publisher: RestPublisher, per_second: int) -> Callable[[], float]:
    due = time.monotonic()

    def act() -> float:
        nonlocal due
        publisher.publish(max(1, int(per_second * _PUBLISH_SECONDS)))
        due += _PUBLISH_SECONDS
        return due - time.monotonic()

    return act


def listen_drops() -> int:
    """How many connects the kernel threw away because a backlog was full, since it started."""
    names, values = (
        line.split()
        for line in Path("/proc/net/netstat").read_text().splitlines()
        if line.startswith("TcpExt:")
    )
    return int(dict(zip(names, values, strict=True))["ListenDrops"])
