"""What was, for plots and the list of events: read from the buffer's database while it is written.

Reads: SQLite, with a read-only connection of its own that holds no transaction longer than one step of a plot, so
that neither the writer nor a checkpoint waits. Samples lie in the order of time, not of series: a plot of a day on
a busy device reads only a part of each step, as much of it as `MAX_ENTRIES` allows, and says so.
Fails: a file that is not there, or damaged, or replaced, raises `UnreadableError`; the next call opens it again.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.event_advice import todo
from healthd.page.plots import METRICS, PLOTS, Line

if TYPE_CHECKING:
    import apsw

SPANS_S = {"5m": (300, 5), "1h": (3_600, 20), "24h": (86_400, 480)}  # by name: how far back, and the step
MAX_ENTRIES = 1_500_000  # index entries read for one answer: 0.1 s here, 0.3 s on the board
MAX_EVENTS = 200  # of a page
NEWEST = (1 << 62, 1 << 62)
BUSY_MS = 100
KEEP_STEPS = 0.5  # an answer serves for half a step: ten browsers cost as much as one

_STEP = (
    "SELECT series_id, min(value), avg(value), max(value) FROM samples INDEXED BY ux_metrics_dedup "
    "WHERE timestamp_ms >= ? AND timestamp_ms < ? AND series_id IN ({}) AND typeof(value) != 'text' GROUP BY series_id"
)


class UnreadableError(Exception):
    """There is no history to be read now."""


class History:
    """The reader.

    Args:
        database: the buffer's file.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._connection: apsw.Connection | None = None
        self._inode = 0
        self._plots: dict[str, tuple[float, dict[str, Any]]] = {}

    def plots(self, span: str, now_ms: int) -> dict[str, Any]:
        """Return all plots over a span of `SPANS_S` that ends now.

        Returns:
            ``span_s``, ``step_s``, ``end_ms``, ``read_share`` (1, or which part of each step was read), ``plots``; each
            line is a name and its points ``[timestamp_ms, least, mean, most]``.

        Raises:
            UnreadableError: see the class.
        """
        with self._lock:
            made_s, made = self._plots.get(span, (0.0, {}))
            if not made or time.monotonic() - made_s > KEEP_STEPS * SPANS_S[span][1]:
                made = self._guarded(lambda connection: _plots(connection, *SPANS_S[span], now_ms))
                self._plots[span] = (time.monotonic(), made)
            return made

    def events(self, before: tuple[int, int] = NEWEST) -> list[dict[str, Any]]:
        """Return a page of events, the newest first, each with what to do.

        Args:
            before: timestamp in Unix milliseconds and id of the event that the page ends before.

        Raises:
            UnreadableError: see the class.
        """
        names = ("id", "timestamp_ms", "kind", "severity", "source", "text")
        query = (
            f"SELECT {', '.join(names)} FROM events WHERE (timestamp_ms, id) < (?, ?) "
            f"ORDER BY timestamp_ms DESC, id DESC LIMIT {MAX_EVENTS}"
        )
        with self._lock:
            rows = self._guarded(lambda connection: connection.execute(query, before).fetchall())
        found = [dict(zip(names, row, strict=True)) for row in rows]
        return [{**event, "todo": todo(event["kind"])} for event in found]

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._drop()

    def _guarded(self, read: Any) -> Any:
        import apsw  # noqa: PLC0415 - four megabytes that a healthd without visitors does not need

        try:
            return read(self._open())
        except (apsw.Error, OSError) as error:
            self._drop()
            raise UnreadableError(str(error)) from error

    def _open(self) -> apsw.Connection:
        """Return the connection; a file that was moved aside and replaced is opened again."""
        import apsw  # noqa: PLC0415 - as above

        inode = self._database.stat().st_ino
        if self._connection is None or inode != self._inode:
            self._drop()
            self._connection = apsw.Connection(str(self._database), flags=apsw.SQLITE_OPEN_READONLY)
            self._connection.set_busy_timeout(BUSY_MS)
            self._connection.execute("PRAGMA query_only = 1; PRAGMA cache_size = -2000")
            self._inode = inode
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close(True)
            self._connection = None


def _plots(connection: apsw.Connection, span_s: int, step_s: int, now_ms: int) -> dict[str, Any]:
    series = _series(connection)
    end_ms = now_ms - now_ms % (1000 * step_s) + 1000 * step_s
    starts_ms = range(end_ms - 1000 * span_s, end_ms, 1000 * step_s)
    share = _share(connection, starts_ms[0])
    points = _points(connection, list(series), starts_ms, int(1000 * step_s * share))
    plots = [
        {"id": plot.id, "title": plot.title, "unit": plot.unit, "lines": _lines(plot.lines, series, points)}
        for plot in PLOTS
    ]
    return {"span_s": span_s, "step_s": step_s, "end_ms": end_ms, "read_share": round(share, 3), "plots": plots}


def _series(connection: apsw.Connection) -> dict[int, tuple[str, Mapping[str, str]]]:
    """Return name and labels of what is plotted, by its id."""
    marks = ", ".join("?" * len(METRICS))
    query = f"SELECT id, metric_name, tags FROM series WHERE value_type = 0 AND metric_name IN ({marks})"
    return {number: (name, json.loads(tags)) for number, name, tags in connection.execute(query, METRICS)}


def _share(connection: apsw.Connection, start_ms: int) -> float:
    """Return which part of each step can be read; ids count the samples well enough."""
    first = connection.execute(
        "SELECT id FROM samples WHERE timestamp_ms >= ? ORDER BY timestamp_ms LIMIT 1", (start_ms,)
    ).get
    last = connection.execute("SELECT max(id) FROM samples").get
    return min(1.0, MAX_ENTRIES / max(1, last - first)) if first is not None and last is not None else 1.0


def _points(
    connection: apsw.Connection, series: list[int], starts_ms: range, read_ms: int
) -> dict[int, list[list[float]]]:
    query = _STEP.format(", ".join("?" * len(series)))
    points: dict[int, list[list[float]]] = {}
    for start_ms in starts_ms if series else ():
        for number, least, mean, most in connection.execute(query, (start_ms, start_ms + read_ms, *series)):
            points.setdefault(number, []).append([start_ms, least, round(mean, 3), most])
    return points


def _lines(
    wanted: tuple[Line, ...], series: Mapping[int, tuple[str, Mapping[str, str]]], points: Mapping[int, Any]
) -> list[dict[str, Any]]:
    return [
        {"name": line.name or tags.get(line.label, ""), "points": points[number]}
        for line in wanted
        for number, (metric, tags) in series.items()
        if metric == line.metric and number in points and (line.only is None or line.only in tags.items())
    ]
