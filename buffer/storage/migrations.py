"""The database: tables, the documented `metrics` view, pragmas, and the way here from older files.

Version 1 is the first milestone's flat table, version 2 the second's with upload tracking; both are
copied into version 3 in slices, each its own transaction, so that a kill in the middle only pauses it.
Version 4 adds a table, and nothing is copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import apsw

from buffer.storage import fate, old_rows, schema, series
from buffer.storage.fate import Fate
from buffer.storage.old_rows import OldRow

VERSION = 4
NORMALISED = 3  # the first version with these tables; a later one only adds to them
SLICE_ROWS = 5_000  # about 50 ms a slice on an SD card: the longest a kill can throw back


class UnknownSchemaError(Exception):
    """The file is no file of ours."""


class NewerSchemaError(Exception):
    """The file was written by a newer version of this program."""

    def __init__(self, found: int) -> None:
        super().__init__(
            f"the database has schema version {found}, this program knows up to {VERSION}: install the version that "
            "wrote it again, or move the file away to begin with an empty one; it is left as it is"
        )


def version(connection: apsw.Connection) -> int:
    """Return the file's schema version: 0 for an empty file, else as above.

    Raises:
        NewerSchemaError: a newer version wrote it.
        UnknownSchemaError: its tables are not ours.
    """
    kinds = dict(connection.execute("SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view')"))
    known = kinds.keys() >= {"series", "samples"}
    old = "old_metrics" in kinds or (
        kinds.get("metrics") == "table" and old_rows.is_ours(_columns(connection, "metrics"))
    )
    found = _recorded_version(connection)
    if found > VERSION and (known or old):
        raise NewerSchemaError(found)
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
        progress: called after each slice with how many old rows are copied so far.

    Returns:
        The version that was found.

    Raises:
        NewerSchemaError, UnknownSchemaError: see `version`.
    """
    found = version(connection)
    if found == VERSION:
        return found
    with connection:
        if _is_table(connection, "metrics"):
            _rename_old_tables(connection)
        connection.execute(schema.TABLES)
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


def _rename_old_tables(connection: apsw.Connection) -> None:
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
    index = series.SeriesIndex(connection)
    columns = old_rows.columns_of(_columns(connection, "old_metrics"))
    select = f"SELECT {columns} FROM old_metrics ORDER BY id LIMIT ?"
    copied = 0
    while True:
        with connection:
            rows = connection.execute(select, (SLICE_ROWS,)).fetchall()
            if not rows:
                return
            found = [old for old in map(old_rows.read, rows) if old is not None]
            chunk = _migrated_checkpoint(connection) if any(old.uploaded for old in found) else 0
            connection.executemany(
                "INSERT OR IGNORE INTO sessions (id, start_time) VALUES (?, ?)",
                [(old.session, old.timestamp_ms) for old in found if old.session],
            )
            connection.executemany(
                "INSERT OR IGNORE INTO samples (id, timestamp_ms, series_id, value, session, priority, chunk) "
                "VALUES (?, ?, ?, ?, (SELECT rowid FROM sessions WHERE id = ?), ?, ?)",
                [_new_row(index, old, device_id, chunk) for old in found],
            )
            connection.execute("DELETE FROM old_metrics WHERE id <= ?", (rows[-1][0],))
        copied += len(rows)
        yield copied


def _new_row(index: series.SeriesIndex, old: OldRow, device_id: str, chunk: int) -> tuple[object, ...]:
    """Return the new row of an old sample; `chunk` stands for what was uploaded."""
    is_text = isinstance(old.value, str)
    entry = index.find(old.name, old.device or device_id, old.tags, is_text=is_text)
    code = fate_of(old, chunk).code
    return old.id, old.timestamp_ms, entry.id, old.value, old.session, old.priority, code


def fate_of(old: OldRow, checkpoint: int) -> Fate:
    """Return what became of an old sample; the checkpoint stands for everything that was uploaded."""
    if isinstance(old.value, str):
        return fate.LOCAL
    if old.uploaded:
        return fate.uploaded_in(checkpoint)
    return fate.PENDING if old.is_sendable else fate.QUARANTINED


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
