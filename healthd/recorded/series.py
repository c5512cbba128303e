"""The points of series over a span of time: raw samples, 1-minute and 5-minute aggregates, joined.

Reads: a span step by step. Samples lie in the order of time, not of series, so that all series of a busy device are
passed over; of each step only as much is read as `most_entries` allows, and the caller is told how much that was.
Source: raw samples as long as they are kept (48 h), then the aggregates (docs/operating.md).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from healthd.recorded.database import Query

WIDTHS_MS = (60_000, 300_000)  # of the aggregates
UNLIMITED = 1 << 62

_Summary = tuple[float, float, float, int]  # least, mean, most, how many samples
_RAW = (
    "SELECT series_id, min(value), avg(value), max(value), count(*) FROM samples INDEXED BY ux_metrics_dedup "
    "WHERE timestamp_ms >= ? AND timestamp_ms < ? AND series_id IN ({}) AND typeof(value) != 'text' GROUP BY 1"
)
_AGGREGATES = (
    "SELECT series_id, min(min), sum(avg * count) / sum(count), max(max), sum(count) FROM aggregates "
    "WHERE width_ms = {} AND start_ms >= ? AND start_ms < ? AND series_id IN ({}) GROUP BY 1"
)
_VALUES = (
    "SELECT series_id, value FROM samples INDEXED BY ux_metrics_dedup WHERE timestamp_ms BETWEEN ? AND ? "
    "AND series_id IN ({}) AND typeof(value) != 'text' ORDER BY timestamp_ms"
)


class Point(NamedTuple):
    """The samples of a series within one step, which begins at `at_ms`: their values, and how many they are."""

    at_ms: int
    least: float
    mean: float
    most: float
    samples: int


class Line(NamedTuple):
    """One series of a metric."""

    metric: str
    labels: Mapping[str, str]
    points: list[Point]


class _Source(NamedTuple):
    """A table of points: its query, and the span of time that it covers."""

    query: str
    first_ms: int
    last_ms: int
    least_read_ms: int
    entries_per_ms: float


def lines(
    query: Query, metrics: Collection[str], steps_ms: range, most_entries: int = UNLIMITED
) -> tuple[list[Line], float]:
    """Return every series of the metrics that has points, and the share of each step that was read.

    Args:
        query: reads the database.
        metrics: their names.
        steps_ms: where each step begins, Unix milliseconds; nothing from its end on is read.
        most_entries: how many entries of the indexes may be passed over.
    """
    series = of_metrics(query, metrics)
    marks = ", ".join("?" * len(series))
    sources = _sources(query, marks, steps_ms)
    entries = sum(source.entries_per_ms * _overlap_ms(source, steps_ms) for source in sources)
    share = min(1.0, most_entries / max(1.0, entries))
    found: dict[int, dict[int, _Summary]] = {}
    for source in sources if series else ():
        read_ms = max(source.least_read_ms, int(steps_ms.step * share))
        for at_ms in steps_ms:
            if at_ms > source.last_ms or at_ms + steps_ms.step <= source.first_ms:
                continue
            for number, *summary in query(source.query, (at_ms, min(at_ms + read_ms, steps_ms.stop), *series)):
                points = found.setdefault(number, {})
                points[at_ms] = _joined(points.get(at_ms), tuple(summary))
    drawn = [Line(*series[number], _points(points)) for number, points in sorted(found.items())]
    return drawn, share


def increases(query: Query, metric: str, start_ms: int, end_ms: int) -> dict[tuple[tuple[str, str], ...], float]:
    """Return by how much each series of a counter grew; a counter that restarted goes on from 0."""
    series = of_metrics(query, [metric])
    grown: dict[int, float] = {}
    last: dict[int, float] = {}
    text = _VALUES.format(", ".join("?" * len(series)))
    for number, value in query(text, (start_ms, end_ms, *series)) if series else ():
        before = last.get(number)
        if before is not None:
            grown[number] = grown.get(number, 0.0) + (value - before if value >= before else value)
        last[number] = value
    return {tuple(sorted(series[number][1].items())): amount for number, amount in grown.items()}


class Newest(NamedTuple):
    """The newest sample of a series; times are Unix milliseconds.

    Attributes:
        metric: its stored name.
        device_id: of its device.
        tags: its labels, as JSON.
        value: of that sample.
        oldest_ms, newest_ms, samples: since that time, and how many.
    """

    metric: str
    device_id: str
    tags: str
    value: float
    oldest_ms: int
    newest_ms: int
    samples: int


_NEWEST = (
    "SELECT metric_name, device_id, tags, samples.value, oldest_ms, newest_ms, count FROM "
    "(SELECT series_id AS series, min(timestamp_ms) AS oldest_ms, max(timestamp_ms) AS newest_ms, count(*) AS count "
    "FROM samples INDEXED BY ux_metrics_dedup WHERE timestamp_ms BETWEEN ? AND ? GROUP BY series_id) "
    "JOIN samples ON timestamp_ms = newest_ms AND series_id = series JOIN series ON series.id = series_id "
    "WHERE value_type = 0 ORDER BY metric_name, tags"
)


def newest(query: Query, since_ms: int, now_ms: int) -> list[Newest]:
    """Return the newest sample of each series that has one since a time, and is a number."""
    return [Newest(*row) for row in query(_NEWEST, (since_ms, now_ms))]


def of_metrics(query: Query, metrics: Collection[str]) -> dict[int, tuple[str, Mapping[str, str]]]:
    """Return name and labels of each series of some metrics, by its id: those that were seen first come first."""
    marks = ", ".join("?" * len(metrics))
    text = f"SELECT id, metric_name, tags FROM series WHERE value_type = 0 AND metric_name IN ({marks}) ORDER BY id"
    return {number: (name, json.loads(tags)) for number, name, tags in query(text, tuple(metrics))}


def _sources(query: Query, marks: str, steps_ms: range) -> list[_Source]:
    """Return the tables that cover a span; the density is estimated from ids and the number of series."""
    (newest_ms,) = query("SELECT max(timestamp_ms) FROM samples", ())[0]
    found = []
    if newest_ms is not None:
        first = query("SELECT id, timestamp_ms FROM samples WHERE timestamp_ms >= ? ORDER BY 2 LIMIT 1", [steps_ms[0]])
        if first:
            start_id, start_ms = first[0]
            ((most_id,),) = query("SELECT max(id) FROM samples", ())
            density = max(0, most_id - start_id) / max(1, newest_ms - start_ms)
            found.append(_Source(_RAW.format(marks), start_ms, newest_ms, 1, density))
    ((count,),) = query("SELECT count(*) FROM series", ())
    for width_ms in WIDTHS_MS:
        ends = "SELECT min(start_ms), max(start_ms) FROM aggregates WHERE width_ms = ?"
        first_ms, last_ms = query(ends, [width_ms])[0]
        if first_ms is not None:
            text = _AGGREGATES.format(width_ms, marks)
            found.append(_Source(text, first_ms, last_ms, width_ms, count / width_ms))
    return found


def _overlap_ms(source: _Source, steps_ms: range) -> int:
    return max(0, min(source.last_ms, steps_ms[-1] + steps_ms.step) - max(source.first_ms, steps_ms[0]))


def _joined(one: _Summary | None, other: Any) -> _Summary:
    """Return two summaries as one: a step may have raw samples and aggregates."""
    if one is None:
        summary: _Summary = other
        return summary
    count = one[3] + other[3]
    mean = (one[1] * one[3] + other[1] * other[3]) / count
    return min(one[0], other[0]), mean, max(one[2], other[2]), count


def _points(steps: Mapping[int, _Summary]) -> list[Point]:
    return [Point(at_ms, *summary) for at_ms, summary in sorted(steps.items())]
