"""The catalogue of all metrics by name: meaning, unit, priority, and exported name.

One table, no heuristics: the metric reference in docs/ is generated from it and the exported name is
looked up in it. A name that is not here (a user's own collector) is exported with its invalid
characters replaced, as a gauge of normal priority.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from common.catalog.board import BOARD
from common.catalog.derived import DERIVED
from common.catalog.own import OWN
from common.catalog.ranges import ANY
from common.catalog.row import COUNTER, EVENT, GAUGE, HISTOGRAM, INFO, Metric, export_name, row
from common.catalog.stream import STREAM
from common.catalog.system import SYSTEM

__all__ = [
    "COUNTER",
    "EVENT",
    "GAUGE",
    "HISTOGRAM",
    "HISTOGRAM_SUFFIXES",
    "INFO",
    "METRICS",
    "Metric",
    "export_name",
    "find",
]

# A histogram is stored and exported as these three families of samples.
HISTOGRAM_SUFFIXES = ("_bucket", "_sum", "_count")

METRICS: dict[str, Metric] = {metric.name: metric for metric in (*SYSTEM, *BOARD, *STREAM, *DERIVED, *OWN)}


@lru_cache(maxsize=4096)
def find(name: str) -> Metric:
    """Return the row of a stored name; for a histogram's family, the histogram's with that suffix."""
    known = METRICS.get(name)
    if known is not None:
        return known
    for suffix in HISTOGRAM_SUFFIXES:
        base = METRICS.get(name.removesuffix(suffix))
        if base is not None and base.kind == HISTOGRAM and name.endswith(suffix):
            return replace(base, name=name, kind=COUNTER, export=base.export + suffix)
    return replace(row(name, GAUGE, "", "", "Not in the catalogue."), plausible=ANY)
