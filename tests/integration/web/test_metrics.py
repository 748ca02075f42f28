"""What is measured, as Prometheus would read it from a real process."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.core.tokens import SigningKey, TokenIssuer
from gateway.domain.namespaces import SlowConsumer
from tests.support.clients import ISSUER, RawClient, call, make_token, publish_now
from tests.support.prometheus import names_of, promtool, samples_of, scrape
from tests.support.servers import (
    GatewayProcess,
    RedisServer,
    free_port,
    status_of,
    wait_until,
)

PUBLISHER = make_token("canary-publisher", "publisher")
LISTENER = make_token("canary-listener")
FORGED = TokenIssuer(
    SigningKey("1", b"another-secret-0123456789-abcdefghijklmnop"),
    issuer="gateway",
    audience="gateway",
    lifetime_seconds_max=60,
).issue("canary", lifetime_seconds=60)
EXPIRED = ISSUER.issue("canary", lifetime_seconds=1, issued_at=int(time.time()) - 3600)


@pytest.fixture
def alone(directory: Path) -> Iterator[GatewayProcess]:
    """One replica that nobody else counts on."""
    with GatewayProcess(directory) as process:
        yield process


def test_what_happens_is_counted(alone: GatewayProcess) -> None:
    before = scrape(alone.http + "/metrics")
    assert before["gateway_ready"] == 1
    assert before["gateway_connections_open"] == 0
    with (
        RawClient(alone.port).listen("canary-room", LISTENER) as first,
        RawClient(alone.port).listen("canary-room", LISTENER) as second,
    ):
        for n in range(3):
            assert publish_now(alone.http, "canary-room", n, PUBLISHER).status == 200
        sizes = [len(first.read_text().encode()) for _ in range(3)]
        assert [second.read_json()["data"] for _ in range(3)] == [0, 1, 2]
        assert publish_now(alone.http, "canary-room", 1, LISTENER).status == 403
        assert publish_now(alone.http, "canary room", 1, PUBLISHER).status == 422
        assert call(alone.http + "/users").status == 401
        for query in ("?token=canary", f"?token={FORGED}", "", f"?token={EXPIRED}"):
            with RawClient(alone.port) as refused:
                refused.upgrade(f"/ws/canary-room{query}")
                refused.read_close()
        now = scrape(alone.http + "/metrics")
    assert now["gateway_connections_open"] == 2
    assert now["gateway_users_connected"] == now["gateway_channels"] == 1
    assert now["gateway_subscriptions"] == 2
    assert now['gateway_handshakes_total{outcome="accepted"}'] == 2
    assert now['gateway_handshakes_total{outcome="invalid_token"}'] == 4
    assert now['gateway_auth_failures_total{reason="form"}'] == 1
    assert now['gateway_auth_failures_total{reason="signature"}'] == 1
    assert now['gateway_auth_failures_total{reason="expired"}'] == 1
    assert now['gateway_auth_failures_total{reason="missing"}'] == 2  # one by HTTP
    assert now['gateway_publishes_total{outcome="published"}'] == 3
    assert now['gateway_publishes_total{outcome="denied"}'] == 1
    assert now['gateway_publishes_total{outcome="invalid_channel"}'] == 1
    assert now['gateway_http_refusals_total{code="denied"}'] == 1
    assert now['gateway_http_requests_total{status="403"}'] == 1
    assert now["gateway_messages_received_total"] == 3
    assert now["gateway_deliveries_total"] == 6
    assert now["gateway_delivered_bytes_total"] == 2 * (sum(sizes) + 3 * 4)  # a frame's header
    latencies = now["gateway_delivery_latency_seconds_count"]
    assert 1 <= latencies <= 3  # once a batch, however many sockets there are
    assert 0 < now["gateway_delivery_latency_seconds_sum"] < 10 * latencies
    assert now["gateway_loop_lag_seconds_count"] > 0
    assert now["process_resident_memory_bytes"] > 1_000_000


def test_passwords_that_are_wrong_are_counted(alone: GatewayProcess) -> None:
    call(alone.http + "/login", json_body={"username": "nobody", "password": "wrong-as-can-be"})
    assert scrape(alone.http + "/metrics")['gateway_auth_failures_total{reason="credentials"}'] == 1


def test_nothing_that_a_user_chose_becomes_a_label(gateway: GatewayProcess) -> None:
    """S22: and so the number of time series does not grow with channels or users."""
    before = names_and_labels(gateway)
    for name in ("canary-one", "canary-two"):
        with RawClient(gateway.port).listen(name, make_token(f"canary-{name}")):
            publish_now(gateway.http, name, 1, PUBLISHER)
            call(f"{gateway.http}/canary-path?token=canary", headers={"X-Request-ID": "canary-id"})
            assert "canary" not in call(gateway.http + "/metrics").body.decode()
    new = names_and_labels(gateway) - before
    assert {name.partition("{")[0] for name in new} <= {"gateway_http_requests_total"}


def names_and_labels(gateway: GatewayProcess) -> set[str]:
    return set(scrape(gateway.http + "/metrics"))


def test_prometheus_own_linter_finds_nothing_to_improve(gateway: GatewayProcess) -> None:
    assert promtool("check", "metrics", stdin=call(gateway.http + "/metrics").body.decode()) == ""


def test_what_may_be_counted_is_there_from_the_beginning(alone: GatewayProcess) -> None:
    """A counter that comes out of nothing has no rise to Prometheus."""
    found = scrape(alone.http + "/metrics")
    for policy in SlowConsumer:
        assert found[f'gateway_slow_consumer_messages_dropped_total{{policy="{policy}"}}'] == 0
    for code in ("unavailable", "crowded", "limit_reached", "denied"):
        assert found.get(f'gateway_handshakes_total{{outcome="{code}"}}', 0) == 0
    assert found['gateway_publishes_total{outcome="unavailable"}'] == 0
    assert found['gateway_auth_failures_total{reason="revoked"}'] == 0


def test_the_way_to_redis_is_measured(redis_server: RedisServer, directory: Path) -> None:
    with RedisServer(directory) as server, GatewayProcess(directory, redis_url=server.url) as one:
        found = scrape(one.http + "/metrics")
        assert found["gateway_redis_troubles"] == 0
        assert found["gateway_redis_proof_age_seconds"] < 30
        server.freeze()
        try:
            wait_until(
                lambda: scrape(one.http + "/metrics")["gateway_redis_troubles"] == 1, "it shows"
            )
            frozen = scrape(one.http + "/metrics")
            assert frozen["gateway_ready"] == 0
            assert frozen["gateway_redis_proof_age_seconds"] > 0.5
        finally:
            server.thaw()
        wait_until(lambda: scrape(one.http + "/metrics")["gateway_ready"] == 1, "it is back")
        assert scrape(one.http + "/metrics")["gateway_redis_reconnects_total"] >= 1


# Where it is served.


def test_it_can_be_turned_off(directory: Path) -> None:
    with GatewayProcess(directory, metrics=False) as process:
        assert call(process.http + "/metrics").status == 404


def test_a_port_of_its_own_answers_that_and_nothing_else(directory: Path) -> None:
    """S52: and the port of the clients does not, in production neither."""
    port = free_port()
    with GatewayProcess(directory, metrics_port=port, env="production") as process:
        url = f"http://127.0.0.1:{port}"
        answer = call(url + "/metrics?x=1")
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert samples_of(answer.body.decode())["gateway_ready"] == 1
        for path in ("/", "/health", "/metrics/", "/publish/room", "/metricsx"):
            assert call(url + path).status == 404
        assert call(url + "/metrics", method="POST", body=b"x").status == 404
        assert call(process.http + "/metrics").status == 404


@pytest.mark.long
def test_who_asks_strangely_or_never_ends_is_cut_off(directory: Path) -> None:
    port = free_port()
    with GatewayProcess(directory, metrics_port=port):
        with RawClient(port) as endless:
            assert endless.is_thrown_out(15)
        with RawClient(port) as long:
            long.send(b"GET /metrics HTTP/1.1\r\n" + b"a: b\r\n" * 2000)
            assert long.read_to_end() == b""
        crowd = [RawClient(port) for _ in range(25)]
        try:
            ended = [client for client in crowd[20:] if client.read_to_end() == b""]
            assert len(ended) == 5
        finally:
            for client in crowd:
                client.close()
        wait_until(lambda: status_of(f"http://127.0.0.1:{port}/metrics") == 200, "it answers", 10)


@pytest.mark.long
def test_workers_each_have_a_port_and_the_shared_one_says_why_not(
    directory: Path, redis_server: RedisServer
) -> None:
    base = free_ports(2)
    settings = {"redis_url": redis_server.url, "redis_prefix": "metrics-workers", "workers": 2}
    with GatewayProcess(directory, **settings, metrics_port=base) as gateway:
        urls = [f"http://127.0.0.1:{port}/metrics" for port in (base, base + 1)]
        for url in urls:
            wait_until(lambda url=url: status_of(url) == 200, "each worker answers")
        starts = {scrape(url)["process_start_time_seconds"] for url in urls}
        pids_differ = {scrape(url)["process_cpu_seconds_total"] for url in urls}
        assert len(starts | pids_differ) > 2
        with RawClient(gateway.port).listen("room", LISTENER):
            open_now = sorted(scrape(url)["gateway_connections_open"] for url in urls)
            assert open_now == [0, 1]
        assert call(gateway.http + "/metrics").status == 404
    with GatewayProcess(directory, **settings, metrics=True) as gateway:
        answer = call(gateway.http + "/metrics")
        assert answer.status == 404
        assert "GATEWAY_METRICS_PORT" in answer.json["detail"]


@pytest.mark.long
def test_a_port_that_is_taken_keeps_nobody_from_working(directory: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with GatewayProcess(directory, metrics_port=port) as process:
            assert status_of(process.http + "/readyz") == 200
            wait_until(lambda: "no port for measures" in process.log, "it says so", 5)
            taken.close()
            url = f"http://127.0.0.1:{port}/metrics"
            wait_until(lambda: status_of(url) == 200, "it tries again", 15)
            assert process.log.count("no port for measures") == 1


def free_ports(count: int) -> int:
    """The first of so many free ports in a row."""
    while True:
        first = free_port()
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first


def test_every_name_follows_the_conventions(gateway: GatewayProcess) -> None:
    text = call(gateway.http + "/metrics").body.decode()
    kinds = {
        line.split()[2]: line.split()[3] for line in text.splitlines() if line.startswith("# TYPE")
    }
    ours = {name for name in names_of(samples_of(text)) if name.startswith("gateway_")}
    assert len(ours) > 30
    for name, kind in kinds.items():
        assert name.startswith(("gateway_", "process_", "python_"))
        assert name.endswith("_total") is (kind == "counter"), name
