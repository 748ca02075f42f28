"""Traces of messages, with OpenTelemetry: from a publish to what each replica delivers.

An extra: ``pip install gateway[otel]``. The standard ``OTEL_…`` variables say where traces go and
how many of them. The provider is one of our own and not the global one, for what else
instruments a process by that writes down whole URLs, tokens included.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway.domain.errors import GatewayError
from gateway.domain.messages import Message, parse_trace

_EXPORT_SECONDS = 2.0
_FIELD = "traceparent"


class Tracing:
    """Spans are handed to the processor, by default in batches to an OTLP collector.

    It keeps a bounded number of them, and drops what is more: a collector that is away costs
    nobody a message.
    """

    def __init__(self, replica: str, processor: SpanProcessor | None = None) -> None:
        resource = Resource.create({"service.name": "gateway", "service.instance.id": replica})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(
            processor or BatchSpanProcessor(OTLPSpanExporter(timeout=_EXPORT_SECONDS))
        )
        self._tracer = self._provider.get_tracer("gateway")
        self._context = TraceContextTextMapPropagator()

    @contextmanager
    def publishing(self, traceparent: str, what: str) -> Iterator[str]:
        """A span around a publish; inside there is the trace that its messages carry.

        That is empty where nobody wants this trace: the caller's choice, or the sampler's.
        """
        parent = self._context.extract({_FIELD: parse_trace(traceparent)})
        attributes = {"messaging.system": "gateway", "messaging.destination.name": what}
        span = self._tracer.start_span("publish", parent, SpanKind.PRODUCER, attributes)
        carrier: dict[str, str] = {}
        if span.get_span_context().trace_flags.sampled:
            self._context.inject(carrier, set_span_in_context(span))
        try:
            yield carrier.get(_FIELD, "")
        except BaseException as error:
            # No words: those of an error that nobody expected may hold anything.
            kind = error.code if isinstance(error, GatewayError) else type(error).__name__
            span.set_attribute("error.type", kind)
            span.set_status(StatusCode.ERROR)
            raise
        finally:
            span.end()

    def delivered(self, channel: str, messages: Sequence[Message], sockets: int) -> None:
        """A span for each message that carries a trace; called when all have been written."""
        for message in messages:
            if message.trace:
                self._tracer.start_span(
                    "deliver",
                    self._context.extract({_FIELD: message.trace}),
                    SpanKind.CONSUMER,
                    {
                        "messaging.system": "gateway",
                        "messaging.destination.name": channel,
                        "messaging.message.id": message.id,
                        "gateway.offset": message.position.offset,
                        "gateway.sockets": sockets,
                    },
                ).end()

    async def run(self) -> NoReturn:
        """Until cancelled; then send what is left, for a moment."""
        try:
            await asyncio.Event().wait()
        finally:
            # It waits for its own thread, and for the network.
            await asyncio.to_thread(self._provider.shutdown)
        raise AssertionError("nobody sets it")
