"""What is measured, one function per scenario, each with servers of its own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

from gateway.bench.crew import Count
from gateway.bench.figures import Figure, Measurement, cpu, rate
from gateway.bench.history import history
from gateway.bench.measuring import (
    BATCH,
    Bench,
    alternate,
    batch_call,
    latencies,
    post,
    rest_figures,
    single_call,
)
from gateway.bench.servers import CHANNEL, Missing, Server
from gateway.bench.target import Target

SEED = "seed's design"

Scenario = Callable[[Bench], Iterator[Figure]]


def fan_out(bench: Bench) -> Iterator[Figure]:
    """One channel; against the bare loop of send(), which runs in between."""
    plan, lab, crew = bench.plan, bench.lab, bench.crew
    with ExitStack() as stack:
        servers = {
            "gateway": stack.enter_context(lab.gateway(None)),
            lab.send_loop_name: stack.enter_context(lab.send_loop()),
        }
        try:
            redis = stack.enter_context(lab.redis())
            servers["gateway through Redis"] = stack.enter_context(lab.gateway(redis))
        except Missing as problem:
            bench.notes.append(f"no fan-out through Redis: {problem}")
        sockets = bench.fitting(plan.fan_out_sockets, len(servers))
        for name, server in servers.items():
            bench.open(name, server.target, sockets)
            crew.fan_out(name, seconds=plan.warm_up_seconds, outstanding=1)
        for outstanding, pairs, ratio_min in ((1, plan.pairs, 0.8), (16, plan.pairs_short, 8.0)):
            runs = alternate(bench, servers, pairs, outstanding, plan.seconds)
            reference = lab.send_loop_name
            title = f"{sockets:,} sockets, 1 channel, {outstanding} outstanding"
            for name, suffix in (("gateway", ""), ("gateway through Redis", "-redis")):
                if name not in runs:
                    continue
                key = f"fan-out-{outstanding}{suffix}"
                words = title + (", through Redis" if suffix else "")
                yield rate(
                    key,
                    words,
                    "deliveries/s",
                    runs[name],
                    reference,
                    runs[reference],
                    ratio_min=ratio_min,
                )
                yield cpu(f"{key}-cpu", runs[name], reference, runs[reference])
        for name in servers:
            crew.close(name)


def crowd(bench: Bench) -> Iterator[Figure]:
    """As many sockets as a replica should hold: what each of them costs, and how fast it is."""
    plan, lab, crew = bench.plan, bench.lab, bench.crew
    with lab.redis() as redis, lab.gateway(redis) as gateway, lab.seed(redis) as seed:
        sockets = bench.fitting(plan.crowd_sockets, 2)
        servers = {"gateway": gateway, SEED: seed}
        kilobytes = {}
        for name, server in servers.items():
            before = server.resident_kilobytes()
            bench.open(name, server.target, sockets)
            server.wait_idle()
            kilobytes[name] = (server.resident_kilobytes() - before) / sockets
            bench.say(f"  {name}: {kilobytes[name]:.1f} KB per socket")
        yield Figure(
            name="memory",
            title=f"memory per idle socket, {sockets:,} sockets",
            value=kilobytes["gateway"],
            unit="KB",
            reference=SEED,
            reference_value=kilobytes[SEED],
            ratio=kilobytes["gateway"] / kilobytes[SEED] if kilobytes[SEED] else None,
            value_max=6,
        )
        runs = alternate(bench, servers, plan.pairs_short, 2, plan.crowd_seconds)
        title = f"{sockets:,} sockets, 1 channel, 2 outstanding"
        yield rate("crowd", title, "deliveries/s", runs["gateway"], SEED, runs[SEED], ratio_min=4)
        yield cpu("crowd-cpu", runs["gateway"], SEED, runs[SEED])
        for name in servers:
            crew.close(name)


def connects(bench: Bench) -> Iterator[Figure]:
    """Sockets opened as fast as the server can, every one with a valid token of its own."""
    plan, lab = bench.plan, bench.lab
    with lab.redis() as redis, lab.gateway(redis) as gateway, lab.seed(redis) as seed:
        sockets = bench.fitting(plan.connect_sockets, 1)
        servers = {"gateway": gateway, SEED: seed}
        runs: dict[str, list[Measurement]] = {name: [] for name in servers}
        for _ in range(plan.pairs_short):
            for name, server in servers.items():

                def open_all(name: str = name, server: Server = server) -> Count:
                    return bench.open(name, server.target, sockets)

                runs[name].append(bench.run(name, server, open_all))
                bench.crew.close(name)
                server.wait_idle()
        title = f"authenticated connects, {sockets:,} sockets"
        yield rate("connects", title, "connects/s", runs["gateway"], SEED, runs[SEED], ratio_min=4)
        yield cpu("connects-cpu", runs["gateway"], SEED, runs[SEED], of="connect")


def channels(bench: Bench) -> Iterator[Figure]:
    """Many channels with one socket each, published into Redis directly."""
    plan, lab, crew = bench.plan, bench.lab, bench.crew
    with lab.redis() as redis, lab.gateway(redis) as gateway, lab.seed(redis) as seed:
        servers = {"gateway": gateway, SEED: seed}
        for name, server in servers.items():
            target = Target(
                server.target.kind,
                *server.address,
                CHANNEL,
                is_row=True,
                secret=lab.secret,
                redis=redis,
            )
            bench.open(name, target, plan.channels)
            server.wait_idle()  # the seed's design subscribes after the handshake
        runs: dict[str, list[Measurement]] = {name: [] for name in servers}
        for pair in range(plan.pairs_short + 1):
            for name, server in servers.items():
                seconds = plan.seconds if pair else plan.warm_up_seconds

                def row(name: str = name, seconds: float = seconds) -> Count:
                    return crew.row(name, seconds=seconds, outstanding=plan.row_outstanding)

                if not pair:
                    row()
                    continue
                runs[name].append(bench.run(name, server, row))
        title = (
            f"{plan.channels:,} channels, 1 socket each, {plan.row_outstanding} outstanding, "
            "through Redis"
        )
        yield rate(
            "channels", title, "deliveries/s", runs["gateway"], SEED, runs[SEED], ratio_min=3
        )
        yield cpu("channels-cpu", runs["gateway"], SEED, runs[SEED])
        for name in servers:
            crew.close(name)


def rest(bench: Bench) -> Iterator[Figure]:
    """Publishing over HTTP: the token verified, stored and sent through Redis, nobody listening."""
    plan, lab = bench.plan, bench.lab
    with lab.redis() as redis, lab.gateway(redis) as gateway, lab.empty() as empty:
        token = gateway.target.publisher_token()
        callers = {
            "single": (gateway, single_call(gateway.target, token), 1, 32),
            "empty POST": (empty, single_call(empty.target, ""), 1, 32),
            "batches": (gateway, batch_call(gateway.target, token), BATCH, 8),
        }
        runs: dict[str, list[Measurement]] = {name: [] for name in callers}
        for _ in range(plan.pairs_short):
            for name, (server, request, messages, connections) in callers.items():

                def call(
                    server: Server = server,
                    request: bytes = request,
                    messages: int = messages,
                    connections: int = connections,
                ) -> Count:
                    return post(bench, server.address, request, messages, connections, plan.seconds)

                runs[name].append(bench.run(name, server, call))
        yield from rest_figures(runs["single"], runs["batches"], runs["empty POST"])


def latency(bench: Bench) -> Iterator[Figure]:
    """Through Redis, at a rate that leaves the server most of its time."""
    with ExitStack() as stack:
        redis = stack.enter_context(bench.lab.redis()) if bench.lab.redis_program else None
        gateway = stack.enter_context(bench.lab.gateway(redis))
        sockets = bench.fitting(bench.plan.fan_out_sockets, 1)
        bench.open("gateway", gateway.target, sockets)
        bench.crew.fan_out("gateway", seconds=bench.plan.warm_up_seconds, outstanding=1)
        yield from latencies(bench, "gateway", sockets)
        bench.crew.close("gateway")


SCENARIOS: dict[str, Scenario] = {
    "fan-out": fan_out,
    "crowd": crowd,
    "connects": connects,
    "channels": channels,
    "rest": rest,
    "latency": latency,
    "history": history,
}
