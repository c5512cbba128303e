"""Stores with samples of any age and state, for the tests of upkeep."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from buffer import slices, tables, windows
from buffer.slices import Raw
from buffer.store import Store
from buffer.upkeep.aggregates import Aggregate

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
NOW_MS = 1_760_400_000_000 // DAY_MS * DAY_MS  # midnight, so that "two days ago" is on every grid

UPLOADED = 1
PENDING, LOCAL, REFUSED = None, tables.LOCAL, tables.REFUSED


class Put(NamedTuple):
    """A sample to be stored."""

    timestamp_ms: int
    value: float | str
    series_id: int = 1
    chunk: int | None = UPLOADED
    priority: int = 2


def put(store: Store, samples: Iterable[Put]) -> None:
    """Store samples as they are, with a series each of its number, and set the pending counts right."""
    rows = list(samples)
    connection = store.connection
    with connection:
        connection.execute("INSERT OR IGNORE INTO upload_checkpoints (id, batch_id, chunk_index) VALUES (1, 'b', 0)")
        for series_id, value in {row.series_id: row.value for row in rows}.items():
            connection.execute(
                "INSERT OR IGNORE INTO series (id, metric_name, device_id, tags, value_type, series_key) "
                "VALUES (?, ?, 'd', '{}', ?, ?)",
                (series_id, f"test.number{series_id}", int(isinstance(value, str)), series_id.to_bytes(32, "big")),
            )
        connection.executemany(
            "INSERT INTO samples (timestamp_ms, value, series_id, chunk, priority) VALUES (?, ?, ?, ?, ?)", rows
        )
        spans = windows.count(row.timestamp_ms for row in rows if row.chunk == UPLOADED)
        connection.executemany(windows.UPLOADED, [(start_ms, 0, count) for start_ms, count in spans.items()])
    for row in rows:
        if row.chunk is None:
            store.pending.counts[row.priority] += 1


def verify(store: Store, *times_ms: int) -> None:
    """Have the audit's verdict on the windows of some times: the server has it all."""
    store.connection.executemany(
        "INSERT INTO windows (start_ms, state, uploaded_ms, samples) VALUES (?, 1, 0, 0) "
        "ON CONFLICT (start_ms) DO UPDATE SET state = 1",
        [(windows.start_of(time_ms),) for time_ms in times_ms],
    )


def samples(store: Store) -> list[Raw]:
    """Return all samples, by (timestamp, series)."""
    return slices.read(store.connection, slices.before(0), slices.LATEST_MS, 10_000_000)


def values(store: Store) -> list[Any]:
    """Return the values of all samples, by (timestamp, series)."""
    return [row.value for row in samples(store)]


def aggregates(store: Store) -> list[Aggregate]:
    """Return all aggregates, by (width, start, series)."""
    columns = "width_ms, start_ms, series_id, min, max, avg, last, last_ms, count"
    return [Aggregate(*row) for row in store.connection.execute(f"SELECT {columns} FROM aggregates")]
