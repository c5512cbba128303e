"""Read the recorded past: plots, events, streams and reports.

Reads: the buffer's database, through `healthd.recorded`. A plot of a day on a busy device reads only a part of each
step, as much of it as `MAX_ENTRIES` allows, and says so.
Fails: `UnreadableError` where there is no history to be read now.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from common.event_advice import todo
from healthd import samples
from healthd.page.plots import METRICS, OF_LINKS, PLOTS, LineOf
from healthd.recorded import events, series
from healthd.recorded.database import Database, Query
from healthd.recorded.events import NEWEST, RecordedEvent
from healthd.recorded.series import Line, Point
from healthd.verdict import advice, link_names

LEAST_SPAN_S, MOST_SPAN_S = 30, 35 * 86_400
STEPS_S = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14_400, 28_800)
MOST_STEPS = 180
MAX_ENTRIES = 600_000  # index entries read for one answer: 0.16 s of a processor here, 0.4 s on the board
MOST_REPORTED_S = 2 * 86_400
MAX_EVENTS = 50  # of a page
MAX_MARKS = 100  # of a plot
MAX_SESSIONS = 100
MAX_KEPT = 8  # answers
KEEP_STEPS = 0.5  # an answer serves for half a step: ten browsers cost as much as one


class History:
    """Reads plots, events and reports from the database.

    Args:
        database: the buffer's file.
        links: names that the configuration gives to links.
    """

    def __init__(self, database: Path, links: Mapping[str, str]) -> None:
        self._path = database
        self._database = Database(database)
        self._links = links
        self._lock = threading.Lock()
        self._live: dict[int, tuple[float, dict[str, Any]]] = {}

    def live(self, span_s: int, now_ms: int, after_ms: int = 0) -> dict[str, Any]:
        """Return all plots of the last `span_s`, as `plots` does, but only points from `after_ms` on."""
        with self._lock:
            made_s, made = self._live.get(span_s, (0.0, {}))
            if not made or time.monotonic() - made_s > KEEP_STEPS * made["step_s"]:
                made = self.plots(now_ms - 1000 * span_s, now_ms)
                if len(self._live) >= MAX_KEPT:
                    self._live.clear()
                self._live[span_s] = time.monotonic(), made
        return _after(made, after_ms) if after_ms else made

    def plots(self, start_ms: int, end_ms: int) -> dict[str, Any]:
        """Return all plots over a span.

        Returns:
            ``start_ms``, ``end_ms``, ``step_s``, ``read_share`` (1, or which part of each step was read), ``marks``:
            events that are more than information, ``sessions``: streams, and ``plots``; each line has a name and points
            ``[timestamp_ms, least, mean, most]``, or ``[timestamp_ms, value]`` where these are the same.

        Raises:
            UnreadableError: see the module.
        """
        step_ms = 1000 * step_s(start_ms, end_ms)

        def read(query: Query) -> dict[str, Any]:
            steps_ms = range(start_ms - start_ms % step_ms, end_ms + 1, step_ms)
            lines, share = series.lines(query, METRICS, steps_ms, MAX_ENTRIES)
            names = _names(lines, events.modems(query), self._links)
            streams = events.sessions(query, start_ms, end_ms, MAX_SESSIONS)
            return {
                "start_ms": start_ms,
                "end_ms": end_ms,
                "step_s": step_ms // 1000,
                "read_share": round(share, 3),
                "marks": [event._asdict() for event in events.marks(query, start_ms, end_ms, MAX_MARKS)],
                "sessions": [[span.start_ms, span.end_ms] for span in streams],
                "plots": [
                    {"id": plot.id, "title": plot.title, "unit": plot.unit, "lines": _drawn(plot.lines, lines, names)}
                    for plot in PLOTS
                ],
            }

        return self._database.read(read)

    def events(self, before: tuple[int, int] = NEWEST) -> list[dict[str, Any]]:
        """Return a page of events, the newest first, each with what to do.

        Args:
            before: timestamp in Unix milliseconds and id of the event that the page ends before.

        Raises:
            UnreadableError: see the module.
        """
        found = self._database.read(lambda query: events.page_before(query, before, MAX_EVENTS))
        return [{**event._asdict(), "todo": _todo(event)} for event in found]

    def newest(self, now_ms: int) -> bytes:
        """Return the newest value of every series, as Prometheus scrapes it.

        Raises:
            UnreadableError: see the module.
        """
        found = self._database.read(lambda query: series.newest(query, now_ms - samples.WITHIN_MS, now_ms))
        return samples.exposition(found, now_ms)

    def sessions(self) -> list[dict[str, Any]]:
        """Return the streams there were, the newest first.

        Raises:
            UnreadableError: see the module.
        """
        found = self._database.read(lambda query: events.sessions(query, limit=MAX_SESSIONS))
        return [
            {"id": span.session_id, "start_ms": span.start_ms, "end_ms": span.end_ms, "status": span.status}
            for span in found
        ]

    def report(self, start_ms: int, end_ms: int) -> str:
        """Return the report of the stream that began at `start_ms`, else of the span, as an HTML file.

        Raises:
            UnreadableError: see the module.
        """
        from healthd.session_report.report import clock, report  # noqa: PLC0415 - for who asks for one

        def read(query: Query) -> str:
            streams = [span for span in events.sessions(query, start_ms, end_ms) if span.start_ms == start_ms]
            span = next(iter(streams), events.Span(clock((start_ms + end_ms) // 2), start_ms, end_ms))
            return report(query, span, "html", self._links)

        database = Database(self._path)  # plots do not wait for it
        try:
            return database.read(read)
        finally:
            database.close()

    def close(self) -> None:
        """Close the database."""
        self._database.close()


def step_s(start_ms: int, end_ms: int) -> int:
    """Return the step of a plot over a span."""
    span_s = (end_ms - start_ms) / 1000
    return next((step for step in STEPS_S if span_s / step <= MOST_STEPS), STEPS_S[-1])


def _todo(event: RecordedEvent) -> str:
    """Return the advice for an event; for an alert, the advice of its rule."""
    rule = event.text.partition(":")[0].replace(" ", "_")
    known = advice.STREAM.get(rule) if event.kind == "alert_raised" else None
    return known.todo if known else todo(event.kind)


def _names(lines: Iterable[Line], modems: link_names.Modems, given: Mapping[str, str]) -> dict[link_names.Key, str]:
    return link_names.names(sorted({_key(line) for line in lines if line.metric in OF_LINKS}), modems, given)


def _key(line: Line) -> link_names.Key:
    return line.labels.get("interface", ""), line.labels.get("ip", "")


def _drawn(
    wanted: tuple[LineOf, ...], lines: Iterable[Line], names: Mapping[link_names.Key, str]
) -> list[dict[str, Any]]:
    """Return the lines of a plot; lines of links are marked, since a link has one colour in all plots."""
    drawn = []
    for one in wanted:
        for line in sorted(lines, key=_key):
            if line.metric == one.metric and (one.only is None or one.only in line.labels.items()):
                name = one.name or names[_key(line)]
                drawn.append({"name": name, "link": not one.name, "points": [_short(point) for point in line.points]})
    return drawn


def _short(point: Point) -> list[float]:
    """Return a point as a short list."""
    least, mean, most = (round(value, 2) if abs(value) < 1000 else round(value) for value in point[1:4])
    return [point.at_ms, mean] if least == most else [point.at_ms, least, mean, most]


def _after(made: Mapping[str, Any], after_ms: int) -> dict[str, Any]:
    """Return plots without the points before a time, which the viewer already has."""
    plots = [
        {
            **plot,
            "lines": [{**line, "points": [at for at in line["points"] if at[0] >= after_ms]} for line in plot["lines"]],
        }
        for plot in made["plots"]
    ]
    return {**made, "plots": plots}
