"""Database files for tests: settings for a fresh one, batches to put in, and older ones as the documents have them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw

from buffer.storage.clocks import ClockReading
from common.sample import Batch, Sample, Value
from common.settings import Storage

NOW_MS = time.time_ns() // 1_000_000_000 * 1000 - 60_000  # recent: the buffer doubts samples that are not
DEVICE = "belabox-001"

# MILESTONE-2's predecessor, as DESIGN.md has it.
V1 = """
CREATE TABLE metrics (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    timestamp_ms INTEGER NOT NULL,
    metric_name TEXT NOT NULL,
    metric_value REAL,
    device_id TEXT
);
"""

# PRD.md, "Database Schema".
V1_OF_THE_PRD = """
CREATE TABLE metrics (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    timestamp INTEGER NOT NULL,  -- Unix ms
    metric_name TEXT NOT NULL,
    metric_value REAL,
    tags TEXT,  -- JSON: {"core":"0","modem":"1"}
    session_id TEXT,
    uploaded INTEGER DEFAULT 0,  -- 0=pending, 1=uploaded
    priority INTEGER DEFAULT 2   -- 0=critical, 1=high, 2=normal, 3=low
);

CREATE INDEX idx_timestamp ON metrics(timestamp);
CREATE INDEX idx_metric_session ON metrics(metric_name, session_id, timestamp);
CREATE INDEX idx_uploaded ON metrics(uploaded, priority, timestamp);

CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    start_time INTEGER NOT NULL,
    end_time INTEGER,
    status TEXT,  -- active, completed, failed
    metadata TEXT  -- JSON
);

CREATE TABLE upload_checkpoints (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    last_uploaded_id INTEGER,
    last_uploaded_timestamp INTEGER,
    upload_time INTEGER
);
"""

# MILESTONE-2.md, "Database Schema (Production Version v2)".
V2 = """
CREATE TABLE IF NOT EXISTS metrics (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    timestamp_ms INTEGER NOT NULL,
    metric_name TEXT NOT NULL,
    metric_value REAL,
    value_text TEXT,              -- For string metrics
    value_type INTEGER DEFAULT 0, -- 0=real, 1=text
    tags TEXT,                     -- Minified JSON, canonical key order
    session_id TEXT,
    device_id TEXT,
    uploaded INTEGER DEFAULT 0,
    priority INTEGER DEFAULT 2,   -- 0=P0, 1=P1, 2=P2, 3=P3
    dedup_key TEXT NOT NULL        -- sha256(name|ts_ms|device|tags)
);

CREATE INDEX IF NOT EXISTS idx_timestamp ON metrics(timestamp_ms);
CREATE INDEX IF NOT EXISTS idx_metric_session ON metrics(metric_name, session_id, timestamp_ms);
CREATE INDEX IF NOT EXISTS idx_uploaded ON metrics(uploaded, priority, timestamp_ms, id);
CREATE INDEX IF NOT EXISTS idx_name_dev_time ON metrics(metric_name, device_id, timestamp_ms);
CREATE UNIQUE INDEX IF NOT EXISTS ux_metrics_dedup ON metrics(dedup_key);

CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY,
    start_time INTEGER NOT NULL,
    end_time INTEGER,
    status TEXT,  -- active, completed, failed
    metadata TEXT -- JSON
);

CREATE TABLE IF NOT EXISTS upload_checkpoints (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    batch_id TEXT NOT NULL,       -- UUID for batch tracking
    chunk_index INTEGER NOT NULL, -- 0-based chunk number
    last_uploaded_id INTEGER,
    last_uploaded_timestamp INTEGER,
    upload_time INTEGER,
    metrics_count INTEGER         -- Metrics in this chunk
);

CREATE TABLE IF NOT EXISTS schema_version (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    version INTEGER NOT NULL,
    applied_at TEXT NOT NULL
);
INSERT INTO schema_version (version, applied_at) VALUES (2, '2025-10-11T14:30:00Z');
"""


def storage(path: Path, **changes: Any) -> Storage:
    """Return section storage for a file."""
    return replace(Storage(), path=path, **changes)


def batch(
    *samples: tuple[str, Value] | tuple[str, Value, Mapping[str, str]], seq: int = 1, at_ms: int = NOW_MS
) -> Batch:
    """Return a batch of one collect."""
    return Batch("p", "e", seq, at_ms, 5_000, "boot", False, [Sample(*sample) for sample in samples])


def make(path: Path, ddl: str, rows: Iterable[Mapping[str, Any]] = (), **others: Iterable[Mapping[str, Any]]) -> None:
    """Write an older file: a schema, rows of `metrics` by column name, and rows of other tables."""
    connection = apsw.Connection(str(path))
    connection.execute(ddl)
    for table, content in {"metrics": rows, **others}.items():
        insert(connection, table, content)
    connection.close()


def insert(connection: apsw.Connection, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Put rows into a table."""
    with connection:
        for row in rows:
            marks = ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))


def v2_row(number: int, **changes: Any) -> dict[str, Any]:
    """Return a row as the second milestone wrote it."""
    return {
        "timestamp_ms": NOW_MS + number,
        "metric_name": "cpu.usage_percent",
        "metric_value": float(number),
        "tags": json.dumps({"core": str(number % 4)}, separators=(",", ":")),
        "device_id": DEVICE,
        "dedup_key": f"key-{number}",
        **changes,
    }


def query(path: Path, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Read as any other program would.

    With apsw, not the sqlite3 module: two copies of SQLite in one process do not see each other's locks.
    """
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(10_000)
    try:
        rows: list[tuple[Any, ...]] = connection.execute(sql, parameters).fetchall()
        return rows
    finally:
        connection.close()


def shifted(now: ClockReading, shift_ms: list[int]) -> Callable[[], ClockReading]:
    """Return what reads a clock at one moment, its wall clock shifted by the one number in a list."""
    return lambda: replace(now, wall_ms=now.wall_ms + shift_ms[0])
