"""The text of /metrics/samples: the newest value of every series, for a Prometheus that scrapes devices. Pure.

Names and labels are those of the server, so that dashboards and rules fit, and so `promtool check metrics` remarks on
their units (`_ms`, bits), which /metrics converts. What is older than three of its intervals is left out.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

from common import catalog
from common.catalog import EVENT, HISTOGRAM, HISTOGRAM_SUFFIXES, INFO, Metric
from healthd.recorded.series import Newest

WITHIN_MS = 300_000  # as long as Prometheus itself looks back
STALE_INTERVALS = 3
LEAST_STALE_MS = 20_000  # a commit may wait for five seconds

_TYPES = {INFO: "gauge", EVENT: "counter"}
_ESCAPES = {"\\": "\\\\", "\n": "\\n", '"': '\\"'}


def exposition(found: Iterable[Newest], now_ms: int) -> bytes:
    """Return series in Prometheus' text format, every series of a metric together.

    Args:
        found: of the last `WITHIN_MS`.
        now_ms: Unix milliseconds.
    """
    families: dict[str, dict[str, float]] = {}
    about: dict[str, Metric] = {}
    for one in found:
        if _is_stale(one, now_ms):
            continue
        family = _family(one.metric)
        about.setdefault(family.export, family)
        labels = {"device_id": one.device_id, **json.loads(one.tags)}
        series = f"{catalog.find(one.metric).export}{{{_labels(labels)}}}"
        families.setdefault(family.export, {}).setdefault(series, one.value)
    return "".join(line for name in sorted(families) for line in _lines(about[name], families[name])).encode()


def _is_stale(one: Newest, now_ms: int) -> bool:
    if one.samples < 2:  # its interval is not known: all there is to say is that it is one of the last minutes
        return False
    interval_ms = (one.newest_ms - one.oldest_ms) / (one.samples - 1)
    return now_ms - one.newest_ms > max(LEAST_STALE_MS, STALE_INTERVALS * interval_ms)


def _family(stored: str) -> Metric:
    """Return the row of a stored name; of a part of a histogram, the histogram's."""
    for suffix in HISTOGRAM_SUFFIXES:
        base = catalog.METRICS.get(stored.removesuffix(suffix))
        if base is not None and base.kind == HISTOGRAM:
            return base
    return catalog.find(stored)


def _lines(metric: Metric, series: Mapping[str, float]) -> Iterator[str]:
    yield f"# HELP {metric.export} {metric.help}\n"
    yield f"# TYPE {metric.export} {_TYPES.get(metric.kind, metric.kind)}\n"
    yield from (f"{name} {float(value)!r}\n" for name, value in series.items())


def _labels(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{_escaped(text)}"' for name, text in sorted(labels.items()))


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(letter, letter) for letter in text)
