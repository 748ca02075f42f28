"""What is measured, in the form that Prometheus reads, on the gateway's own port."""

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    CollectorRegistry,
    GCCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from gateway.core.metrics import Histogram, Kind, Measure
from gateway.domain.errors import NotFound
from gateway.web.document import problems

PATH = "/metrics"
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class Exposition:
    """Writes down what is measured at the moment, and what the process uses."""

    def __init__(self, measures: Callable[[], Iterable[Measure]]) -> None:
        # One of our own: other libraries of a host application may use the global one.
        self._registry = CollectorRegistry()
        self._registry.register(_Measured(measures))
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def text(self) -> bytes:
        return generate_latest(self._registry)


def router(exposition: Exposition, *, is_shared: bool) -> APIRouter:
    """``is_shared``: several processes answer at this address, and each knows only itself."""
    routes = APIRouter(tags=["operate"])

    @routes.get(PATH, response_class=PlainTextResponse, responses=problems(404))
    async def metrics() -> Response:
        """What this replica measures, for Prometheus."""
        if is_shared:
            raise NotFound(
                "several workers answer here, so a number would be of any of them; "
                "GATEWAY_METRICS_PORT gives each one a port of its own"
            )
        return Response(exposition.text(), media_type=CONTENT_TYPE)

    return routes


class _Measured(Collector):
    def __init__(self, measures: Callable[[], Iterable[Measure]]) -> None:
        self._measures = measures

    def collect(self) -> Iterator[Metric]:
        return map(_family, self._measures())

    def describe(self) -> list[Metric]:
        return []  # without it the registry would measure once to learn the names


def _family(measure: Measure) -> Metric:
    name, text, labels = measure.name, measure.help, [measure.label] if measure.label else []
    if measure.kind is Kind.HISTOGRAM:
        histogram = HistogramMetricFamily(name, text, labels=labels)
        for word, value in measure.values.items():
            assert isinstance(value, Histogram)
            histogram.add_metric([word] if labels else [], _buckets(value), value.sum)
        return histogram
    is_counter = measure.kind is Kind.COUNTER
    family = (CounterMetricFamily if is_counter else GaugeMetricFamily)(name, text, labels=labels)
    for word, value in measure.values.items():
        assert not isinstance(value, Histogram)
        family.add_metric([word] if labels else [], float(value))
    return family


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    names = [*(str(float(bound)) for bound in histogram.bounds), "+Inf"]
    return list(zip(names, map(float, accumulate(histogram.counts)), strict=True))
