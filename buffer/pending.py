"""What waits for its upload: the rows that a lease takes, and the marks that end their waiting.

Takes the rows of a chunk and what became of it: a chunk of the server's, or refused. Every mark is one
transaction; a second mark for the same row changes nothing. Fails with apsw.Error, and nothing is marked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import apsw

from buffer import tables, windows
from common import clock
from common.sample import PRIORITIES

_PENDING = "FROM samples INDEXED BY idx_uploaded WHERE chunk IS NULL AND priority = ?"


class Row(NamedTuple):
    """One pending sample."""

    id: int
    timestamp_ms: int
    series_id: int
    value: float


class Pending:
    """The pending samples of a database.

    Args:
        connection: the one that writes.
        unsynchronised: returns the key of the clock whose samples still wait for the true time, or None.

    Attributes:
        counts: pending samples of each priority; what inserts or deletes them keeps it true.

    Raises:
        apsw.Error: they could not be counted.
    """

    def __init__(self, connection: apsw.Connection, unsynchronised: Callable[[], int | None]) -> None:
        self._connection = connection
        self._unsynchronised = unsynchronised
        self.counts = self.counted()

    def counted(self) -> list[int]:
        """Return what the file itself says about `counts`."""
        query = f"SELECT count(*) {_PENDING}"
        return [int(self._connection.execute(query, (priority,)).get) for priority in PRIORITIES]

    def rows(self, priority: int, before_ms: int, limit: int, since_ms: int = 0) -> list[Row]:
        """Return pending samples of a priority from a time on and older than another, oldest first."""
        query = (
            f"SELECT id, timestamp_ms, series_id, value {_PENDING} AND timestamp_ms >= ? AND timestamp_ms < ? "
            "AND clock IS NOT ? ORDER BY timestamp_ms, id LIMIT ?"
        )
        bounds = (priority, since_ms, before_ms, self._unsynchronised() or -1, limit)
        rows = [Row(*row) for row in self._connection.execute(query, bounds)]
        for row in rows:
            if not (isinstance(row.value, (int, float)) and math.isfinite(row.value)):
                raise apsw.CorruptError(f"sample {row.id} is pending and no number")
        return rows

    def not_due(self, priority: int, since_ms: int) -> int:
        """Count pending samples of a priority that are not older than a time."""
        query = f"SELECT count(*) {_PENDING} AND timestamp_ms >= ?"
        return int(self._connection.execute(query, (priority, since_ms)).get)

    def oldest_ms(self, priority: int) -> int | None:
        """Return the timestamp of the oldest pending sample of a priority."""
        query = f"SELECT timestamp_ms {_PENDING} ORDER BY timestamp_ms LIMIT 1"
        oldest: int | None = self._connection.execute(query, (priority,)).get
        return oldest

    def mark_uploaded(self, priority: int, rows: Sequence[Row], batch_id: str, chunk_index: int) -> int:
        """Mark samples as uploaded and write their checkpoint; return how many were still pending."""
        with self._connection:
            marked = self._mark(self._checkpoint(rows, batch_id, chunk_index), rows)
            spans = windows.count(row.timestamp_ms for row in rows).items()
            now_ms = clock.wall_ms()
            self._connection.executemany(windows.UPLOADED, [(start_ms, now_ms, count) for start_ms, count in spans])
        self.counts[priority] -= marked
        return marked

    def mark_refused(self, priority: int, rows: Sequence[Row]) -> int:
        """Mark samples as refused by the server: kept, never sent again; return how many were pending."""
        with self._connection:
            marked = self._mark(tables.REFUSED, rows)
        self.counts[priority] -= marked
        return marked

    def requeue(self, statements: Iterable[tuple[str, tuple[object, ...]]]) -> int:
        """Make uploaded samples pending again; each statement is an UPDATE's WHERE and its parameters.

        They belong to no clock any more: what was sent by one time is not sent by another.
        Joins the transaction that is open; returns how many samples it was.
        """
        times_ms: list[int] = []
        for where, parameters in statements:
            update = (
                f"UPDATE samples SET chunk = NULL, clock = NULL WHERE {where} AND chunk > 0 "
                "RETURNING priority, timestamp_ms"
            )
            changed: list[Any] = self._connection.execute(update, parameters).fetchall()
            for priority, timestamp_ms in changed:
                self.counts[priority] += 1
                times_ms.append(timestamp_ms)
        spans = windows.count(times_ms).items()
        self._connection.executemany(windows.PENDING_AGAIN, [(count, start_ms) for start_ms, count in spans])
        return len(times_ms)

    def _checkpoint(self, rows: Sequence[Row], batch_id: str, chunk_index: int) -> int:
        self._connection.execute(
            "INSERT INTO upload_checkpoints (batch_id, chunk_index, first_uploaded_id, last_uploaded_id, "
            "first_uploaded_timestamp, last_uploaded_timestamp, upload_time, metrics_count) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                batch_id,
                chunk_index,
                min(row.id for row in rows),
                max(row.id for row in rows),
                min(row.timestamp_ms for row in rows),
                max(row.timestamp_ms for row in rows),
                clock.wall_ms(),
                len(rows),
            ),
        )
        return self._connection.last_insert_rowid()

    def _mark(self, chunk: int, rows: Sequence[Row]) -> int:
        before = self._connection.total_changes()
        self._connection.executemany(  # the time too: an id whose row was given up may be another row's by now
            "UPDATE samples SET chunk = ? WHERE id = ? AND chunk IS NULL AND timestamp_ms = ? AND series_id = ?",
            [(chunk, row.id, row.timestamp_ms, row.series_id) for row in rows],
        )
        return self._connection.total_changes() - before
