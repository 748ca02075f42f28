"""Spans of messages, seen by the SDK's own exporter."""

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, format_span_id, format_trace_id

from gateway.adapters.redis.channels.envelope import decode_payload, encode_body
from gateway.domain.errors import Denied
from gateway.domain.messages import Message, Position, Publication, parse_trace
from gateway.tracing import Tracing

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NOT_SAMPLED = CALLER[:-1] + "0"
TOO_LONG = CALLER + "-" + "a" * 1000


class Traces:
    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracing = Tracing("here", SimpleSpanProcessor(self.exporter))

    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def publish(self, traceparent: str) -> str:
        with self.tracing.publishing(traceparent, "room") as trace:
            return trace


@pytest.fixture
def traces() -> Traces:
    return Traces()


def message(trace: str, offset: int = 1) -> Message:
    return Message("room", b"1", "id", "alice", 1.0, Position("e", offset), trace=trace)


def test_a_message_carries_the_trace_of_its_publish_on_to_its_deliveries(traces: Traces) -> None:
    carried = traces.publish(CALLER)
    traces.tracing.delivered("room", [message(carried, 7), message("")], 3)
    published, delivered = traces.spans()
    assert published.name == "publish"
    assert published.kind is SpanKind.PRODUCER
    assert published.parent is not None
    assert format_span_id(published.parent.span_id) == CALLER.split("-")[2]
    assert format_trace_id(published.context.trace_id) == CALLER.split("-")[1]
    assert delivered.name == "deliver"
    assert delivered.kind is SpanKind.CONSUMER
    assert delivered.parent is not None
    assert delivered.parent.span_id == published.context.span_id
    assert delivered.context.trace_id == published.context.trace_id
    assert delivered.attributes is not None
    assert delivered.attributes["gateway.sockets"] == 3
    assert delivered.attributes["gateway.offset"] == 7
    assert delivered.resource.attributes["service.instance.id"] == "here"


def test_without_a_callers_trace_one_begins_here(traces: Traces) -> None:
    carried = traces.publish("")
    (span,) = traces.spans()
    assert span.parent is None
    assert carried.split("-")[1] == format_trace_id(span.context.trace_id)
    assert parse_trace(carried) == carried


def test_what_the_caller_does_not_want_traced_is_not_carried(traces: Traces) -> None:
    assert traces.publish(NOT_SAMPLED) == ""
    assert traces.spans() == []


@pytest.mark.parametrize(
    "text", ["x", CALLER.upper(), CALLER[:-1], TOO_LONG, f"{CALLER}\n", "canary"]
)
def test_what_is_no_trace_begins_a_new_one(traces: Traces, text: str) -> None:
    assert parse_trace(text) == ""
    assert traces.publish(text).split("-")[1] != CALLER.split("-")[1]


def test_a_refusal_is_an_error_without_words(traces: Traces) -> None:
    """S22: what an error says may be anything."""
    for error in (Denied("canary"), ValueError("canary")):
        with pytest.raises(type(error)), traces.tracing.publishing(CALLER, "room"):
            raise error
    refused, failed = traces.spans()
    assert refused.attributes is not None
    assert failed.attributes is not None
    assert refused.attributes["error.type"] == "denied"
    assert failed.attributes["error.type"] == "ValueError"
    assert "canary" not in refused.to_json() + failed.to_json()


def test_redis_carries_a_trace_only_where_there_is_one() -> None:
    plain = Publication("room", b"1", "id", "alice", 1.0)
    assert b"trace" not in encode_body(plain)
    body = b"g1:1:e:" + encode_body(plain._replace(trace=CALLER))
    assert decode_payload("room", body, 100).trace == CALLER
    assert decode_payload("room", b"g1:1:e:" + encode_body(plain), 100).trace == ""


@pytest.mark.parametrize("wrong", ["null", "1", '"x"', f'"{TOO_LONG}"', "[]", "{}"])
def test_what_somebody_else_wrote_into_redis_is_no_trace(wrong: str) -> None:
    body = f'g1:1:e:{{"id":"i","user":"u","time":1.0,"trace":{wrong}}}\n1'.encode()
    assert decode_payload("room", body, 100).trace == ""
