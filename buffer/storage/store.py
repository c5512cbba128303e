"""The store: the open database and its tables, and the only method that writes batches.

A write is one transaction, so it is applied completely or not at all. Fails with `errors.Error` (disk full, I/O,
busy); the caller pauses and tries again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import apsw

from buffer.storage import database, events, inspection
from buffer.storage.aggregates import Aggregates
from buffer.storage.archive_file import ArchiveFile
from buffer.storage.audit_windows import AuditWindows
from buffer.storage.checkpoints import Checkpoints
from buffer.storage.clocks import Clocks
from buffer.storage.events import EventTable
from buffer.storage.pending import Pending, UploadMark
from buffer.storage.progress import Progress
from buffer.storage.restore import Restore
from buffer.storage.samples import Samples
from buffer.storage.series import SeriesIndex
from buffer.storage.sessions import Sessions
from buffer.storage.withheld import WithheldSeries
from buffer.storage.writer import SampleWriter
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
        progress: called with how many old rows a migration has copied.
        sync_wait_s: how long after boot samples wait for an unsynchronised clock.

    Attributes:
        migrated_from: version of the schema as it was found.
        generation: another number each time a file is opened; what refers to rows of an earlier one is void.
        undated: samples of an earlier boot in 1970 that were put in quarantine.
        damage: what SQLite said when it called the file corrupt, or None.
        pending, samples, aggregates, windows, checkpoints, progress, withheld, restore: the parts; each `open` makes
            others.

    Raises:
        errors.Error: the file cannot be opened or is no database.
        migrations.UnknownSchemaError: it is a database, but not one of ours.
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
        self._on_progress = progress
        self.generation = 0
        self.open()

    def open(self) -> None:
        """Open the file, or the one that has taken its place and goes on with the clocks of that before.

        Raises:
            errors.Error, migrations.UnknownSchemaError: as above.
        """
        offsets_ms = self.clocks.offsets_ms if self.generation else []
        self._connection, self.migrated_from = database.connect(self._settings, self.device_id, self._on_progress)
        self.generation += 1
        self.damage: apsw.Error | None = None
        self._unsynced = False
        self._identity = database.identity(self.path)
        try:
            self._make_parts()
            self.carry_over(offsets_ms)
        except apsw.Error:
            self.abandon()
            raise

    def _make_parts(self) -> None:
        connection = self._connection
        with connection:
            connection.execute(events.CLOCKS)
        self._writer = SampleWriter(connection, self.device_id, self._sync_wait_s, self.path.parent)
        self.undated = self.clocks.quarantine_undated()
        self.pending = Pending(connection, lambda: self.clocks.unsynchronised)
        self.samples = Samples(connection)
        self.aggregates = Aggregates(connection)
        self.windows = AuditWindows(connection)
        self.checkpoints = Checkpoints(connection)
        self.progress = Progress(connection)
        self.withheld = WithheldSeries(connection)
        self.restore = Restore(connection, self.series, lambda: self.clocks)

    @property
    def series(self) -> SeriesIndex:
        """Return the series."""
        return self._writer.series

    @property
    def clocks(self) -> Clocks:
        """Return the clocks of this boot."""
        return self._writer.clocks

    @property
    def sessions(self) -> Sessions:
        """Return the sessions."""
        return self._writer.sessions

    @property
    def events(self) -> EventTable:
        """Return the events."""
        return self._writer.events

    def transaction(self) -> AbstractContextManager[Any]:
        """Return a context whose statements are one transaction."""
        return self._connection

    def carry_over(self, offsets_ms: Iterable[int]) -> None:
        """Go on with the clocks of the file that this one replaces; see `Clocks.carry_over`."""
        with self._connection:
            self.clocks.carry_over(offsets_ms)
        self._writer.forget()

    def notice(self, error: apsw.Error) -> None:
        """Remember an error that shows damage; every caller that catches an error has to pass it on."""
        if self.damage is None and database.is_damage(error):
            self.damage = error

    def rolled_back(self) -> None:
        """Forget the series and clocks that a transaction made which was rolled back."""
        self._writer.forget()

    def write(self, batches: Iterable[Batch], marks: Iterable[UploadMark] = ()) -> Written:
        """Store batches, of which redelivered samples change nothing, and mark what was uploaded."""
        counts = list(self.pending.counts)
        try:
            with self._connection:
                step_ms = self.clocks.check()
                for mark in marks:
                    self.pending.mark(mark)
                entered = self._writer.enter(batches)
        except apsw.Error:
            self.pending.counts[:] = counts
            self.rolled_back()
            raise
        self._unsynced = True
        for priority in PRIORITIES:
            self.pending.counts[priority] += entered.pending[priority]
        duplicates = entered.samples - entered.inserted - entered.refused
        return Written(entered.inserted, duplicates, entered.moved, step_ms, entered.refused)

    def described(self, given: Iterable[tuple[int, Any]]) -> list[list[Any]]:
        """Return id, name, device and tags of each given series, with the value given for it."""
        found = [(self.series.by_id(series_id), what) for series_id, what in given]
        return [[series.id, series.name, series.device_id, dict(series.tags), what] for series, what in found]

    def required(self, counts: Iterable[tuple[int, int]]) -> list[list[Any]]:
        """Return the same for numbers of uploaded samples: how many the server has to have, and the number."""
        return [[*row[:4], self.withheld.required(row[0], row[4]), row[4]] for row in self.described(counts)]

    def archive_file(self, path: Path, boot_id: str, start_ms: int) -> ArchiveFile:
        """Begin or continue an archive file of this database's samples."""
        return ArchiveFile(self._connection, path, boot_id, start_ms)

    def find_damage(self, *, unclean: bool) -> str | None:
        """Return the damage found in this file, or None.

        Args:
            unclean: it was not closed as it should; look at its pages.

        Raises:
            errors.Error: of any kind; see `database.is_damage`.
        """
        return inspection.find_damage(self._connection, unclean=unclean)

    def frames_in_log(self) -> int:
        """Return how many frames of the write-ahead log SQLite takes for valid; it stops at the first that is not."""
        return database.frames_in_log(self._connection)

    def checkpoint(self) -> database.WalCheckpoint:
        """Copy the write-ahead log into the database and truncate it."""
        result = database.checkpoint(self._connection, self.path)
        self._unsynced = self._unsynced and bool(result.busy)
        return result

    def checkpoint_passively(self) -> None:
        """Copy what can be copied of the write-ahead log without waiting for anybody."""
        self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    def written_bytes(self) -> int:
        """Return the size of all pages that were written since the file was opened."""
        return int(self._connection.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE)[0] * self._connection.pragma("page_size"))

    def used_bytes(self) -> int:
        """Return the size of all pages in use: without those that are free to be used again."""
        pragma = self._connection.pragma
        return int((pragma("page_count") - pragma("freelist_count")) * pragma("page_size"))

    def database_bytes(self) -> int:
        """Return the size of the database file."""
        return database.size(self.path)

    def wal_bytes(self) -> int:
        """Return the size of the write-ahead log."""
        return database.size(database.log_of(self.path))

    def sync(self) -> bool:
        """Sync everything written so far to the disk; False if it was synced already.

        Raises:
            OSError: it is not there.
        """
        if not self._unsynced:
            return False
        database.sync_log(self.path)
        self._unsynced = False
        return True

    def is_in_place(self) -> bool:
        """Return whether the database's name is still that of the open file."""
        return database.identity(self.path) == self._identity

    def copy(self, target: Path) -> Iterator[None]:
        """Copy what is committed to another file, slice by slice; see `database.copy`."""
        return database.copy(self._connection, target)

    def close(self) -> None:
        """Close the file; what is committed is in it."""
        self._connection.close()

    def abandon(self) -> None:
        """Close a damaged file as it is; every method fails until `open`."""
        database.abandon(self._connection)
