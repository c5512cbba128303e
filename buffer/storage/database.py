"""The database file as such: opened, synced, checkpointed, given up. What is in it: `store.py`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

import apsw

from buffer.storage import migrations
from common.settings import Storage

# A commit writes whole pages, of each table and index it touches the last one again: a small page is less flash.
PAGE_BYTES = 1024
BUSY_TIMEOUT_MS = 5_000  # while the file is opened
WRITE_TIMEOUT_MS = 250  # from then on: who waits longer for another writer stands still, and looks hung
COPY_PAGES = 256  # 1 MiB at once: 5 ms here, 50 ms on a slow SD card

# By these SQLite says that the file is not what it should be; all others are about its surroundings.
_DAMAGE = (apsw.CorruptError, apsw.NotADBError)
# A sector that cannot be read any more, and what some file systems say instead.
_UNREADABLE = {apsw.SQLITE_IOERR_READ, apsw.SQLITE_IOERR_CORRUPTFS, apsw.SQLITE_IOERR_DATA}


@dataclass(frozen=True)
class WalCheckpoint:
    """The three integers of ``wal_checkpoint`` and what the log measured before and after."""

    busy: int
    log_frames: int
    checkpointed_frames: int
    old_bytes: int
    new_bytes: int


class DatabaseConnection(apsw.Connection):
    """A connection whose `with` passes on why a transaction failed.

    On a full disk and on I/O errors SQLite rolls back by itself; apsw would then report that there was
    nothing to roll back.
    """

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        try:
            super().__exit__(kind, error, trace)
        except apsw.SQLError:
            if error is None or self.in_transaction:
                raise
        return False


def connect(settings: Storage, device_id: str, progress: Callable[[int], None]) -> tuple[apsw.Connection, int]:
    """Open the file and bring its schema up to date.

    Args:
        settings: section storage.
        device_id: for rows of older files that have none.
        progress: told how many old rows a migration has copied.

    Returns:
        The connection, and the schema's version as it was found.

    Raises:
        apsw.Error: the file cannot be opened, or is damaged.
        migrations.UnknownSchemaError: it is a database, but not one of ours.
    """
    connection = DatabaseConnection(str(settings.path))
    try:
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        migrations.version(connection)  # refuses a file that is not ours before anything in it is changed
        _set_pragmas(connection, settings)
        found = migrations.migrate(connection, device_id, progress)
        # Not before, or a migration's log would grow as large as the file. From here on a page that changes a
        # hundred times an hour is written to flash once.
        connection.wal_autocheckpoint(0)
        connection.set_busy_timeout(WRITE_TIMEOUT_MS)
    except BaseException:
        abandon(connection)
        raise
    return connection, found


def is_damage(error: apsw.Error) -> bool:
    """Return whether an error is about the file itself, so that a retry cannot help."""
    return isinstance(error, _DAMAGE) or getattr(error, "extendedresult", None) in _UNREADABLE


def is_readable(path: Path) -> bool:
    """Tell whether a file that nobody uses is a database of this program with the tables of this version."""
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    except apsw.Error:
        return False
    try:
        return migrations.version(connection) >= migrations.NORMALISED
    except (apsw.Error, migrations.UnknownSchemaError, migrations.NewerSchemaError):
        return False
    finally:
        connection.close(True)
        path.with_name(f"{path.name}-shm").unlink(missing_ok=True)  # which SQLite made to look


def identity(path: Path) -> tuple[int, int] | None:
    """Return the identity of the file at a path (device and inode), None where there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def copy(connection: apsw.Connection, target: Path) -> Iterator[None]:
    """Copy an open database to a file of its own, slice by slice; what is written meanwhile is in the copy too.

    Raises:
        apsw.Error, OSError: the copy cannot be written.
    """
    target.unlink(missing_ok=True)
    other = apsw.Connection(str(target))
    try:
        with other.backup("main", connection, "main") as backup:
            while not backup.step(COPY_PAGES):  # after the last one what is written is not in the copy any more
                yield
    finally:
        other.close()
    descriptor = os.open(target, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def abandon(connection: apsw.Connection) -> None:
    """Close a file without a WAL checkpoint: of two files one of which is damaged none should change."""
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.close(True)


def sync_log(database: Path) -> None:
    """Sync everything that was committed to the disk.

    With synchronous=NORMAL SQLite syncs the log only before a checkpoint, an hour apart here. FULL would do
    it after every commit, marks and single P0 samples included; once in a commit interval keeps the same
    promise for less flash. It is safe at any time: a commit is complete when the checksums of all frames up
    to it hold, so what a power cut leaves of the log is cut at a commit, whatever was written after this
    sync and in whatever order. SQLite itself syncs the log's header, with its new salts, when it starts
    over. Locks are on the database and its index, never on the log: closing a descriptor of it drops none.

    Raises:
        OSError: it is not on the disk.
    """
    try:
        descriptor = os.open(log_of(database), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def checkpoint(connection: apsw.Connection, database: Path) -> WalCheckpoint:
    """Copy the write-ahead log into the database and truncate it."""
    old_bytes = size(log_of(database))
    busy, log, checkpointed = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").get
    return WalCheckpoint(busy, log, checkpointed, old_bytes, size(log_of(database)))


def log_of(database: Path) -> Path:
    """Return where the write-ahead log of a database is."""
    return database.with_name(f"{database.name}-wal")


def frames_in_log(connection: apsw.Connection) -> int:
    """Return how many frames of the log SQLite takes for valid; it stops at the first that is not."""
    return connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)[0]


def size(path: Path) -> int:
    """Return the size of a file, 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _set_pragmas(connection: apsw.Connection, settings: Storage) -> None:
    for pragma in (
        f"page_size = {PAGE_BYTES}",  # of a new file; an older one keeps its own
        "journal_mode = WAL",
        "synchronous = NORMAL",
        "temp_store = MEMORY",
        f"mmap_size = {settings.mmap_size}",
        f"cache_size = {-(settings.cache_size // 1024)}",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()
