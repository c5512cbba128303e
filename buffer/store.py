"""Rows at rest: the one connection that writes, and what ingest and drain ask of it.

Takes batches, gives leases their rows, marks what was uploaded. Every method is one transaction: it
happened or it did not. Fails with apsw.Error (disk full, I/O, busy); the caller pauses and tries again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import apsw

from buffer import database, tables, windows
from buffer.clocks import Clocks
from buffer.entry import Desk
from buffer.series import Book, Series
from buffer.sessions import Sessions
from common import clock
from common.sample import PRIORITIES, Batch
from common.settings import Clock, Storage

_PENDING = "FROM samples INDEXED BY idx_uploaded WHERE chunk IS NULL AND priority = ?"


class Row(NamedTuple):
    """One pending sample."""

    id: int
    timestamp_ms: int
    series_id: int
    value: float


class Written(NamedTuple):
    """What a write did.

    Attributes:
        inserted: rows that are new.
        duplicates: rows that were there already.
        moved: samples that were given another time, by reason.
        step_ms: by how much the wall clock was found to be stepped.
        refused: events and sessions that could not be understood.
    """

    inserted: int
    duplicates: int
    moved: Mapping[str, int] = MappingProxyType({})
    step_ms: int = 0
    refused: int = 0


class Store:
    """The database file.

    Args:
        settings: section storage.
        device_id: label of every sample that comes in.
        progress: told how many old rows a migration has copied.
        sync_wait_s: how long after boot samples wait for an unsynchronised clock.

    Attributes:
        migrated_from: version of the schema as it was found.
        pending: samples of each priority that wait for their upload.
        damage: what SQLite said when it called the file corrupt, or None.

    Raises:
        apsw.Error: the file cannot be opened or is no database.
        schema.UnknownSchemaError: it is a database, but not one of ours.
    """

    def __init__(
        self,
        settings: Storage,
        device_id: str,
        progress: Callable[[int], None] = lambda _rows: None,
        sync_wait_s: float = Clock().sync_wait_s,
    ) -> None:
        self._sync_wait_s = sync_wait_s
        self.path = settings.path
        self.device_id = device_id
        self._settings = settings
        self._progress = progress
        self.open()

    def open(self) -> None:
        """Open the file, or the one that has taken its place.

        Raises:
            apsw.Error, schema.UnknownSchemaError: as above.
        """
        self._connection, self.migrated_from = database.connect(self._settings, self.device_id, self._progress)
        self.damage: apsw.Error | None = None
        self._unsynced = False
        try:
            self._desk = Desk(self._connection, self.device_id, self._sync_wait_s, self.path.parent)
            self.pending = self._count_pending()
        except apsw.Error:
            self.abandon()
            raise

    @property
    def connection(self) -> apsw.Connection:
        """Return the connection that writes, for transactions between those of ingest; `open` makes another."""
        return self._connection

    @property
    def book(self) -> Book:
        """Return the book of series."""
        return self._desk.book

    @property
    def clocks(self) -> Clocks:
        """Return the clocks of this boot."""
        return self._desk.clocks

    @property
    def sessions(self) -> Sessions:
        """Return the sessions."""
        return self._desk.sessions

    def notice(self, error: apsw.Error) -> None:
        """Take down what went wrong with this file; every caller that catches an apsw.Error has to tell."""
        if self.damage is None and database.is_damage(error):
            self.damage = error

    def rolled_back(self) -> None:
        """Forget the series and clocks that a transaction made which was rolled back."""
        self._desk.forget()

    def write(self, batches: Iterable[Batch]) -> Written:
        """Store batches; redelivered samples change nothing."""
        try:
            with self._connection:
                step_ms = self.clocks.look()
                entered = self._desk.enter(batches)
        except apsw.Error:
            self.rolled_back()
            raise
        self._unsynced = True
        for priority in PRIORITIES:
            self.pending[priority] += entered.pending[priority]
        duplicates = entered.samples - entered.inserted - entered.refused
        return Written(entered.inserted, duplicates, entered.moved, step_ms, entered.refused)

    def pending_rows(self, priority: int, before_ms: int, limit: int, since_ms: int = 0) -> list[Row]:
        """Return pending samples of a priority from a time on and older than another, oldest first."""
        query = (
            f"SELECT id, timestamp_ms, series_id, value {_PENDING} AND timestamp_ms >= ? AND timestamp_ms < ? "
            "AND clock IS NOT ? ORDER BY timestamp_ms, id LIMIT ?"
        )
        bounds = (priority, since_ms, before_ms, self.clocks.unsynchronised or -1, limit)
        rows = [Row(*row) for row in self._connection.execute(query, bounds)]
        for row in rows:
            if not (isinstance(row.value, (int, float)) and math.isfinite(row.value)):
                raise apsw.CorruptError(f"sample {row.id} is pending and no number")
        return rows

    def series(self, series_id: int) -> Series:
        """Return the series of a row."""
        return self.book.by_id(series_id)

    def mark_uploaded(self, priority: int, rows: Sequence[Row], batch_id: str, chunk_index: int) -> int:
        """Mark samples as uploaded and write their checkpoint; return how many were still pending."""
        with self._connection:
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
            marked = self._mark(self._connection.last_insert_rowid(), rows)
            spans = windows.count(row.timestamp_ms for row in rows).items()
            now_ms = clock.wall_ms()
            self._connection.executemany(windows.UPLOADED, [(start_ms, now_ms, count) for start_ms, count in spans])
        self.pending[priority] -= marked
        return marked

    def make_pending(self, statements: Iterable[tuple[str, tuple[object, ...]]]) -> int:
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
                self.pending[priority] += 1
                times_ms.append(timestamp_ms)
        spans = windows.count(times_ms).items()
        self._connection.executemany(windows.PENDING_AGAIN, [(count, start_ms) for start_ms, count in spans])
        return len(times_ms)

    def mark_refused(self, priority: int, rows: Sequence[Row]) -> int:
        """Mark samples as refused by the server: kept, never sent again; return how many were pending."""
        with self._connection:
            marked = self._mark(tables.REFUSED, rows)
        self.pending[priority] -= marked
        return marked

    def not_due(self, priority: int, since_ms: int) -> int:
        """Count pending samples of a priority that are not older than a time."""
        query = f"SELECT count(*) {_PENDING} AND timestamp_ms >= ?"
        return int(self._connection.execute(query, (priority, since_ms)).get)

    def oldest_ms(self, priority: int) -> int | None:
        """Return the timestamp of the oldest pending sample of a priority."""
        query = f"SELECT timestamp_ms {_PENDING} ORDER BY timestamp_ms LIMIT 1"
        oldest: int | None = self._connection.execute(query, (priority,)).get
        return oldest

    def checkpoint(self) -> database.Checkpoint:
        """Fold the write-ahead log into the database and truncate it."""
        result = database.fold_log(self._connection, self.path)
        self._unsynced = self._unsynced and bool(result.busy)
        return result

    def database_bytes(self) -> int:
        """Return the size of the database file."""
        return database.size(self.path)

    def wal_bytes(self) -> int:
        """Return the size of the write-ahead log."""
        return database.size(database.log_of(self.path))

    def sync(self) -> bool:
        """Have everything written so far on the disk, whatever happens to the power; False if it was.

        Raises:
            OSError: it is not there.
        """
        if not self._unsynced:
            return False
        database.sync_log(self.path)
        self._unsynced = False
        return True

    def close(self) -> None:
        """Close the file; what is committed is in it."""
        self._connection.close()

    def abandon(self) -> None:
        """Close a damaged file as it is; every method fails until `open`."""
        database.abandon(self._connection)

    def _mark(self, chunk: int, rows: Sequence[Row]) -> int:
        before = self._connection.total_changes()
        self._connection.executemany(  # the time too: an id whose row was given up may be another row's by now
            "UPDATE samples SET chunk = ? WHERE id = ? AND chunk IS NULL AND timestamp_ms = ? AND series_id = ?",
            [(chunk, row.id, row.timestamp_ms, row.series_id) for row in rows],
        )
        return self._connection.total_changes() - before

    def _count_pending(self) -> list[int]:
        query = f"SELECT count(*) {_PENDING}"
        return [int(self._connection.execute(query, (priority,)).get) for priority in PRIORITIES]
