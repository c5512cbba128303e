"""Events out: those that the server for logs does not have yet, oldest first, and how far it has them.

Answers requests of `common/PROTOCOL.md`, section drain. How far it has them is kept in the database, so that a kill
sends at most one request's events a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from buffer.storage.store import Store

SENT = "events_sent_id"  # the newest that the server has
MOST = 500  # in one reply, about 100 KB


class UnsentEvents:
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
        sent_id = self._store.progress.get(SENT) or 0
        rows = self._store.events.unsent(sent_id, MOST, self._store.clocks.unsynchronised)
        return {"device_id": self._store.device_id, "events": [list(row) for row in rows]}

    def sent(self, request: dict[str, Any]) -> dict[str, Any]:
        """Note that the server has all up to an event."""
        with self._store.transaction():
            self._store.progress.set(SENT, int(request["upto"]))
            self._store.events.sent(int(request["upto"]))
        return {}
