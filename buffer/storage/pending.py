"""Pending samples: select the rows of a lease, and mark rows as uploaded or quarantined.

Takes the rows of a chunk and its result: accepted by the server, or in quarantine. Each is one transaction; a second
result for the same row changes nothing. Fails with apsw.Error, and nothing is changed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import apsw

from buffer.storage import fate
from buffer.storage.audit_windows import WINDOW_MS, AuditWindows
from buffer.storage.checkpoints import Checkpoints, Extent
from buffer.storage.fate import QUARANTINED, Fate, uploaded_in
from common import clock
from common.sample import PRIORITIES
from common.wire import EARLIEST_MS

_PENDING = f"FROM samples INDEXED BY idx_uploaded WHERE {fate.IS_PENDING} AND priority = ?"


class PendingSample(NamedTuple):
    """One pending sample."""

    id: int
    timestamp_ms: int
    series_id: int
    value: float


class UploadMark(NamedTuple):
    """A chunk, or a part of it, that the server accepted."""

    priority: int
    rows: Sequence[PendingSample]
    batch_id: str
    chunk_index: int
    uploaded_ms: int


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
        self._checkpoints = Checkpoints(connection)
        self._windows = AuditWindows(connection)
        self.counts = self.counted()

    def counted(self) -> list[int]:
        """Count the pending samples of each priority in the file."""
        query = f"SELECT count(*) {_PENDING}"
        return [int(self._connection.execute(query, (priority,)).get) for priority in PRIORITIES]

    def rows(self, priority: int, before_ms: int, limit: int, since_ms: int = 0) -> list[PendingSample]:
        """Return pending samples of a priority from a time on and older than another, oldest first."""
        query = (
            f"SELECT id, timestamp_ms, series_id, value {_PENDING} AND timestamp_ms >= ? AND timestamp_ms < ? "
            "AND clock IS NOT ? ORDER BY timestamp_ms, id LIMIT ?"
        )
        since_ms = max(since_ms, EARLIEST_MS)  # a server takes no 1970: they wait for a clock that knows their time
        bounds = (priority, since_ms, before_ms, self._unsynchronised() or -1, limit)
        rows = [PendingSample(*row) for row in self._connection.execute(query, bounds)]
        for row in rows:
            if not (isinstance(row.value, (int, float)) and math.isfinite(row.value)):
                raise apsw.CorruptError(f"sample {row.id} is pending and no number")
        return rows

    def at(self, series_key: bytes, timestamp_ms: int, priority: int) -> list[PendingSample]:
        """Return the pending sample of a series at a time, if there is one."""
        query = (
            "SELECT samples.id, timestamp_ms, series_id, value FROM samples JOIN series ON series.id = series_id "
            f"WHERE series_key = ? AND timestamp_ms = ? AND priority = ? AND {fate.IS_PENDING}"
        )
        return [PendingSample(*row) for row in self._connection.execute(query, (series_key, timestamp_ms, priority))]

    def not_due(self, priority: int, since_ms: int) -> int:
        """Count pending samples of a priority that are not older than a time."""
        query = f"SELECT count(*) {_PENDING} AND timestamp_ms >= ?"
        return int(self._connection.execute(query, (priority, since_ms)).get)

    def oldest_ms(self, priority: int) -> int | None:
        """Return the timestamp of the oldest pending sample of a priority."""
        return self._first_ms(priority, 0)

    def spans(self, priority: int, width_ms: int) -> Iterator[int]:
        """Yield the start of each span of a width that has pending samples of a priority, oldest first."""
        found = self._first_ms(priority, 0)
        while found is not None:
            start_ms = found - found % width_ms
            yield start_ms
            found = self._first_ms(priority, start_ms + width_ms)

    def slice(self, priority: int, after: tuple[int, int], before_ms: int, limit: int) -> list[tuple[int, int, int]]:
        """Return timestamp, id and series of the pending samples that follow a (timestamp, id), oldest first."""
        query = (
            f"SELECT timestamp_ms, id, series_id {_PENDING} AND (timestamp_ms, id) > (?, ?) AND timestamp_ms < ? "
            "ORDER BY timestamp_ms, id LIMIT ?"
        )
        rows: list[Any] = self._connection.execute(query, (priority, *after, before_ms, limit)).fetchall()
        return rows

    def mark_uploaded(self, priority: int, rows: Sequence[PendingSample], batch_id: str, chunk_index: int) -> int:
        """Mark samples as uploaded now and write their checkpoint; return how many were still pending."""
        return self.mark(UploadMark(priority, rows, batch_id, chunk_index, clock.wall_ms()))

    def mark(self, mark: UploadMark) -> int:
        """Mark samples as uploaded and write their checkpoint; return how many were still pending."""
        with self._connection:
            samples = [(row.id, row.timestamp_ms) for row in mark.rows]
            checkpoint = self._checkpoints.add(mark.batch_id, mark.chunk_index, samples, mark.uploaded_ms)
            marked = self._mark(uploaded_in(checkpoint), mark.priority, mark.rows)
            self._windows.uploaded((row.timestamp_ms for row in mark.rows), mark.uploaded_ms)
        self.counts[mark.priority] -= marked
        return marked

    def keep_times(self, rows: Sequence[PendingSample]) -> None:
        """Fix the times of pending samples that the server may already have, whatever the clock does."""
        if rows:
            with self._connection:
                self._connection.executemany(
                    f"UPDATE samples SET clock = NULL WHERE id = ? AND timestamp_ms = ? AND {fate.IS_PENDING}",
                    [(row.id, row.timestamp_ms) for row in rows],
                )

    def mark_quarantined(self, priority: int, rows: Sequence[PendingSample]) -> int:
        """Mark samples as refused by the server: kept, never sent again; return how many were pending."""
        with self._connection:
            marked = self._mark(QUARANTINED, priority, rows)
        self.counts[priority] -= marked
        return marked

    def quarantine_before(self, before_ms: int, limit: int) -> int:
        """Mark pending samples from before a time as refused, so many of each priority at most; return how many."""
        update = (
            f"UPDATE samples SET chunk = ? WHERE {fate.IS_PENDING} AND id IN "
            f"(SELECT id {_PENDING} AND timestamp_ms < ? ORDER BY timestamp_ms LIMIT ?)"
        )
        marked = [0] * len(PRIORITIES)
        with self._connection:
            for priority in PRIORITIES:
                self._connection.execute(update, (QUARANTINED.code, priority, before_ms, limit))
                marked[priority] = self._connection.changes()
        self.counts[:] = [count - gone for count, gone in zip(self.counts, marked, strict=True)]
        return sum(marked)

    def unquarantine(self, ids: range, metric: str | None) -> int:
        """Make refused samples among some rows pending again, of one metric or of all; return how many."""
        chosen = "series_id IN (SELECT id FROM series WHERE metric_name = coalesce(?, metric_name))"
        update = (
            f"UPDATE samples SET chunk = NULL, clock = NULL WHERE id >= ? AND id < ? AND chunk = ? AND {chosen} "
            "RETURNING priority"
        )
        with self._connection:
            rows: list[Any] = self._connection.execute(
                update, (ids.start, ids.stop, QUARANTINED.code, metric)
            ).fetchall()
        for (priority,) in rows:
            self.counts[priority] += 1
        return len(rows)

    def requeue_chunks(self, extents: Iterable[Extent]) -> int:
        """Make the samples of some chunks pending again; return how many.

        Joins the transaction that is open, as do the two below.
        """
        return self._requeue("id BETWEEN ? AND ? AND chunk = ?", [(*found[:2], found.fate.code) for found in extents])

    def requeue_times(self, missing: Mapping[int, Collection[int]]) -> int:
        """Make the uploaded samples of some series at some times pending again; return how many."""
        times_ms = [timestamp_ms for times in missing.values() for timestamp_ms in times]
        return self._requeue_between(min(times_ms), max(times_ms) + 1, missing) if times_ms else 0

    def requeue_window(self, start_ms: int, missing: Mapping[int, Collection[int] | None]) -> int:
        """Make samples of a window pending again, of each series those at some times or all; return how many."""
        return self._requeue_between(start_ms, start_ms + WINDOW_MS, missing)

    def uploaded_in(self, extents: Iterable[Extent], limit: int) -> list[tuple[int, int]]:
        """Return series and timestamp of the samples of some chunks, and no more of them than a limit."""
        query = "SELECT series_id, timestamp_ms FROM samples WHERE id BETWEEN ? AND ? AND chunk = ? LIMIT ?"
        found: list[tuple[int, int]] = []
        for extent in extents:
            bounds = (extent.first_id, extent.last_id, extent.fate.code, limit - len(found))
            found += self._connection.execute(query, bounds).fetchall()  # type: ignore[arg-type]
        return found

    def _requeue_between(self, start_ms: int, end_ms: int, missing: Mapping[int, Collection[int] | None]) -> int:
        """Requeue what is found by reading on from a time, as the audit counted it.

        Each looked up by its key would be as many ways through the index, and where that is out of order, a sample
        that was counted would not be found.
        """
        query = (
            "SELECT id, series_id, timestamp_ms FROM samples INDEXED BY ux_metrics_dedup "
            f"WHERE timestamp_ms >= ? AND timestamp_ms < ? AND {fate.IS_UPLOADED}"
        )
        wanted = {series_id: times and set(times) for series_id, times in missing.items()}
        ids = []
        for row_id, series_id, timestamp_ms in self._connection.execute(query, (start_ms, end_ms)):
            times = wanted.get(series_id, ())
            ids += [row_id] if times is None or timestamp_ms in times else []
        return self._requeue("id IN (SELECT value FROM json_each(?))", [(json.dumps(ids),)])

    def _requeue(self, where: str, bindings: Iterable[tuple[int | str | None, ...]]) -> int:
        """Make samples pending again; they belong to no clock any more: they keep the time they were sent by."""
        times_ms: list[int] = []
        update = f"UPDATE samples SET chunk = NULL, clock = NULL WHERE {where} RETURNING priority, timestamp_ms"
        for parameters in bindings:
            changed: list[Any] = self._connection.execute(update, parameters).fetchall()
            for priority, timestamp_ms in changed:
                self.counts[priority] += 1
                times_ms.append(timestamp_ms)
        self._windows.not_uploaded(times_ms)
        return len(times_ms)

    def _first_ms(self, priority: int, since_ms: int) -> int | None:
        query = f"SELECT timestamp_ms {_PENDING} AND timestamp_ms >= ? ORDER BY timestamp_ms LIMIT 1"
        found: int | None = self._connection.execute(query, (priority, since_ms)).get
        return found

    def _mark(self, became: Fate, priority: int, rows: Sequence[PendingSample]) -> int:
        """Set the fate of pending rows: of exactly these, for an id of a deleted row may be another row's by now."""
        before = self._connection.total_changes()
        self._connection.executemany(
            f"UPDATE samples SET chunk = ? WHERE id = ? AND {fate.IS_PENDING} AND timestamp_ms = ? AND series_id = ?",
            [(became.code, row.id, row.timestamp_ms, row.series_id) for row in rows],
        )
        marked = self._connection.total_changes() - before
        if marked < len(rows):
            self._assert_sound(priority, rows)
        return marked

    def _assert_sound(self, priority: int, rows: Sequence[PendingSample]) -> None:
        """Fail where a row that was not marked would be leased again: its index entry differs from the row.

        Raises:
            apsw.CorruptError: the index of pending samples is damaged.
        """
        query = f"SELECT 1 FROM samples NOT INDEXED WHERE id = ? AND timestamp_ms = ? AND {fate.IS_PENDING}"
        gone = {
            row.id: row.timestamp_ms
            for row in rows
            if not self._connection.execute(query, (row.id, row.timestamp_ms)).get
        }
        # In order, as a lease reads it: an entry that is out of order would not be found by a look-up.
        query = f"SELECT id, timestamp_ms {_PENDING} AND timestamp_ms <= ?"
        for row_id, timestamp_ms in self._connection.execute(query, (priority, max(gone.values(), default=0))):
            if gone.get(row_id) == timestamp_ms:
                raise apsw.CorruptError(f"sample {row_id} is pending in the index and not in the table")
