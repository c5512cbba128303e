"""The database: tables, the documented `metrics` view, pragmas, and the way here from older files.

Version 1 is the first milestone's flat table, version 2 the second's with upload tracking; both are
copied into version 3 in slices, each its own transaction, so that a kill in the middle only pauses it.
Version 4 adds a table, and nothing is copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import apsw

from buffer import older, series
from buffer.older import Old

VERSION = 4
NORMALISED = 3  # the first version with these tables; a later one only adds to them
SLICE_ROWS = 5_000  # about 50 ms a slice on an SD card: the longest a kill can throw back

# What `samples.chunk` says besides the id of an upload_checkpoints row.
LOCAL = 0  # text: kept on the device, never uploaded
REFUSED = -1  # the server refuses it: kept, counted, not sent again

TABLES = """
CREATE TABLE IF NOT EXISTS schema_version (
    id INTEGER PRIMARY KEY AUTOINCREMENT, version INTEGER NOT NULL, applied_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS series (
    id INTEGER PRIMARY KEY,
    metric_name TEXT NOT NULL,
    device_id TEXT NOT NULL,
    tags TEXT NOT NULL,            -- minified JSON, keys sorted
    value_type INTEGER NOT NULL,   -- 0 number, 1 text
    series_key BLOB NOT NULL UNIQUE -- sha256 of the four above
);
CREATE TABLE IF NOT EXISTS samples (
    id INTEGER PRIMARY KEY,
    timestamp_ms INTEGER NOT NULL,
    series_id INTEGER NOT NULL REFERENCES series (id),
    value,                         -- integer, real or text, as it was published
    session INTEGER,               -- rowid in sessions
    clock INTEGER,                 -- clocks.id: by which clock timestamp_ms was read
    priority INTEGER NOT NULL,     -- 0 critical … 3 low
    chunk INTEGER                  -- NULL pending, else upload_checkpoints.id; 0 local only, -1 refused
);
CREATE UNIQUE INDEX IF NOT EXISTS ux_metrics_dedup ON samples (timestamp_ms, series_id);
CREATE INDEX IF NOT EXISTS idx_uploaded ON samples (priority, timestamp_ms, id) WHERE chunk IS NULL;
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY,
    start_time INTEGER NOT NULL,
    end_time INTEGER,
    status TEXT,                   -- active, completed, failed
    metadata TEXT                  -- JSON
);
CREATE TABLE IF NOT EXISTS upload_checkpoints (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    batch_id TEXT NOT NULL,
    chunk_index INTEGER NOT NULL,
    first_uploaded_id INTEGER,
    last_uploaded_id INTEGER,
    first_uploaded_timestamp INTEGER,
    last_uploaded_timestamp INTEGER,
    upload_time INTEGER,           -- Unix milliseconds
    metrics_count INTEGER
);
CREATE TABLE IF NOT EXISTS clocks (
    id INTEGER PRIMARY KEY,
    boot_id TEXT NOT NULL,
    offset_ms INTEGER NOT NULL     -- wall clock minus CLOCK_BOOTTIME; another one after each step
);
CREATE TABLE IF NOT EXISTS windows (
    start_ms INTEGER PRIMARY KEY,  -- one row for each five minutes of sample timestamps that were uploaded
    state INTEGER NOT NULL,        -- 0 to be audited, 1 verified, 2 sent again, 3 differs for good
    uploaded_ms INTEGER NOT NULL DEFAULT 0, -- when something of it was last marked uploaded
    samples INTEGER NOT NULL DEFAULT 0,     -- how many are marked uploaded
    resends INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY,
    timestamp_ms INTEGER NOT NULL,
    kind TEXT NOT NULL,
    severity TEXT NOT NULL,        -- info, warning, error, critical
    source TEXT NOT NULL,          -- the process that saw it
    text TEXT NOT NULL,
    session INTEGER
);
CREATE INDEX IF NOT EXISTS idx_events ON events (timestamp_ms);
CREATE TABLE IF NOT EXISTS event_totals (
    kind TEXT NOT NULL,
    severity TEXT NOT NULL,
    source TEXT NOT NULL,
    total INTEGER NOT NULL,        -- how many there ever were, expired ones too
    PRIMARY KEY (kind, severity, source)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS aggregates (
    width_ms INTEGER NOT NULL,     -- 60,000 or 300,000
    start_ms INTEGER NOT NULL,
    series_id INTEGER NOT NULL REFERENCES series (id),
    min REAL NOT NULL,
    max REAL NOT NULL,
    avg REAL NOT NULL,
    last REAL NOT NULL,
    last_ms INTEGER NOT NULL,      -- when that was, in milliseconds after start_ms
    count INTEGER NOT NULL,
    PRIMARY KEY (width_ms, start_ms, series_id)
) WITHOUT ROWID;
DROP VIEW IF EXISTS metrics;
CREATE VIEW metrics AS
SELECT samples.id AS id,
       timestamp_ms,
       metric_name,
       CASE value_type WHEN 0 THEN value END AS metric_value,
       CASE value_type WHEN 1 THEN value END AS value_text,
       value_type,
       tags,
       (SELECT sessions.id FROM sessions WHERE sessions.rowid = samples.session) AS session_id,
       device_id,
       CASE WHEN chunk IS NULL THEN 0 WHEN chunk > 0 THEN 1 ELSE 2 END AS uploaded,
       priority,
       lower(hex(series_key)) || '-' || timestamp_ms AS dedup_key,
       batch_id,
       chunk_index
FROM samples
JOIN series ON series.id = samples.series_id
LEFT JOIN upload_checkpoints ON upload_checkpoints.id = samples.chunk;
"""


class UnknownSchemaError(Exception):
    """The file was written by a newer version, or is no file of ours."""


def version(connection: apsw.Connection) -> int:
    """Return the file's schema version: 0 for an empty file, else as above.

    Raises:
        UnknownSchemaError: a newer version wrote it, or its tables are not ours.
    """
    kinds = dict(connection.execute("SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view')"))
    known = kinds.keys() >= {"series", "samples"}
    old = "old_metrics" in kinds or (kinds.get("metrics") == "table" and older.is_ours(_columns(connection, "metrics")))
    found = _recorded_version(connection)
    if found > VERSION and (known or old):
        raise UnknownSchemaError(f"schema version {found}; this program knows up to {VERSION}")
    if old:
        return min(max(found, 1), NORMALISED - 1)
    if known:
        return found if found >= NORMALISED else 0  # 0: killed before it was done
    if kinds.keys() - {"schema_version", "sqlite_sequence", "sqlite_stat1"}:
        raise UnknownSchemaError(f"not a metrics database: it holds {', '.join(sorted(kinds)[:5])}")
    return 0


def migrate(connection: apsw.Connection, device_id: str, progress: Callable[[int], None]) -> int:
    """Bring a file of any known version to the current one.

    Args:
        connection: the file; nobody else writes to it.
        device_id: for rows that have none.
        progress: told after each slice how many old rows are copied so far.

    Returns:
        The version that was found.

    Raises:
        UnknownSchemaError: see `version`.
    """
    found = version(connection)
    if found == VERSION:
        return found
    with connection:
        if _is_table(connection, "metrics"):
            _set_aside(connection)
        connection.execute(TABLES)
        _take_old_checkpoints(connection)
    if _is_table(connection, "old_metrics"):
        for copied in _copy(connection, device_id):
            progress(copied)
    with connection:
        connection.execute("DROP TABLE IF EXISTS old_metrics")
        connection.execute(
            "INSERT INTO schema_version (version, applied_at) VALUES (?, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))",
            (VERSION,),
        )
    return found


def _set_aside(connection: apsw.Connection) -> None:
    """Rename the old tables, so that the new ones and the view can have their names."""
    indexes = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 'metrics' AND sql IS NOT NULL"
    ).fetchall()
    for (name,) in indexes:
        connection.execute(f'DROP INDEX "{name}"')
    connection.execute("ALTER TABLE metrics RENAME TO old_metrics")
    if _is_table(connection, "upload_checkpoints"):
        connection.execute("ALTER TABLE upload_checkpoints RENAME TO old_checkpoints")


def _take_old_checkpoints(connection: apsw.Connection) -> None:
    if not _is_table(connection, "old_checkpoints"):
        return
    known = _columns(connection, "upload_checkpoints") & _columns(connection, "old_checkpoints")
    names = ", ".join(sorted(known - {"batch_id", "chunk_index"}))
    batch_id = "batch_id" if "batch_id" in known else "'migrated'"
    chunk_index = "chunk_index" if "chunk_index" in known else "0"
    connection.execute(
        f"INSERT OR IGNORE INTO upload_checkpoints ({names}, batch_id, chunk_index) "
        f"SELECT {names}, {batch_id}, {chunk_index} FROM old_checkpoints"
    )
    connection.execute("DROP TABLE old_checkpoints")


def _copy(connection: apsw.Connection, device_id: str) -> Iterator[int]:
    """Move old rows over, slice by slice; what is moved is gone from the old table."""
    book = series.Book(connection)
    columns = older.columns_of(_columns(connection, "old_metrics"))
    select = f"SELECT {columns} FROM old_metrics ORDER BY id LIMIT ?"
    copied = 0
    while True:
        with connection:
            rows = connection.execute(select, (SLICE_ROWS,)).fetchall()
            if not rows:
                return
            found = [old for old in map(older.read, rows) if old is not None]
            chunk = _migrated_checkpoint(connection) if any(old.uploaded for old in found) else 0
            connection.executemany(
                "INSERT OR IGNORE INTO sessions (id, start_time) VALUES (?, ?)",
                [(old.session, old.timestamp_ms) for old in found if old.session],
            )
            connection.executemany(
                "INSERT OR IGNORE INTO samples (id, timestamp_ms, series_id, value, session, priority, chunk) "
                "VALUES (?, ?, ?, ?, (SELECT rowid FROM sessions WHERE id = ?), ?, ?)",
                [_new_row(book, old, device_id, chunk) for old in found],
            )
            connection.execute("DELETE FROM old_metrics WHERE id <= ?", (rows[-1][0],))
        copied += len(rows)
        yield copied


def _new_row(book: series.Book, old: Old, device_id: str, chunk: int) -> tuple[object, ...]:
    """Return the new row of an old sample; `chunk` stands for what was uploaded."""
    is_text = isinstance(old.value, str)
    entry = book.find(old.name, old.device or device_id, old.tags, is_text=is_text)
    state = LOCAL if is_text else chunk if old.uploaded else None if old.is_sendable else REFUSED
    return old.id, old.timestamp_ms, entry.id, old.value, old.session, old.priority, state


def _migrated_checkpoint(connection: apsw.Connection) -> int:
    """Return the checkpoint that stands for everything the old version had uploaded."""
    row = connection.execute("SELECT id FROM upload_checkpoints WHERE batch_id = 'migrated'").fetchone()
    if row is None:
        connection.execute("INSERT INTO upload_checkpoints (batch_id, chunk_index) VALUES ('migrated', 0)")
        return connection.last_insert_rowid()
    return int(row[0])


def _recorded_version(connection: apsw.Connection) -> int:
    """Return the highest version in `schema_version`, 0 where there is none or the table is another program's."""
    if "version" not in _columns(connection, "schema_version"):
        return 0
    query = "SELECT max(version) FROM schema_version WHERE typeof(version) = 'integer'"
    return int(connection.execute(query).get or 0)


def _is_table(connection: apsw.Connection, name: str) -> bool:
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return connection.execute(query, (name,)).fetchone() is not None


def _columns(connection: apsw.Connection, table: str) -> set[str]:
    return {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
