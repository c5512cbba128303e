"""Stores with samples of any age and state, for the tests of upkeep."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from buffer.storage import audit_windows, fate
from buffer.storage.aggregates import Aggregate
from buffer.storage.fate import Fate
from buffer.storage.samples import LATEST_MS, StoredSample, before
from buffer.storage.store import Store

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
NOW_MS = 1_760_400_000_000 // DAY_MS * DAY_MS  # midnight, so that "two days ago" is on every grid

UPLOADED = fate.uploaded_in(1)
PENDING, LOCAL, REFUSED = fate.PENDING, fate.LOCAL, fate.QUARANTINED


class Put(NamedTuple):
    """A sample to be stored."""

    timestamp_ms: int
    value: float | str
    series_id: int = 1
    became: Fate = UPLOADED
    priority: int = 2


def put(store: Store, samples: Iterable[Put]) -> None:
    """Store samples as they are, with a series each of its number, and set the pending counts right."""
    rows = list(samples)
    connection = store._connection
    with connection:
        connection.execute("INSERT OR IGNORE INTO upload_checkpoints (id, batch_id, chunk_index) VALUES (1, 'b', 0)")
        for series_id, value in {row.series_id: row.value for row in rows}.items():
            connection.execute(
                "INSERT OR IGNORE INTO series (id, metric_name, device_id, tags, value_type, series_key) "
                "VALUES (?, ?, 'd', '{}', ?, ?)",
                (series_id, f"test.number{series_id}", int(isinstance(value, str)), series_id.to_bytes(32, "big")),
            )
        connection.executemany(
            "INSERT INTO samples (timestamp_ms, value, series_id, chunk, priority) VALUES (?, ?, ?, ?, ?)",
            [(*row[:3], row.became.code, row.priority) for row in rows],
        )
        store.windows.uploaded((row.timestamp_ms for row in rows if row.became == UPLOADED), 0)
    for row in rows:
        if row.became.is_pending:
            store.pending.counts[row.priority] += 1


def verify(store: Store, *times_ms: int) -> None:
    """Have the audit's verdict on the windows of some times: the server has it all."""
    store._connection.executemany(
        "INSERT INTO windows (start_ms, state, uploaded_ms, samples) VALUES (?, 1, 0, 0) "
        "ON CONFLICT (start_ms) DO UPDATE SET state = 1",
        [(audit_windows.start_of(time_ms),) for time_ms in times_ms],
    )


def samples(store: Store) -> list[StoredSample]:
    """Return all samples, by (timestamp, series)."""
    return store.samples.read(before(0), LATEST_MS, 10_000_000)


def values(store: Store) -> list[Any]:
    """Return the values of all samples, by (timestamp, series)."""
    return [row.value for row in samples(store)]


def aggregates(store: Store) -> list[Aggregate]:
    """Return all aggregates, by (width, start, series)."""
    columns = "width_ms, start_ms, series_id, min, max, avg, last, last_ms, count"
    return [Aggregate(*row) for row in store._connection.execute(f"SELECT {columns} FROM aggregates")]
