"""Withheld series: the server accepts their samples, but one of its settings drops them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import apsw

TABLE = """
CREATE TABLE IF NOT EXISTS withheld (
    series_id INTEGER PRIMARY KEY,
    uploaded INTEGER NOT NULL,     -- samples of the audit window in which it was found
    kept INTEGER NOT NULL          -- how many of them the server had, sent again or not
);
"""
TOLERANCE = 0.8  # of what such a series has at the server, from one window to the next
SPARE = 1


class Withheld(NamedTuple):
    """What the server kept of a series in one window."""

    uploaded: int
    kept: int

    def required(self, uploaded: int) -> int:
        """Return how many samples the server has to have of so many, by the same rule."""
        return max(0, int(TOLERANCE * uploaded * self.kept / self.uploaded) - SPARE)

    def is_over(self, uploaded: int) -> bool:
        """Return whether so many complete samples show that the rule is gone: a single one proves nothing."""
        return self.kept == 0 or uploaded >= self.uploaded


class WithheldSeries:
    """The table `withheld`.

    Args:
        connection: the database; what changes something joins the transaction that is open.

    Raises:
        apsw.Error: the table cannot be made.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        with connection:
            connection.execute(TABLE)
        rows: Any = connection.execute("SELECT series_id, uploaded, kept FROM withheld")
        self._known = {series_id: Withheld(uploaded, kept) for series_id, uploaded, kept in rows}

    def __len__(self) -> int:
        return len(self._known)

    def required(self, series_id: int, uploaded: int) -> int:
        """Return how many samples of a series the server has to have, of so many that were uploaded."""
        known = self._known.get(series_id)
        return uploaded if known is None else known.required(uploaded)

    def learn(self, series_id: int, found: Withheld) -> None:
        """Record a series as withheld."""
        self._known[series_id] = found
        self._connection.execute("INSERT OR REPLACE INTO withheld VALUES (?, ?, ?)", (series_id, *found))

    def whole(self, counts: Iterable[tuple[int, int]]) -> int:
        """Forget series of which so many samples are all there; return how many."""
        over = [
            number for number, uploaded in counts if number in self._known and self._known[number].is_over(uploaded)
        ]
        for series_id in over:
            del self._known[series_id]
            self._connection.execute("DELETE FROM withheld WHERE series_id = ?", (series_id,))
        return len(over)

    def forget(self) -> None:
        """Forget all withheld series: the server was started with other settings, or is another one."""
        self._known.clear()
        self._connection.execute("DELETE FROM withheld")
