"""The text of /metrics in Prometheus' exposition format, from the readings that also become samples.

Names are the catalogue's export names, with one exception: Prometheus uses base units, so metrics in milliseconds
are converted to seconds here, name and value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from common import catalog
from healthd.heartbeats import Histogram, Reading
from healthd.selfmetrics import buckets


def exposition(readings: Iterable[Reading]) -> bytes:
    """Return readings in Prometheus' text format, every series of a metric together."""
    registry = CollectorRegistry()
    registry.register(_Readings(list(readings)))
    return generate_latest(registry)


class _Readings(Collector):
    """The collector that prometheus_client asks for metrics."""

    def __init__(self, readings: list[Reading]) -> None:
        self._readings = readings

    def describe(self) -> list[Metric]:
        """Return nothing: the metrics are only known when they are collected."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield one family per exported name and kind."""
        families: dict[str, list[Reading]] = {}
        for reading in self._readings:
            families.setdefault(_base_unit(catalog.find(reading.name))[0], []).append(reading)
        for export, members in sorted(families.items()):
            kind = members[0].kind
            yield _family(export, kind, [reading for reading in members if reading.kind == kind])


def _base_unit(metric: catalog.Metric) -> tuple[str, float]:
    """Return the exposed name of a metric, and the divisor of its values."""
    if metric.unit != "milliseconds":
        return metric.export, 1
    parts = ["seconds" if part == "ms" else part for part in metric.export.split("_")]
    return "_".join(parts), 1000


def _family(export: str, kind: str, readings: list[Reading]) -> Metric:
    metric = catalog.find(readings[0].name)
    names = sorted({name for reading in readings for name in reading.tags})
    family = _FAMILIES.get(kind, GaugeMetricFamily)(export, metric.help, labels=names)
    divisor = _base_unit(metric)[1]
    for reading in readings:
        labels = [reading.tags.get(name, "") for name in names]
        if isinstance(family, HistogramMetricFamily):
            if isinstance(reading.value, Histogram):
                family.add_metric(labels, buckets(reading.value), reading.value.total)
        elif not isinstance(reading.value, Histogram):
            family.add_metric(labels, reading.value / divisor)
    return family


_FAMILIES: dict[str, type[CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}
