"""Aiming at a server that runs already: what can be measured without control over it."""

import ipaddress
import secrets
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

from gateway.bench.crew import Count
from gateway.bench.figures import Figure, Measurement, rate
from gateway.bench.measuring import (
    BATCH,
    Bench,
    batch_call,
    latencies,
    post,
    rest_figures,
    single_call,
)
from gateway.bench.scenarios import Scenario
from gateway.bench.target import Kind, Target

GROUP = "server"


class BadOptions(Exception):
    """The options cannot be used; the text is one line for the caller."""


def attach(url: str, token: str, *, is_own_server: bool) -> Target:
    """The target behind a URL; raises `BadOptions`, also for a server on another machine."""
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        host = None
    if parts.scheme != "ws" or not host or parts.path not in ("", "/"):
        raise BadOptions("--url is written like ws://127.0.0.1:8000 (no TLS, no path)")
    if not token:
        raise BadOptions(
            "--url needs --token: one for a user who may publish, as 'gateway token --role "
            "publisher' prints"
        )
    try:
        found = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:
        raise BadOptions(f"--url: {host}: {error.strerror}") from None
    address = str(found[0][4][0])
    if not ipaddress.ip_address(address).is_loopback and not is_own_server:
        raise BadOptions(
            f"{host} is not this machine, and a load test of somebody else's server is an attack; "
            "if it is yours, say so with --i-own-this-server"
        )
    # A channel of our own: others' messages would be errors here.
    channel = f"bench-{secrets.token_hex(4)}"
    return Target(Kind.GATEWAY, address, port, channel, token=token)


def _fan_out(bench: Bench) -> Iterator[Figure]:
    """One channel, many sockets."""
    plan, target = bench.plan, _target(bench)
    sockets = bench.fitting(plan.fan_out_sockets, 1)
    bench.open(GROUP, target, sockets)
    for outstanding in (1, 16):

        def run(outstanding: int = outstanding) -> Count:
            return bench.crew.fan_out(GROUP, seconds=plan.seconds, outstanding=outstanding)

        runs = [bench.run("server", None, run) for _ in range(plan.pairs_short)]
        title = f"{sockets:,} sockets, 1 channel, {outstanding} outstanding"
        yield rate(f"fan-out-{outstanding}", title, "deliveries/s", runs)
    bench.crew.close(GROUP)


def _connects(bench: Bench) -> Iterator[Figure]:
    """Sockets opened as fast as the server can."""
    plan, target = bench.plan, _target(bench)
    sockets = bench.fitting(plan.connect_sockets, 1)
    runs: list[Measurement] = []
    for _ in range(plan.pairs_short):
        runs.append(bench.run("server", None, lambda: bench.open(GROUP, target, sockets)))
        bench.crew.close(GROUP)
    title = f"authenticated connects, {sockets:,} sockets, one token"
    yield rate("connects", title, "connects/s", runs)


def _rest(bench: Bench) -> Iterator[Figure]:
    """Publishing over HTTP, one message and a batch per request."""
    plan, target = bench.plan, _target(bench)
    address = (target.host, target.port)
    calls = (single_call(target, target.token), 1, 32), (batch_call(target, target.token), BATCH, 8)
    runs: list[list[Measurement]] = []
    for request, messages, connections in calls:

        def call(
            request: bytes = request, messages: int = messages, connections: int = connections
        ) -> Count:
            return post(bench, address, request, messages, connections, plan.seconds)

        what = f"{messages} per request"
        runs.append([bench.run(what, None, call) for _ in range(plan.pairs_short)])
    single, batches = runs
    yield from (figure for figure in rest_figures(single, batches, []) if "cpu" not in figure.name)


def _latency(bench: Bench) -> Iterator[Figure]:
    """From the moment a message was due to its arrival at each socket."""
    sockets = bench.fitting(bench.plan.fan_out_sockets, 1)
    bench.open(GROUP, _target(bench), sockets)
    yield from latencies(bench, GROUP, sockets)
    bench.crew.close(GROUP)


def _target(bench: Bench) -> Target:
    assert bench.attached is not None
    return bench.attached


ATTACHED_SCENARIOS: dict[str, Scenario] = {
    "fan-out": _fan_out,
    "connects": _connects,
    "rest": _rest,
    "latency": _latency,
}
