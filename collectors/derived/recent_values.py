"""What other collectors said, as it was committed; a part of those that work on it.

A value counts for three times the spacing in which its series comes, and at least `LEAST_S`: a collector that
fell silent leaves absent values, not stale ones. What was committed late, after an outage, tells nothing of now.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from common import clock
from common.sample import Sample, Tags

LEAST_S = 12.0  # two intervals of the quickest collectors and a commit
LATE_MS = 30_000
KEPT_S = 60.0
STALE_SPACINGS = 3


@dataclass
class RecentSeries:
    """One series: its labels, its readings of the last minute (monotonic seconds, value), and their spacing."""

    tags: Tags
    readings: deque[tuple[float, float]] = field(default_factory=deque)
    spacing_s: float = 20.0  # until the second one comes


class RecentValues:
    """The latest of some metrics.

    Args:
        names: of the metrics to keep.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)
        self._series: dict[tuple[str, frozenset[tuple[str, str]]], RecentSeries] = {}

    def take(self, samples: Iterable[Sample], timestamp_ms: int, now_s: float) -> None:
        """Take samples of one moment."""
        if clock.wall_ms() - timestamp_ms > LATE_MS:
            return
        for sample in samples:
            if sample.name in self._names and not isinstance(sample.value, str):
                key = (sample.name, frozenset(sample.tags.items()))
                series = self._series.setdefault(key, RecentSeries(sample.tags))
                if series.readings:
                    series.spacing_s = now_s - series.readings[-1][0]
                series.readings.append((now_s, sample.value))
                while now_s - series.readings[0][0] > KEPT_S:
                    series.readings.popleft()

    def value(self, name: str, now_s: float, **tags: str) -> float | None:
        """Return the value of a metric that has these labels, None where there is none or it is old."""
        values = (value for found, value in self.each(name, now_s) if tags.items() <= found.items())
        return next(values, None)

    def each(self, name: str, now_s: float) -> list[tuple[Tags, float]]:
        """Return labels and value of every fresh series of a metric."""
        return [
            (series.tags, series.readings[-1][1])
            for (of, _), series in self._series.items()
            if of == name and _is_fresh(series, now_s)
        ]

    def readings(self, name: str, now_s: float) -> list[float]:
        """Return the last minute of a metric without labels, the oldest first."""
        series = self._series.get((name, frozenset()))
        return [value for at_s, value in series.readings if now_s - at_s <= KEPT_S] if series else []

    def forget(self, now_s: float) -> None:
        """Drop series that ended."""
        self._series = {key: series for key, series in self._series.items() if _is_fresh(series, now_s)}


def _is_fresh(series: RecentSeries, now_s: float) -> bool:
    limit_s = max(LEAST_S, STALE_SPACINGS * series.spacing_s)
    return bool(series.readings) and now_s - series.readings[-1][0] <= limit_s
