"""Events out: those that the server for logs does not have yet, oldest first, and how far it has them.

Answers requests of `common/PROTOCOL.md`, section drain. How far it has them is a mark in the database, so that a kill
sends at most one request's events a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from buffer.marks import Marks
from buffer.store import Store

SENT = "events_sent_id"  # the newest that the server has
MOST = 500  # in one reply, about 100 KB


class EventLog:
    """The events of a database, as they are sent.

    Args:
        store: whose events they are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def operations(self) -> Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        """Return what the drain answers for this, by operation."""
        return {"events": self.unsent, "events_sent": self.sent}

    def unsent(self, _request: dict[str, Any]) -> dict[str, Any]:
        """Return the oldest events that the server does not have."""
        connection = self._store.connection
        sent_id, newest_id = Marks(connection).get(SENT) or 0, connection.execute("SELECT max(id) FROM events").get
        if sent_id > (newest_id or 0):
            sent_id = 0  # all had expired, or the file is a new one: numbers began anew
        query = (
            "SELECT events.id, timestamp_ms, kind, severity, source, text, sessions.id FROM events "
            "LEFT JOIN sessions ON sessions.rowid = events.session WHERE events.id > ? ORDER BY events.id LIMIT ?"
        )
        rows: list[Any] = connection.execute(query, (sent_id, MOST)).fetchall()
        return {"device_id": self._store.device_id, "events": [list(row) for row in rows]}

    def sent(self, request: dict[str, Any]) -> dict[str, Any]:
        """Note that the server has all up to an event."""
        with self._store.connection:
            Marks(self._store.connection).set(SENT, int(request["upto"]))
        return {}
