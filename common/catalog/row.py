"""One row of the catalogue, and the name a metric has at the server."""

from __future__ import annotations

import re
from dataclasses import dataclass

from common.catalog import ranges
from common.catalog.ranges import ANY, Range
from common.sample import NORMAL, Value

GAUGE, COUNTER, HISTOGRAM, INFO, EVENT = "gauge", "counter", "histogram", "info", "event"

_UNSAFE = re.compile(r"[^a-zA-Z0-9_:]")


@dataclass(frozen=True)
class Metric:
    """One row of the catalogue.

    Attributes:
        name: dotted, as stored.
        kind: gauge, counter, histogram, info, or event: text that stays on the device.
        unit: base unit of the value, "" for a plain number.
        labels: label names besides device_id.
        help: one sentence, what it tells.
        priority: 0 at once, 1 high, 2 normal, 3 low.
        export: name at the server, PromQL-safe.
        plausible: the least and the most that a value can be.
    """

    name: str
    kind: str
    unit: str
    labels: tuple[str, ...]
    help: str
    priority: int = NORMAL
    export: str = ""
    plausible: Range = ANY

    def allows(self, value: Value) -> bool:
        """Return whether a value can be one; a text can."""
        return isinstance(value, str) or self.plausible[0] <= value <= self.plausible[1]


def export_name(name: str) -> str:
    """Return the PromQL-safe form of a dotted name: ``[a-zA-Z_:][a-zA-Z0-9_:]*``."""
    safe = _UNSAFE.sub("_", name)
    return f"_{safe}" if safe[:1].isdigit() else safe


def row(name: str, kind: str, unit: str, labels: str, text: str, priority: int = NORMAL, export: str = "") -> Metric:
    """Return a row; labels are separated by spaces, the exported name follows from the name unless given."""
    plausible = ranges.of(name, unit, counts=kind == COUNTER)
    return Metric(name, kind, unit, tuple(labels.split()), text, priority, export or export_name(name), plausible)
