"""Read events and sessions, the device id of the database, and the modem of each link."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from healthd.recorded import series
from healthd.recorded.database import Query

WORTH_A_MARK = ("critical", "error", "warning")


class RecordedEvent(NamedTuple):
    """A recorded event; `timestamp_ms` is Unix milliseconds."""

    id: int
    timestamp_ms: int
    kind: str
    severity: str
    source: str
    text: str


class Span(NamedTuple):
    """A span of time: one stream, or the minutes around a moment.

    Attributes:
        title: for the head of a report.
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


NEWEST = (1 << 62, 1 << 62)
_EVENTS = f"SELECT {', '.join(RecordedEvent._fields)} FROM events"


def page_before(query: Query, before: tuple[int, int], limit: int) -> list[RecordedEvent]:
    """Return events, the newest first, that come before a timestamp in Unix milliseconds and an id."""
    text = f"{_EVENTS} WHERE (timestamp_ms, id) < (?, ?) ORDER BY timestamp_ms DESC, id DESC LIMIT ?"
    return [RecordedEvent(*row) for row in query(text, (*before, limit))]


def within(query: Query, start_ms: int, end_ms: int) -> list[RecordedEvent]:
    """Return the events of a span, oldest first."""
    text = f"{_EVENTS} WHERE timestamp_ms BETWEEN ? AND ? ORDER BY timestamp_ms, id"
    return [RecordedEvent(*row) for row in query(text, (start_ms, end_ms))]


def marks(query: Query, start_ms: int, end_ms: int, limit: int) -> list[RecordedEvent]:
    """Return the newest events of a span that are more than information, oldest first."""
    text = (
        f"{_EVENTS} WHERE timestamp_ms BETWEEN ? AND ? AND severity IN (?, ?, ?) ORDER BY timestamp_ms DESC, id LIMIT ?"
    )
    return [RecordedEvent(*row) for row in reversed(query(text, (start_ms, end_ms, *WORTH_A_MARK, limit)))]


def sessions(query: Query, start_ms: int = 0, end_ms: int = NEWEST[0], limit: int = 1000) -> list[Span]:
    """Return the streams that touch a span, the newest first; one that still runs ends at the newest sample."""
    text = (
        "SELECT id, start_time, end_time, status, metadata FROM sessions "
        "WHERE start_time <= ? AND coalesce(end_time, ?) >= ? ORDER BY start_time DESC LIMIT ?"
    )
    ((newest_ms,),) = query("SELECT max(timestamp_ms) FROM samples", ())
    found = []
    for session_id, from_ms, to_ms, status, metadata in query(text, (end_ms, NEWEST[0], start_ms, limit)):
        restarts = int(json.loads(metadata or "{}").get("restarts", 0))
        last_ms = max(from_ms, newest_ms or 0) if to_ms is None else to_ms
        found.append(Span("Stream", from_ms, last_ms, status, session_id, restarts))
    return found


def device_id(query: Query) -> str:
    """Return the device id of the newest series."""
    found = query("SELECT device_id FROM series ORDER BY id DESC LIMIT 1", ())
    return str(found[0][0]) if found else ""


def modems(query: Query) -> dict[str, Mapping[str, str]]:
    """Return the newest `modem.info` labels of each interface."""
    rows = series.of_metrics(query, ["modem.info"]).values()
    return {labels["interface"]: labels for _, labels in rows if labels.get("interface")}
