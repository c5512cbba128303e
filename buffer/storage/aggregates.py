"""Aggregates: what remains of the samples of one series in a minute, later in five.

`Groups` and `widen` are pure; `Aggregates.merge` writes what they return into what is there already: a sample may come
late, the result is as if all had been aggregated at once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import apsw

from buffer.storage.samples import StoredSample

MINUTE_MS = 60_000
FIVE_MINUTES_MS = 300_000

# avg is a weighted mean of two means, each weight below 1: it cannot overflow, and it is held between min and max.
_MERGE = """
INSERT INTO aggregates (width_ms, start_ms, series_id, min, max, avg, last, last_ms, count)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (width_ms, start_ms, series_id) DO UPDATE SET
    min = min(min, excluded.min),
    max = max(max, excluded.max),
    avg = min(max(max, excluded.max), max(min(min, excluded.min),
          avg * (count * 1.0 / (count + excluded.count))
          + excluded.avg * (excluded.count * 1.0 / (count + excluded.count)))),
    last = CASE WHEN excluded.last_ms >= last_ms THEN excluded.last ELSE last END,
    last_ms = max(last_ms, excluded.last_ms),
    count = count + excluded.count
"""


class Aggregate(NamedTuple):
    """One row of the table `aggregates`.

    Attributes:
        width_ms: 60,000 or 300,000.
        start_ms: a multiple of the width.
        series_id: whose samples these were.
        min, max, avg: of the values.
        last: the value with the greatest timestamp.
        last_ms: that timestamp, in milliseconds after the start.
        samples: how many there were; the column `count`.
    """

    width_ms: int
    start_ms: int
    series_id: int
    min: float
    max: float
    avg: float
    last: float
    last_ms: int
    samples: int


def has_mean(value: object) -> bool:
    """Tell whether a stored value is a number that has a mean."""
    return isinstance(value, (int, float)) and math.isfinite(value)


class Groups:
    """Samples by series and span, collected until they are folded.

    Args:
        width_ms: of the spans.
    """

    def __init__(self, width_ms: int) -> None:
        self._width_ms = width_ms
        self._points: dict[tuple[int, int], list[tuple[int, float]]] = {}
        self._order: list[tuple[int, int]] | None = None

    def __len__(self) -> int:
        return len(self._points)

    def add(self, row: StoredSample) -> None:
        """Take a sample, which is a number; in any order, but before the first `take`."""
        offset_ms = row.timestamp_ms % self._width_ms
        self._points.setdefault((row.series_id, row.timestamp_ms - offset_ms), []).append((offset_ms, float(row.value)))

    def take(self, limit: int) -> list[Aggregate]:
        """Return the next aggregates in order of series: all of a series, and no more series than the limit needs."""
        if self._order is None:
            self._order = sorted(self._points, reverse=True)
        taken: list[Aggregate] = []
        while self._order and (len(taken) < limit or taken[-1].series_id == self._order[-1][0]):
            series_id, start_ms = self._order.pop()
            taken.append(_aggregate(self._width_ms, start_ms, series_id, self._points.pop((series_id, start_ms))))
        return taken


def _aggregate(width_ms: int, start_ms: int, series_id: int, points: list[tuple[int, float]]) -> Aggregate:
    values = [value for _, value in points]
    least, most = min(values), max(values)
    last_ms, last = max(points)
    mean = min(max(_mean(values), least), most)
    return Aggregate(width_ms, start_ms, series_id, least, most, mean, last, last_ms, len(values))


def _mean(values: list[float]) -> float:
    try:
        return math.fsum(values) / len(values)
    except OverflowError:  # near the end of the range: half of each one's share cannot overflow
        return 2 * math.fsum(value / (2 * len(values)) for value in values)


def widen(row: Aggregate, width_ms: int) -> Aggregate:
    """Return an aggregate as a part of a wider one."""
    start_ms = row.start_ms - row.start_ms % width_ms
    return row._replace(width_ms=width_ms, start_ms=start_ms, last_ms=row.start_ms - start_ms + row.last_ms)


class Aggregates:
    """The table `aggregates`.

    Args:
        connection: the database; what changes something joins the transaction that is open.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def merge(self, rows: Iterable[Aggregate]) -> None:
        """Write aggregates into those that are there."""
        self._connection.executemany(_MERGE, rows)

    def oldest(self, width_ms: int, before_ms: int, limit: int) -> list[Aggregate]:
        """Return the oldest aggregates of a width that are older than a time."""
        query = (
            "SELECT width_ms, start_ms, series_id, min, max, avg, last, last_ms, count FROM aggregates "
            "WHERE width_ms = ? AND start_ms < ? ORDER BY start_ms, series_id LIMIT ?"
        )
        return [Aggregate(*row) for row in self._connection.execute(query, (width_ms, before_ms, limit))]

    def series(self, start_ms: int, end_ms: int) -> list[tuple[int, int]]:
        """Return id of each series with aggregates between two times, and of how many samples they are.

        Summed here, row by row: see `AuditWindows.series`.
        """
        query = "SELECT series_id, count FROM aggregates WHERE width_ms IN (?, ?) AND start_ms >= ? AND start_ms < ?"
        found = Counter[int]()
        for series_id, samples in self._connection.execute(query, (MINUTE_MS, FIVE_MINUTES_MS, start_ms, end_ms)):
            found[series_id] += samples
        return sorted(found.items())

    def newest_ms(self, before_ms: int) -> int | None:
        """Return the start of the newest aggregate before a time."""
        query = "SELECT max(start_ms) FROM aggregates WHERE width_ms = ? AND start_ms < ?"
        found = [self._connection.execute(query, (width, before_ms)).get for width in (MINUTE_MS, FIVE_MINUTES_MS)]
        return max((start_ms for start_ms in found if start_ms is not None), default=None)

    def delete(self, rows: Iterable[Aggregate]) -> None:
        """Delete aggregates."""
        self._connection.executemany(
            "DELETE FROM aggregates WHERE width_ms = ? AND start_ms = ? AND series_id = ?", [row[:3] for row in rows]
        )
