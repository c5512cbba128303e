"""Progress of background work, stored in the database, so that a kill loses no more than one slice.

Each entry is written in the same transaction as the work it describes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import apsw

TABLES = """
CREATE TABLE IF NOT EXISTS upkeep (
    name TEXT PRIMARY KEY,         -- e.g. archived_until_ms
    value NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS thinned (
    priority INTEGER NOT NULL,
    start_ms INTEGER NOT NULL,     -- one row for each span whose pending samples were thinned
    halvings INTEGER NOT NULL,     -- every 2nd, 4th, 8th … sample of a series was kept
    upto_ms INTEGER,               -- the next halving has come to here; NULL between two
    upto_id INTEGER,
    PRIMARY KEY (priority, start_ms)
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Thinned:
    """How much the pending samples of one priority in one span were thinned.

    Attributes:
        halvings: how often every other sample of each series was given up.
        upto: timestamp_ms and id of the last sample the next halving looked at, or None.
    """

    halvings: int = 0
    upto: tuple[int, int] | None = None


class Progress:
    """The entries of a database.

    Raises:
        apsw.Error: the tables cannot be made.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        with connection:
            connection.execute(TABLES)

    def get(self, name: str) -> int | None:
        """Return a number, None before it was first set."""
        found: int | None = self._value(name)
        return found

    def get_text(self, name: str) -> str | None:
        """Return a text, None where it is not set."""
        found: str | None = self._value(name)
        return found

    def set(self, name: str, value: int | str | None) -> None:
        """Set an entry, or delete it; joins the transaction that is open."""
        if value is None:
            self._connection.execute("DELETE FROM upkeep WHERE name = ?", (name,))
        else:
            self._connection.execute("INSERT OR REPLACE INTO upkeep (name, value) VALUES (?, ?)", (name, value))

    def thinned(self, priority: int) -> dict[int, Thinned]:
        """Return how far each span of a priority was thinned, by its start."""
        query = "SELECT start_ms, halvings, upto_ms, upto_id FROM thinned WHERE priority = ?"
        return {
            start_ms: Thinned(halvings, None if upto_ms is None else (upto_ms, upto_id))
            for start_ms, halvings, upto_ms, upto_id in self._connection.execute(query, (priority,))
        }

    def set_thinned(self, priority: int, start_ms: int, state: Thinned) -> None:
        """Store how far a span was thinned; joins the open transaction."""
        upto_ms, upto_id = state.upto or (None, None)
        self._connection.execute(
            "INSERT OR REPLACE INTO thinned (priority, start_ms, halvings, upto_ms, upto_id) VALUES (?, ?, ?, ?, ?)",
            (priority, start_ms, state.halvings, upto_ms, upto_id),
        )

    def forget_thinned(self, before_ms: int) -> None:
        """Forget spans that start before a time: there is nothing left in them."""
        self._connection.execute("DELETE FROM thinned WHERE start_ms < ?", (before_ms,))

    def _value(self, name: str) -> Any:
        return self._connection.execute("SELECT value FROM upkeep WHERE name = ?", (name,)).get
