"""Read and delete stored samples in order of time, slice by slice, in any state.

The work of a slice is bounded by the rows looked at, not by those found, so that it can be done between two turns
of ingest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple, TypeAlias

import apsw

from buffer.storage import fate
from buffer.storage.fate import Fate

Key: TypeAlias = tuple[int, int]  # timestamp_ms, series_id: the unique key of a sample

LATEST_MS = 2**62  # later than every timestamp

PENDING_BYTES = 74  # what a pending sample takes in table and indexes, measured
FREED_ENOUGH = 0.5  # of the pages that the deleted rows took
REWRITE_BELOW = 0.8  # of the rows a page had: four rows at most are written for the room of one
REWRITE_MOST = 10  # rows read for one that goes, at most: a class this rare leaves no gaps worth closing


class StoredSample(NamedTuple):
    """One stored sample with every column."""

    id: int
    timestamp_ms: int
    series_id: int
    value: float | str
    session: int | None
    clock: int | None
    priority: int
    fate: Fate

    @property
    def key(self) -> Key:
        """Return where a reading goes on after this sample."""
        return self.timestamp_ms, self.series_id


def before(timestamp_ms: int) -> Key:
    """Return the key that lies before all samples of a time and after all earlier ones."""
    return timestamp_ms, -1


class Samples:
    """The table `samples`.

    Args:
        connection: the database; what changes something joins the transaction that is open.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def read(self, after: Key, before_ms: int, limit: int) -> list[StoredSample]:
        """Return the samples that follow a key, older than a time, in order of (timestamp, series)."""
        query = (
            "SELECT id, timestamp_ms, series_id, value, session, clock, priority, chunk "
            "FROM samples INDEXED BY ux_metrics_dedup "
            "WHERE (timestamp_ms, series_id) > (?, ?) AND timestamp_ms < ? ORDER BY timestamp_ms, series_id LIMIT ?"
        )
        rows = self._connection.execute(query, (*after, before_ms, limit))
        return [StoredSample._make((*row[:7], Fate(row[7]))) for row in rows]

    def first_ms(self, since_ms: int = 0) -> int | None:
        """Return the timestamp of the oldest sample that is not older than a time."""
        query = (
            "SELECT timestamp_ms FROM samples INDEXED BY ux_metrics_dedup "
            "WHERE timestamp_ms >= ? ORDER BY timestamp_ms LIMIT 1"
        )
        found: int | None = self._connection.execute(query, (since_ms,)).get
        return found

    def newest_ms(self) -> int | None:
        """Return the timestamp of the newest sample."""
        found: int | None = self._connection.execute("SELECT max(timestamp_ms) FROM samples").get
        return found

    def greatest_id(self) -> int:
        """Return the greatest id in use, 0 where there are no samples."""
        return int(self._connection.execute("SELECT coalesce(max(id), 0) FROM samples").get)

    def delete(self, ids: Iterable[int]) -> None:
        """Delete samples."""
        self._connection.executemany("DELETE FROM samples WHERE id = ?", [(row_id,) for row_id in ids])

    def delete_settled(self, ids: Iterable[int]) -> None:
        """Delete samples, except those that are pending."""
        self._connection.executemany(
            f"DELETE FROM samples WHERE id = ? AND NOT {fate.IS_PENDING}", [(row_id,) for row_id in ids]
        )

    def delete_scattered(self, ids: Collection[int]) -> None:
        """Delete samples, and close the gaps where that leaves pages in use.

        SQLite frees a page when it is empty and merges pages when two thirds of them are: a class of samples that
        lies scattered among others could be deleted as a whole without any room being made.
        """
        used = self._used_pages()
        self.delete(ids)
        freed_bytes = (used - self._used_pages()) * self._connection.pragma("page_size")
        if freed_bytes >= FREED_ENOUGH * PENDING_BYTES * len(ids):
            return
        first, last = min(ids), max(ids)
        if last - first + 1 <= REWRITE_MOST * len(ids):
            self._rewrite(first, last)

    def _rewrite(self, first: int, last: int) -> None:
        query = "SELECT * FROM samples WHERE id BETWEEN ? AND ? ORDER BY id"
        rows = self._connection.execute(query, (first, last)).fetchall()
        if rows and len(rows) <= REWRITE_BELOW * (last - first + 1):  # ids have no gaps: so full are the pages
            self._connection.execute("DELETE FROM samples WHERE id BETWEEN ? AND ?", (first, last))
            self._connection.executemany(f"INSERT INTO samples VALUES ({', '.join('?' * len(rows[0]))})", rows)

    def _used_pages(self) -> int:
        return int(self._connection.pragma("page_count") - self._connection.pragma("freelist_count"))
