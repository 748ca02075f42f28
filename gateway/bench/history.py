"""What is kept: the price of storing it, and how fast it is read and resumed from."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from statistics import median

from gateway.bench.crew import Count
from gateway.bench.figures import Figure, Measurement, cpu, rate
from gateway.bench.http_load import question_of
from gateway.bench.kept import BEHIND, KEPT, history_answer
from gateway.bench.measuring import Bench, alternate, single_call
from gateway.bench.servers import Server
from gateway.bench.storing import fill
from gateway.bench.target import Publishing, Target

_STORED, _BARE = "stored", "bare PUBLISH"
_READERS = 8
_RESUMING = 16
_EMPTY = "empty FastAPI POST"
_CONNECTS = "connects without since"


def history(bench: Bench) -> Iterator[Figure]:
    """Through the publish script and back: fan-out of what is stored, reads and resumes."""
    with bench.lab.redis() as redis, bench.lab.gateway(redis) as gateway:
        yield from _fan_out(bench, gateway)
        kept = replace(gateway.target, channel="kept")
        fill(redis, kept.channel)
        yield from _reads(bench, gateway, kept)
        yield from _resumes(bench, gateway, kept)


def _fan_out(bench: Bench, gateway: Server) -> Iterator[Figure]:
    plan, lab, loop = bench.plan, bench.lab, bench.lab.send_loop_name
    with lab.send_loop() as send_loop:
        # Names of one length, so that all frames have one size. Two channels of one gateway:
        # nobody publishes on the one while the other is measured.
        targets = {
            _STORED: replace(gateway.target, publishing=Publishing.STORED),
            _BARE: replace(gateway.target, channel="plain", publishing=Publishing.BARE),
            loop: send_loop.target,
        }
        servers = {_STORED: gateway, _BARE: gateway, loop: send_loop}
        sockets = bench.fitting(plan.fan_out_sockets, len(targets))
        for name, target in targets.items():
            bench.open(name, target, sockets)
            bench.crew.fan_out(name, seconds=plan.warm_up_seconds, outstanding=1)
        for outstanding in (1, 16):
            runs = alternate(bench, servers, plan.pairs_short, outstanding, plan.seconds)
            for name, suffix in ((_STORED, ""), (_BARE, "-bare")):
                key = f"history-{outstanding}{suffix}"
                title = f"{sockets:,} sockets, 1 channel, {outstanding} outstanding, {name}"
                yield rate(key, title, "deliveries/s", runs[name], loop, runs[loop])
                yield cpu(f"{key}-cpu", runs[name], loop, runs[loop])
        for name in targets:
            bench.crew.close(name)
        gateway.wait_idle()


def _reads(bench: Bench, gateway: Server, kept: Target) -> Iterator[Figure]:
    plan = bench.plan
    token = kept.publisher_token()
    path = f"/channels/{kept.channel}/history?limit={KEPT}"
    with bench.lab.empty() as empty:
        callers = {
            "history reads": (
                gateway,
                question_of(path, port=kept.port, token=token),
                history_answer(kept.channel),
            ),
            "empty POST": (empty, single_call(empty.target, ""), '"status":"published"'),
        }
        runs: dict[str, list[Measurement]] = {name: [] for name in callers}
        for _ in range(plan.pairs_short):
            for name, (server, request, mark) in callers.items():

                def call(
                    server: Server = server, request: bytes = request, mark: str = mark
                ) -> Count:
                    return bench.crew.requests(
                        server.address,
                        request,
                        connections=_READERS,
                        seconds=plan.seconds,
                        mark=mark,
                    )

                runs[name].append(bench.run(name, server, call))
    reads, posts = runs["history reads"], runs["empty POST"]
    title = f"history reads, {KEPT} messages each, {_READERS} connections"
    yield rate("history-reads", title, "reads/s", reads, _EMPTY, posts)
    yield cpu("history-reads-cpu", reads, _EMPTY, posts, of="read")


def _resumes(bench: Bench, gateway: Server, kept: Target) -> Iterator[Figure]:
    plan, crew = bench.plan, bench.crew
    sockets = bench.fitting(plan.fan_out_sockets, 1)

    def in_turn(behind: int, seconds: float = plan.seconds) -> Count:
        return crew.resume(kept, sockets, behind=behind, seconds=seconds, in_flight=_RESUMING)

    def at_once(behind: int) -> Count:
        return crew.resume(kept, sockets, behind=behind)

    in_turn(BEHIND, plan.warm_up_seconds)
    resumes, connects = _compared(bench, gateway, in_turn, f"{_RESUMING} at a time")
    title = f"resumes, {BEHIND} messages behind, {_RESUMING} at a time"
    yield rate("resumes", title, "resumes/s", resumes, _CONNECTS, connects)
    yield cpu("resumes-cpu", resumes, _CONNECTS, connects, of="resume")
    resumes, connects = _compared(bench, gateway, at_once, "all at once")
    yield herd_figure(sockets, resumes, connects)
    yield cpu("resume-herd-cpu", resumes, _CONNECTS, connects, of="resume")


def _compared(
    bench: Bench, gateway: Server, resume: Callable[[int], Count], how: str
) -> tuple[list[Measurement], list[Measurement]]:
    """Runs of sockets that have missed something, and in turn of such that are new."""
    resumes: list[Measurement] = []
    connects: list[Measurement] = []
    for _ in range(bench.plan.pairs_short):
        for name, behind, runs in (("resumes", BEHIND, resumes), (_CONNECTS, 0, connects)):
            gateway.wait_idle()
            runs.append(bench.run(f"{name}, {how}", gateway, partial(resume, behind)))
    return resumes, connects


def herd_figure(sockets: int, resumes: list[Measurement], connects: list[Measurement]) -> Figure:
    """How long it takes until the last of them has caught up, as a time."""
    values, others = (
        [sockets / run.per_second * 1000 for run in side] for side in (resumes, connects)
    )
    return Figure(
        name="resume-herd",
        title=f"{sockets:,} sockets resume at once, {BEHIND} messages behind",
        value=median(values),
        unit="ms",
        reference=_CONNECTS,
        reference_value=median(others),
        ratio=median(value / other for value, other in zip(values, others, strict=True)),
        runs=values,
        reference_runs=others,
    )
