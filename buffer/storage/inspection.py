"""Check an open database for damage before it is used.

Always checked: every table and column exists, a sample can be written, and each series is the one that its key proves.
All pages are checked only after an unclean exit. Both of these take two seconds at most, because a large file must not
delay the start. Damage in other pages is found when they are read.
"""

from __future__ import annotations

import time

import apsw

from buffer.storage import schema, series

CHECK_S = 2.0
CHECK_EVERY = 10_000  # steps of SQLite's machine between two looks at the clock, about 1 ms


def find_damage(connection: apsw.Connection, *, unclean: bool) -> str | None:
    """Return what is wrong with a database, or None; see `Store.find_damage`."""
    missing = _missing_columns(connection)
    if missing:
        return f"not in the file: {', '.join(missing[:3])}"
    _probe(connection)
    return _damaged_series(connection) or (_quick_check(connection) if unclean else None)


def _missing_columns(connection: apsw.Connection) -> list[str]:
    """Return the columns that a fresh file would have and this one has not: its schema is damaged."""
    fresh = apsw.Connection(":memory:")
    try:
        fresh.execute(schema.TABLES)
        query = (
            "SELECT m.name || '.' || c.name FROM sqlite_master AS m, pragma_table_info(m.name) AS c "
            "WHERE m.type = 'table' UNION ALL SELECT name FROM sqlite_master WHERE type = 'index'"
        )
        have = {name for (name,) in connection.execute(query)}
        return [name for (name,) in fresh.execute(query) if name not in have]
    finally:
        fresh.close()


def _probe(connection: apsw.Connection) -> None:
    """Insert a sample as ingest does, and roll back; nothing reaches the disk."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(
            "INSERT OR IGNORE INTO samples (timestamp_ms, series_id, value, priority, chunk) VALUES (?, 0, 0, 0, NULL)",
            (time.time_ns() // 1_000_000,),
        )
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _damaged_series(connection: apsw.Connection) -> str | None:
    """Return which series is another than was written: SQLite cannot tell, and nobody reads those that stay here."""
    deadline_s = time.monotonic() + CHECK_S
    for row in connection.execute(series.ROWS):
        if not series.is_proven(row):
            return f"series {row[0]} is damaged"
        if time.monotonic() > deadline_s:
            break
    return None


def _quick_check(connection: apsw.Connection) -> str | None:
    """Return what SQLite finds wrong in the time there is, or None."""
    deadline_s = time.monotonic() + CHECK_S
    connection.set_progress_handler(lambda: time.monotonic() > deadline_s, CHECK_EVERY)
    try:
        answer = str(connection.execute("PRAGMA quick_check(1)").get)
    except apsw.InterruptError:
        return None  # so far it is sound
    finally:
        connection.set_progress_handler(None)
    return None if answer == "ok" else answer
