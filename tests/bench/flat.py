"""The schema of MILESTONE-2, one wide row for each sample, written and marked at the same pace: what ours is beside."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from common.sample import Batch

SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE metrics (id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp_ms INTEGER NOT NULL, metric_name TEXT NOT NULL,
    metric_value REAL, value_text TEXT, value_type INTEGER DEFAULT 0, tags TEXT, session_id TEXT, device_id TEXT,
    uploaded INTEGER DEFAULT 0, priority INTEGER DEFAULT 2, dedup_key TEXT NOT NULL);
CREATE INDEX idx_timestamp ON metrics(timestamp_ms);
CREATE INDEX idx_metric_session ON metrics(metric_name, session_id, timestamp_ms);
CREATE INDEX idx_uploaded ON metrics(uploaded, priority, timestamp_ms, id);
CREATE INDEX idx_name_dev_time ON metrics(metric_name, device_id, timestamp_ms);
CREATE UNIQUE INDEX ux_metrics_dedup ON metrics(dedup_key);
"""
COLUMNS = "timestamp_ms, metric_name, metric_value, tags, device_id, dedup_key"
INSERT = f"INSERT INTO metrics ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"


class FlatStore:
    """One file of it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.executescript(SCHEMA)

    def write(self, batches: Iterable[Batch]) -> None:
        """Store batches in one transaction."""
        self._connection.execute("BEGIN")
        self._connection.executemany(INSERT, (row for batch in batches for row in _rows(batch)))
        self._connection.execute("COMMIT")

    def mark(self) -> None:
        """Mark all as uploaded."""
        self._connection.execute("UPDATE metrics SET uploaded = 1 WHERE uploaded = 0")

    def size(self) -> int:
        """Return the bytes of the file, its log folded in."""
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return self._path.stat().st_size

    def close(self) -> None:
        """Close it."""
        self._connection.close()


def _rows(batch: Batch) -> Iterable[tuple[object, ...]]:
    for sample in batch.samples:
        tags = json.dumps(sample.tags, separators=(",", ":"), sort_keys=True)
        key = hashlib.sha256(f"{sample.name}|{batch.timestamp_ms}|bench|{tags}".encode()).hexdigest()
        yield batch.timestamp_ms, sample.name, sample.value, tags, "bench", key
