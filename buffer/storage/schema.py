"""The tables, their indexes and the documented view `metrics`, as they are made in a new file.

How an older file becomes this: `migrations.py`. The tables of retention are made in `progress.py`.
"""

from __future__ import annotations

from buffer.storage import fate

# What the view `metrics` shows of a sample in the database and in its archive alike.
VIEWED = """\
       timestamp_ms,
       metric_name,
       CASE value_type WHEN 0 THEN value END AS metric_value,
       CASE value_type WHEN 1 THEN value END AS value_text,
       value_type,
       tags,
       (SELECT sessions.id FROM sessions WHERE sessions.rowid = samples.session) AS session_id,
       device_id,"""
TABLES = f"""
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
    chunk INTEGER                  -- NULL pending, else upload_checkpoints.id; 0 local only, -1 in quarantine
);
CREATE UNIQUE INDEX IF NOT EXISTS ux_metrics_dedup ON samples (timestamp_ms, series_id);
-- Each entry ends with the id, as any index' entry does: naming it here would store it twice.
CREATE INDEX IF NOT EXISTS idx_uploaded ON samples (priority, timestamp_ms) WHERE {fate.IS_PENDING};
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
{VIEWED}
       {fate.AS_UPLOADED} AS uploaded,
       priority,
       lower(hex(series_key)) || '-' || timestamp_ms AS dedup_key,
       batch_id,
       chunk_index
FROM samples
JOIN series ON series.id = samples.series_id
LEFT JOIN upload_checkpoints ON upload_checkpoints.id = samples.chunk;
"""
