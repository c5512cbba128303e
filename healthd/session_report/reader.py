"""Read a span of time from the buffer's database: sessions, events, and the points of series.

Reads: SQLite with a read-only connection, while the buffer writes.
Source: raw samples as long as they are kept (48 h), then the 1-minute and 5-minute aggregates (docs/operating.md).
Fails: a file that is missing or damaged raises `UnreadableError`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import apsw

BUSY_MS = 2000  # a command may wait for a checkpoint; the page may not


class UnreadableError(Exception):
    """The database cannot be read."""


class Span(NamedTuple):
    """What is reported: one stream, or the time around a moment.

    Attributes:
        title: for the head of the report.
        start_ms, end_ms: Unix milliseconds.
        status: active, completed or failed; "" where it is not a stream.
        session_id: "" where it is not a stream.
        restarts: how often the encoder was restarted during the stream.
    """

    title: str
    start_ms: int
    end_ms: int
    status: str = ""
    session_id: str = ""
    restarts: int = 0


class Point(NamedTuple):
    """The values of a series within one step."""

    at_ms: int
    least: float
    mean: float
    most: float


class Line(NamedTuple):
    """One series of a metric."""

    metric: str
    labels: Mapping[str, str]
    points: list[Point]


class Happening(NamedTuple):
    """One event."""

    at_ms: int
    kind: str
    severity: str
    source: str
    text: str


class Reader:
    """A read-only connection.

    Args:
        connection: to the buffer's database.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def sessions(self, limit: int = 1000) -> list[Span]:
        """Return streams, the newest first; one that still runs ends at its newest sample."""
        query = "SELECT id, start_time, end_time, status, metadata FROM sessions ORDER BY start_time DESC LIMIT ?"
        rows: list[Any] = self._connection.execute(query, (limit,)).fetchall()
        return [self._span(*row) for row in rows]

    def newest_ms(self) -> int:
        """Return the time of the newest sample, 0 where there is none."""
        newest: Any = self._connection.execute("SELECT max(timestamp_ms) FROM samples").get
        return int(newest or 0)

    def device_id(self) -> str:
        """Return the device's id, as its newest series has it."""
        found: Any = self._connection.execute("SELECT device_id FROM series ORDER BY id DESC LIMIT 1").get
        return str(found or "")

    def events(self, span: Span) -> list[Happening]:
        """Return the events of a span, oldest first."""
        query = (
            "SELECT timestamp_ms, kind, severity, source, text FROM events "
            "WHERE timestamp_ms BETWEEN ? AND ? ORDER BY timestamp_ms, id"
        )
        rows: list[Any] = self._connection.execute(query, (span.start_ms, span.end_ms)).fetchall()
        return [Happening(*row) for row in rows]

    def lines(self, metrics: Collection[str], span: Span, step_ms: int) -> list[Line]:
        """Return every series of some metrics over a span, a point for each step that has samples."""
        series = self._series(metrics)
        points: dict[int, dict[int, tuple[float, float, float, int]]] = {}
        for query in (_RAW, _AGGREGATES):
            named = query.format(", ".join("?" * len(series)))
            values = (span.start_ms, step_ms, span.start_ms, span.end_ms, *series)
            for number, step, *found in self._connection.execute(named, values) if series else ():
                steps = points.setdefault(int(number), {})
                steps[int(step)] = _joined(steps.get(int(step)), (found[0], found[1], found[2], found[3]))
        return [Line(*series[number], _points(steps, span.start_ms, step_ms)) for number, steps in points.items()]

    def increases(self, metric: str, span: Span) -> dict[tuple[tuple[str, str], ...], float]:
        """Return by how much each series of a counter grew; a counter that restarted goes on from 0."""
        series = self._series([metric])
        grown: dict[int, float] = {}
        last: dict[int, float] = {}
        query = _VALUES.format(", ".join("?" * len(series)))
        rows = self._connection.execute(query, (span.start_ms, span.end_ms, *series)) if series else ()
        for number, value in rows:
            before = last.get(number)
            if before is not None:
                grown[number] = grown.get(number, 0.0) + (value - before if value >= before else value)
            last[number] = value
        return {tuple(sorted(series[number][1].items())): amount for number, amount in grown.items()}

    def _series(self, metrics: Collection[str]) -> dict[int, tuple[str, Mapping[str, str]]]:
        names = ", ".join("?" * len(metrics))
        query = f"SELECT id, metric_name, tags FROM series WHERE value_type = 0 AND metric_name IN ({names})"
        rows: list[Any] = self._connection.execute(query, tuple(metrics)).fetchall()
        return {number: (name, json.loads(tags)) for number, name, tags in rows}

    def _span(self, session_id: str, start_ms: int, end_ms: int | None, status: str, metadata: str | None) -> Span:
        about = json.loads(metadata or "{}")
        end_ms = end_ms if end_ms is not None else max(start_ms, self.newest_ms())
        return Span("Stream", start_ms, end_ms, status, session_id, int(about.get("restarts", 0)))


# Samples are found by their time: the unique index begins with it.
_RAW = (
    "SELECT series_id, (timestamp_ms - ?) / ?, min(value), avg(value), max(value), count(*) "
    "FROM samples INDEXED BY ux_metrics_dedup WHERE timestamp_ms BETWEEN ? AND ? AND series_id IN ({}) "
    "AND typeof(value) != 'text' GROUP BY 1, 2"
)
_AGGREGATES = (
    "SELECT series_id, (start_ms - ?) / ?, min(min), sum(avg * count) / sum(count), max(max), sum(count) "
    "FROM aggregates WHERE start_ms BETWEEN ? AND ? AND series_id IN ({}) GROUP BY 1, 2"
)
_VALUES = (
    "SELECT series_id, value FROM samples INDEXED BY ux_metrics_dedup WHERE timestamp_ms BETWEEN ? AND ? "
    "AND series_id IN ({}) AND typeof(value) != 'text' ORDER BY timestamp_ms"
)


def _joined(
    one: tuple[float, float, float, int] | None, other: tuple[float, float, float, int]
) -> tuple[float, float, float, int]:
    """Return both as one: a step may have raw samples and aggregates, where one was made of a part of it."""
    if one is None:
        return other
    count = one[3] + other[3]
    mean = (one[1] * one[3] + other[1] * other[3]) / count
    return min(one[0], other[0]), mean, max(one[2], other[2]), count


def _points(steps: Mapping[int, tuple[float, float, float, int]], start_ms: int, step_ms: int) -> list[Point]:
    return [Point(start_ms + step * step_ms, *values[:3]) for step, values in sorted(steps.items())]


@contextmanager
def opened(database: Path) -> Iterator[Reader]:
    """Open the database for reading.

    Raises:
        UnreadableError: it is missing, damaged or no database of this project.
    """
    try:
        connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
    except apsw.Error as error:
        raise UnreadableError(f"{database}: {error}") from error
    try:
        connection.set_busy_timeout(BUSY_MS)
        yield Reader(connection)
    except apsw.Error as error:
        raise UnreadableError(f"{database}: {error}") from error
    finally:
        connection.close(True)
