"""Rows at rest: the database file, the one connection that writes, and what ingest asks of it.

Takes batches; what waits for its upload is in `pending`. A write is one transaction: it happened or it did
not. Fails with apsw.Error (disk full, I/O, busy); the caller pauses and tries again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import apsw

from buffer import database
from buffer.clocks import Clocks
from buffer.entry import Desk
from buffer.pending import Pending
from buffer.series import Book, Series
from buffer.sessions import Sessions
from common.sample import PRIORITIES, Batch
from common.settings import Clock, Storage


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
        pending: the samples that wait for their upload.
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
            self.pending = Pending(self._connection, lambda: self.clocks.unsynchronised)
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
            self.pending.counts[priority] += entered.pending[priority]
        duplicates = entered.samples - entered.inserted - entered.refused
        return Written(entered.inserted, duplicates, entered.moved, step_ms, entered.refused)

    def series(self, series_id: int) -> Series:
        """Return the series of a row."""
        return self.book.by_id(series_id)

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
