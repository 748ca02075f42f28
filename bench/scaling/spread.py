"""One channel, all replicas: what a delivery costs each of them, and a message Redis."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median

from bench.scaling.redis_process import RedisProcess
from bench.scaling.stage import Stage
from gateway.bench.crew import Count, Crew, hired
from gateway.bench.figures import Figure
from gateway.bench.servers import Server
from gateway.bench.target import Publishing

_GROUP = "spread"
_IN_FLIGHT = 64


@dataclass(frozen=True, slots=True)
class Run:
    per_second: float
    replica_microseconds: float  # for each delivery
    redis_microseconds: float  # for each message, without what it spends at rest
    redis_proc_seconds: float  # the same by the kernel, which counts in ticks, for all messages
    messages: float
    script_microseconds: float
    generator_share: float


def spread(stage: Stage) -> Iterator[Figure]:
    """The same number of sockets on each replica; a message is stored, and sent to all."""
    for replicas in stage.plan.replicas:
        with contextlib.ExitStack() as stack:
            redis = stack.enter_context(RedisProcess())
            servers = [
                stack.enter_context(stage.lab.gateway(redis.address)) for _ in range(replicas)
            ]
            crew = stack.enter_context(hired(replicas, stage.lab.cores))
            targets = [replace(s.target, publishing=Publishing.STORED) for s in servers]
            crew.open_each(_GROUP, targets, stage.plan.sockets_each, _IN_FLIGHT)
            crew.fan_out(_GROUP, seconds=stage.plan.warm_up_seconds, outstanding=1)
            rest = _at_rest(redis, stage.plan.rest_seconds)
            title = f"Redis CPU per second at rest, {_count(replicas)} connected"
            yield Figure(f"rest-{replicas}", title, rest * 1e6, "µs")
            for outstanding in stage.plan.outstanding:
                runs = [
                    _run(stage, crew, redis, servers, outstanding, rest)
                    for _ in range(stage.plan.runs)
                ]
                yield from _figures(stage, replicas, outstanding, runs)


def _at_rest(redis: RedisProcess, seconds: float) -> float:
    """Seconds of processor time in each second in which nobody publishes."""
    before = redis.cpu_seconds()
    time.sleep(seconds)
    return (redis.cpu_seconds() - before) / seconds


def _run(
    stage: Stage,
    crew: Crew,
    redis: RedisProcess,
    servers: Sequence[Server],
    outstanding: int,
    rest: float,
) -> Run:
    plan = stage.plan
    used = [server.cpu_seconds() for server in servers]
    before = redis.cpu_seconds(), redis.proc_cpu_seconds(), redis.command_seconds("evalsha")
    count: Count = crew.fan_out(_GROUP, seconds=plan.seconds, outstanding=outstanding)
    after = redis.cpu_seconds(), redis.proc_cpu_seconds(), redis.command_seconds("evalsha")
    spent = sum(s.cpu_seconds() - was for s, was in zip(servers, used, strict=True))
    messages = count.count / (plan.sockets_each * len(servers))
    own, proc, script = (b - a for a, b in zip(before, after, strict=True))
    own, proc = (max(0.0, spent - rest * count.seconds) for spent in (own, proc))
    run = Run(
        per_second=count.per_second,
        replica_microseconds=spent * 1e6 / count.count,
        redis_microseconds=own * 1e6 / messages,
        redis_proc_seconds=proc,
        messages=messages,
        script_microseconds=script * 1e6 / messages,
        generator_share=count.busy_share,
    )
    stage.say(
        f"  {len(servers)} replicas, {outstanding} outstanding: {run.per_second:,.0f} "
        f"deliveries/s, {run.replica_microseconds:.2f} µs each, Redis {own:.0f} µs per message"
    )
    return run


def _figures(
    stage: Stage, replicas: int, outstanding: int, runs: Sequence[Run]
) -> Iterator[Figure]:
    key = f"spread-{replicas}-{outstanding}"
    title = (
        f"{_count(replicas)}, {stage.plan.sockets_each:,} sockets each, {outstanding} outstanding"
    )

    def figure(suffix: str, title: str, values: Sequence[float], unit: str) -> Figure:
        return Figure(key + suffix, title, median(values), unit, runs=list(values))

    yield figure("", title, [run.per_second for run in runs], "deliveries/s")
    each = [run.replica_microseconds for run in runs]
    yield figure("-cpu", "  replica CPU per delivery", each, "µs")
    redis = [run.redis_microseconds for run in runs]
    proc = sum(run.redis_proc_seconds for run in runs) * 1e6 / sum(run.messages for run in runs)
    yield replace(
        figure("-redis", "  Redis CPU per message", redis, "µs"),
        reference="by the kernel",
        reference_value=proc,
    )
    yield figure("-script", "    of it in the script", [r.script_microseconds for r in runs], "µs")
    yield figure("-generator", "  generator busy", [r.generator_share * 100 for r in runs], "%")


def _count(replicas: int) -> str:
    return f"{replicas} replica{'s' if replicas > 1 else ''}"
