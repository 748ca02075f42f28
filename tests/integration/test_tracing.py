"""Traces through real replicas, as a collector gets them."""

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from redis import Redis

from tests.support.clients import RawClient, call, make_token, publish_now
from tests.support.servers import GatewayProcess, RedisServer, free_port, replicas, wait_until

PUBLISHER = make_token("alice", "publisher")
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


class Found(NamedTuple):
    replica: str
    span: Span


class Collector:
    """Takes OTLP over HTTP, and keeps what it is sent as it is."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.requests.append(body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """The tests have a log of their own."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def spans(self) -> list[Found]:
        found = []
        for body in tuple(self.requests):
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                about = {one.key: one.value.string_value for one in resource.resource.attributes}
                for scope in resource.scope_spans:
                    found += [Found(about["service.instance.id"], span) for span in scope.spans]
        return found

    def named(self, name: str) -> list[Found]:
        return [one for one in self.spans() if one.span.name == name]


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    collector = Collector()
    thread = threading.Thread(target=collector.server.serve_forever)
    thread.start()
    yield collector
    collector.server.shutdown()
    thread.join()
    collector.server.server_close()


@pytest.fixture(scope="module")
def traced(
    collector: Collector, tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer
) -> Iterator[list[GatewayProcess]]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        environment.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        settings = {"redis_url": redis_server.url, "redis_prefix": "traced", "tracing": True}
        with replicas(tmp_path_factory.mktemp("traced"), 2, **settings) as started:
            yield started


def test_a_trace_goes_from_the_publisher_through_redis_to_each_replica(
    traced: list[GatewayProcess], collector: Collector
) -> None:
    first, second = traced
    listener = make_token("bob")
    with (
        RawClient(first.port).listen("room", listener) as one,
        RawClient(first.port).listen("room", listener) as two,
        RawClient(second.port).listen("room", listener) as three,
    ):
        headers = {"traceparent": TRACEPARENT}
        url = f"{first.http}/publish/room"
        answer = call(url, json_body={"data": "hi"}, token=PUBLISHER, headers=headers)
        assert answer.status == 200
        assert [socket.read_json()["data"] for socket in (one, two, three)] == ["hi"] * 3
        wait_until(lambda: len(collector.named("deliver")) >= 2, "both replicas' spans", 15)
        wait_until(lambda: collector.named("publish"), "the publisher's span", 15)
        (published,) = collector.named("publish")
        delivered = collector.named("deliver")
    assert published.span.trace_id.hex() == TRACE
    assert published.span.parent_span_id.hex() == PARENT
    assert len(delivered) == 2  # one a replica, not one a socket
    assert {one.span.trace_id.hex() for one in delivered} == {TRACE}
    assert {one.span.parent_span_id for one in delivered} == {published.span.span_id}
    assert len({one.replica for one in delivered}) == 2
    sockets = [
        attribute.value.int_value
        for one in delivered
        for attribute in one.span.attributes
        if attribute.key == "gateway.sockets"
    ]
    assert sorted(sockets) == [1, 2]


def test_no_trace_holds_a_token(traced: list[GatewayProcess], collector: Collector) -> None:
    """S22: a span of the framework would have the whole URL."""
    gateway = traced[0]
    before = len(collector.named("publish"))
    call(f"{gateway.http}/users?token={PUBLISHER}")
    call(f"{gateway.http}/publish/room?token=canary&message=canary", method="POST")
    with RawClient(gateway.port) as client:
        client.upgrade(f"/ws/room?token={PUBLISHER}")
    assert call(f"{gateway.http}/publish/room?token={PUBLISHER}", body=b"{}").status == 415
    url = f"{gateway.http}/publish/room?token={PUBLISHER}&message=canary-message"
    assert call(url, method="POST").status == 200
    wait_until(lambda: len(collector.named("publish")) > before, "its span", 15)
    assert {one.span.name for one in collector.spans()} == {"publish", "deliver"}
    sent = b"".join(collector.requests)
    for secret in (*PUBLISHER.split("."), "canary"):
        assert secret.encode() not in sent


def test_a_batch_is_one_publish_of_many_messages(
    traced: list[GatewayProcess], collector: Collector
) -> None:
    trace = "1" * 32
    with RawClient(traced[1].port).listen("batch", make_token("bob")) as client:
        body = {"channels": ["batch", "batch", "elsewhere"], "data": 1}
        headers = {"traceparent": f"00-{trace}-{PARENT}-01"}
        call(traced[0].http + "/publish", json_body=body, token=PUBLISHER, headers=headers)
        assert [client.read_json()["data"] for _ in range(2)] == [1, 1]

        def of_it(name: str) -> list[Found]:
            return [one for one in collector.named(name) if one.span.trace_id.hex() == trace]

        wait_until(lambda: len(of_it("deliver")) == 2, "a span for each message", 15)
        wait_until(lambda: len(of_it("publish")) == 1, "one for the publish", 15)


def test_a_collector_that_is_away_costs_no_message_and_no_long_stop(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    with GatewayProcess(directory, tracing=True) as gateway:
        for n in range(20):
            assert publish_now(gateway.http, "room", n, PUBLISHER).status == 200
        assert gateway.terminate(15) == 0


def test_without_the_setting_a_trace_is_not_even_carried(
    directory: Path, redis_server: RedisServer
) -> None:
    settings = {"redis_url": redis_server.url, "redis_prefix": "untraced"}
    headers = {"traceparent": TRACEPARENT}
    with GatewayProcess(directory, **settings) as gateway:
        url = f"{gateway.http}/publish/room"
        assert call(url, json_body={"data": 1}, token=PUBLISHER, headers=headers).status == 200
    with Redis.from_url(redis_server.url) as client:
        (stream,) = client.scan_iter("untraced*", _type="stream")
        ((_, entry),) = client.xrange(stream)
    assert b'"user":"alice"' in entry[b"m"]
    assert b"trace" not in entry[b"m"]
