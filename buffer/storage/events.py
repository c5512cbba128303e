"""Events to rows: a text sample `event` becomes a row of the table `events`, and one more in `events_total`.

Joins the transaction that is open. A redelivered event is found by time, kind, source and text, and changes
nothing. Totals are kept in the database, so that they only grow, whatever restarts and whatever expires. As long as an
event was not sent it is known by which clock of this boot it was dated: then it moves with the samples of that clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import apsw

from common import events
from common.sample import Sample, Tags

TOTAL = "events_total"

INSERT = (
    "INSERT INTO events (timestamp_ms, kind, severity, source, text, session) SELECT ?1, ?2, ?3, ?4, ?5, ?6 "
    "WHERE NOT EXISTS (SELECT 1 FROM events WHERE timestamp_ms = ?1 AND kind = ?2 AND source = ?4 AND text = ?5)"
)
_COUNT = (
    "INSERT INTO event_totals (kind, severity, source, total) VALUES (?, ?, ?, 1) "
    "ON CONFLICT (kind, severity, source) DO UPDATE SET total = total + 1 RETURNING total"
)

# Beside the events: a table of this shape is nothing that recovery takes for one of the others.
CLOCKS = """
CREATE TABLE IF NOT EXISTS event_clocks (
    event_id INTEGER PRIMARY KEY,  -- one that was not sent
    clock INTEGER NOT NULL         -- clocks.id
);
"""

_Labels = tuple[str, str, str]


class Total(NamedTuple):
    """How many events of a kind there are by now, and when the newest was."""

    timestamp_ms: int
    clock: int | None
    sample: Sample


class EventSpan(NamedTuple):
    """The times of some events, and how many events that were sent lie between them."""

    start_ms: int
    end_ms: int
    events: int


class EventTable:
    """The table `events`, and how many there ever were.

    Args:
        connection: the database.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._totals: dict[_Labels, Total] = {}

    def enter(self, sample: Sample, timestamp_ms: int, clock: int | None, session: int | None) -> bool | None:
        """Enter one event; tell whether it is new, None where it does not say what it is.

        Raises:
            apsw.Error: the database refuses.
        """
        labels = _labels(sample.tags)
        if labels is None or not isinstance(sample.value, str):
            return None
        kind, severity, source = labels
        self._connection.execute(INSERT, (timestamp_ms, kind, severity, source, sample.value, session))
        if not self._connection.changes():
            return False
        if clock is not None:
            event_id = self._connection.last_insert_rowid()
            self._connection.execute("INSERT OR REPLACE INTO event_clocks VALUES (?, ?)", (event_id, clock))
        total = int(self._connection.execute(_COUNT, labels).get)
        newest_ms = max(timestamp_ms, self._totals[labels].timestamp_ms if labels in self._totals else 0)
        tags = {"kind": kind, "severity": severity, "source": source}
        self._totals[labels] = Total(newest_ms, clock, Sample(TOTAL, total, tags))
        return True

    def totals(self) -> Iterator[Total]:
        """Yield the totals that have changed since the last call."""
        yield from self._totals.values()
        self._totals.clear()

    def sent(self, upto_id: int) -> None:
        """Keep the times of events as they were sent."""
        self._connection.execute("DELETE FROM event_clocks WHERE event_id <= ?", (upto_id,))

    def unsent(self, sent_id: int, limit: int, unsynchronised: int | None = None) -> list[tuple[Any, ...]]:
        """Return id, time, kind, severity, source, text and session of the events that follow one, oldest first.

        Args:
            sent_id: the one.
            limit: no more than so many.
            unsynchronised: a clock whose events, and all after them, still wait for the true time.
        """
        newest_id: int | None = self._connection.execute("SELECT max(id) FROM events").get
        if sent_id > (newest_id or 0):
            sent_id = 0  # all had expired, or the file is a new one: numbers began again
        query = (
            "SELECT events.id, timestamp_ms, kind, severity, source, text, sessions.id FROM events "
            "LEFT JOIN sessions ON sessions.rowid = events.session WHERE events.id > ? AND events.id < "
            "coalesce((SELECT min(event_id) FROM event_clocks WHERE clock = ?), events.id + 1) "
            "ORDER BY events.id LIMIT ?"
        )
        rows: list[Any] = self._connection.execute(query, (sent_id, unsynchronised, limit)).fetchall()
        return rows

    def span(self, after_id: int, upto_id: int) -> EventSpan | None:
        """Return the span of times of the events after one id up to another; None where there are none."""
        query = "SELECT min(timestamp_ms), max(timestamp_ms) FROM events WHERE id > ? AND id <= ?"
        start_ms, end_ms = self._connection.execute(query, (after_id, upto_id)).get
        if start_ms is None:
            return None
        query = "SELECT count(*) FROM events WHERE timestamp_ms >= ? AND timestamp_ms <= ? AND id <= ?"
        return EventSpan(start_ms, end_ms, int(self._connection.execute(query, (start_ms, end_ms, upto_id)).get))

    def slice(self, after: tuple[int, int], before_ms: int, limit: int) -> list[tuple[Any, ...]]:
        """Return the same columns of events after a (timestamp, id) and before a time, in that order."""
        query = (
            "SELECT id, timestamp_ms, kind, severity, source, text, "
            "(SELECT sessions.id FROM sessions WHERE sessions.rowid = events.session) "
            "FROM events INDEXED BY idx_events WHERE (timestamp_ms, id) > (?, ?) AND timestamp_ms < ? "
            "ORDER BY timestamp_ms, id LIMIT ?"
        )
        rows: list[Any] = self._connection.execute(query, (*after, before_ms, limit)).fetchall()
        return rows

    def expire(self, before_ms: int, limit: int) -> int:
        """Delete the oldest events before a time; return how many."""
        statement = (
            "DELETE FROM events WHERE id IN "
            "(SELECT id FROM events INDEXED BY idx_events WHERE timestamp_ms < ? ORDER BY timestamp_ms LIMIT ?)"
        )
        with self._connection:
            self._connection.execute(statement, (before_ms, limit))
        return self._connection.changes()


def is_event(sample: Sample) -> bool:
    """Tell whether a sample is an event."""
    return sample.name == events.SAMPLE


def _labels(tags: Tags) -> _Labels | None:
    try:
        return tags["kind"], tags["severity"], tags["source"]
    except KeyError:
        return None
