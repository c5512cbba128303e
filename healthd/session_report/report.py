"""The report of a span of time, as HTML, JSON or CSV: read, summed up, written."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Mapping, Sequence

from healthd.recorded import events, series
from healthd.recorded.database import Query
from healthd.recorded.events import Span
from healthd.recorded.series import Line
from healthd.session_report import summary
from healthd.session_report.document import document
from healthd.verdict import link_names

MOST_POINTS = 600  # of a line: as many as a screen is wide
LEAST_STEP_MS = 1000
BYTES_METRIC, BYTES_LABEL = "network.tx_bytes_total", "interface"


def report(query: Query, span: Span, form: str, given: Mapping[str, str]) -> str:
    """Return the report of a span.

    Args:
        query: reads the database.
        span: a stream, or the time around a moment.
        form: html, json or csv.
        given: names that the configuration gives to links.
    """
    step_ms = max(LEAST_STEP_MS, (span.end_ms - span.start_ms) // MOST_POINTS)
    lines, _ = series.lines(query, summary.METRICS, range(span.start_ms, span.end_ms + 1, step_ms))
    modems, found = events.modems(query), events.within(query, span.start_ms, span.end_ms)
    lines = summary.with_names(lines, modems, given)
    if form == "csv":
        return _csv(lines)
    rows, moments = summary.rows(lines), summary.moments(found, lines)
    increases = series.increases(query, BYTES_METRIC, span.start_ms, span.end_ms)
    sent = {dict(labels).get(BYTES_LABEL, ""): amount for labels, amount in increases.items() if amount}
    names = link_names.names(((interface, "") for interface in sorted(sent)), modems, given)
    data = {names[interface, ""]: amount for interface, amount in sent.items()}
    device_id = events.device_id(query)
    if form == "html":
        return document(device_id, span, (rows, moments, data), lines, found, clock)
    content = {
        "numbers": [row._asdict() for row in rows],
        "worst_moments": [moment._asdict() for moment in moments],
        "bytes_sent_by_link": data,
        "events": [event._asdict() for event in found],
    }
    return json.dumps(summary.as_json(device_id, span, content), ensure_ascii=False, indent=2) + "\n"


def _csv(lines: Sequence[Line]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("metric", "labels", "timestamp_ms", "least", "mean", "most", "samples"))
    for line in lines:
        labels = json.dumps(dict(line.labels), sort_keys=True)
        writer.writerows((line.metric, labels, *point) for point in line.points)
    return text.getvalue()


def clock(at_ms: int) -> str:
    """Format a moment in the local time of this device."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_ms / 1000))
