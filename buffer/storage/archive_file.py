"""An archive file: one span of samples as a database of its own, written slice by slice before it is compressed.

It holds tables series, sessions and samples and the view `metrics` of the live database, and opens with plain
`sqlite3`. An unfinished one survives the death of its process; one of an earlier boot is deleted: it is written
without fsync, and a power cut may have torn it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import apsw

from buffer.storage import samples
from buffer.storage.fate import Fate
from buffer.storage.samples import Key, StoredSample
from buffer.storage.schema import VIEWED

CACHE_KIB = 1024  # rows are appended: only the right edge of the tree is touched

TABLES = f"""
CREATE TABLE series (
    id INTEGER PRIMARY KEY, metric_name TEXT, device_id TEXT, tags TEXT, value_type INTEGER, series_key BLOB
);
CREATE TABLE sessions (id TEXT PRIMARY KEY, start_time INTEGER, end_time INTEGER, status TEXT, metadata TEXT);
CREATE TABLE samples (
    timestamp_ms INTEGER, series_id INTEGER, value, session INTEGER, uploaded INTEGER, priority INTEGER,
    PRIMARY KEY (timestamp_ms, series_id)
) WITHOUT ROWID; -- a sixth smaller after compression than with row numbers
CREATE VIEW metrics AS
SELECT timestamp_ms * 1000000 + series_id AS id,
{VIEWED}
       uploaded,
       priority,
       lower(hex(series_key)) || '-' || timestamp_ms AS dedup_key,
       NULL AS batch_id,
       NULL AS chunk_index
FROM samples
JOIN series ON series.id = samples.series_id;
CREATE TABLE progress (boot_id TEXT, upto_ms INTEGER, upto_series INTEGER);
"""


# How a row that a sample refers to is read in the live database and written here.
_COPY = {
    "series": (
        "SELECT id, metric_name, device_id, tags, value_type, series_key FROM series WHERE id = ?",
        "INSERT OR IGNORE INTO series VALUES (?, ?, ?, ?, ?, ?)",
    ),
    "sessions": (
        "SELECT rowid, id, start_time, end_time, status, metadata FROM sessions WHERE rowid = ?",
        "INSERT OR IGNORE INTO sessions (rowid, id, start_time, end_time, status, metadata) VALUES (?, ?, ?, ?, ?, ?)",
    ),
}


class ArchiveFile:
    """A database that is being written.

    Args:
        live: the database that the samples come from.
        path: where; made, or continued.
        boot_id: of this boot; "" where it is not known, and then nothing is continued.
        start_ms: start of the span.

    Attributes:
        after: key of the last sample in it.

    Raises:
        apsw.Error: the file cannot be written.
        OSError: the same.
    """

    def __init__(self, live: apsw.Connection, path: Path, boot_id: str, start_ms: int) -> None:
        self._live = live
        self._known: set[tuple[str, int]] = set()
        found = _after(path, boot_id) if boot_id and path.exists() else None
        self.after: Key = found or samples.before(start_ms)
        if found is None:
            remove(path)
        self._connection = _open(path)
        if found is None:
            with self._connection:
                self._connection.execute(TABLES)
                self._connection.execute("INSERT INTO progress VALUES (?, ?, ?)", (boot_id, *self.after))

    def add(self, rows: Sequence[StoredSample]) -> None:
        """Append samples, with the series and sessions they need, in one transaction."""
        with self._connection:
            for row in rows:
                self._need("series", row.series_id)
                if row.session is not None:
                    self._need("sessions", row.session)
            self._connection.executemany(
                "INSERT OR IGNORE INTO samples (timestamp_ms, series_id, value, session, uploaded, priority) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                [(r.timestamp_ms, r.series_id, r.value, r.session, _uploaded(r.fate), r.priority) for r in rows],
            )
            self._connection.execute("UPDATE progress SET upto_ms = ?, upto_series = ?", rows[-1].key)
        self.after = rows[-1].key

    def close(self) -> None:
        """Close the file as it is."""
        self._connection.close()

    def _need(self, table: str, row_id: int) -> None:
        if (table, row_id) not in self._known:
            read, write = _COPY[table]
            self._connection.executemany(write, self._live.execute(read, (row_id,)).fetchall())
            self._known.add((table, row_id))


def _open(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path))
    for pragma in (
        "journal_mode = TRUNCATE",  # undoes the slice that a kill cut in half
        "synchronous = OFF",  # see above
        f"cache_size = {-CACHE_KIB}",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    return connection


def _after(path: Path, boot_id: str) -> Key | None:
    """Return where an unfinished file of this boot ended, None if it is another's or no such file."""
    try:
        connection = _open(path)
        try:
            query = "SELECT upto_ms, upto_series FROM progress WHERE boot_id = ?"
            after: Key | None = connection.execute(query, (boot_id,)).get
        finally:
            connection.close()
    except apsw.Error:
        return None  # torn, or killed before its tables were there
    return after


def remove(path: Path) -> None:
    """Delete an unfinished file and its journal."""
    path.unlink(missing_ok=True)
    path.with_name(path.name + "-journal").unlink(missing_ok=True)


def _uploaded(became: Fate) -> int:
    """Return what the view `metrics` calls `uploaded`: 0 pending, 1 uploaded, 2 kept here."""
    return 0 if became.is_pending else 1 if became.is_uploaded else 2
