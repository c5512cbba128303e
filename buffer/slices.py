"""Stored samples in slices small enough to be worked on between two turns of ingest.

`read` pages through samples in order of time, whatever else is among them: the work of a slice is bounded
by the rows looked at, not by those found. `Pace` learns how many that may be on this device.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

import apsw

Key: TypeAlias = tuple[int, int]  # timestamp_ms, series_id: the unique key of a sample

# Ingest waits at most for the slice that is running: a tenth of the 100 ms that a P0 sample may take to the server,
# so that a slice which finds the card busy and takes ten times as long is still in time.
SLICE_S = 0.01
FIRST_ROWS = 250  # not yet measured: about 10 pages to read, 10 ms from a slow SD card
LEAST_ROWS = 50  # fewer, and the transaction costs more than its rows
MOST_ROWS = 2_000  # about 40 pages to read, 40 ms from a card that was not asked before
GROWTH = 1.1  # from one slice to the next: a short one at the end of a window says little; shrinking is not limited


LATEST_MS = 2**62  # later than every timestamp


class Raw(NamedTuple):
    """One stored sample with every column."""

    id: int
    timestamp_ms: int
    series_id: int
    value: float | str
    session: int | None
    clock: int | None
    priority: int
    chunk: int | None

    @property
    def key(self) -> Key:
        """Return where a reading goes on after this sample."""
        return self.timestamp_ms, self.series_id


class Pace:
    """How many rows the next slice may take."""

    def __init__(self) -> None:
        self.rows = FIRST_ROWS

    def took(self, duration_s: float) -> None:
        """Learn from the slice that ended."""
        factor = min(GROWTH, SLICE_S / max(duration_s, 1e-6))
        self.rows = min(MOST_ROWS, max(LEAST_ROWS, int(self.rows * factor)))


def before(timestamp_ms: int) -> Key:
    """Return the key that lies before all samples of a time and after all earlier ones."""
    return timestamp_ms, -1


def read(connection: apsw.Connection, after: Key, before_ms: int, limit: int) -> list[Raw]:
    """Return the samples that follow a key, older than a time, in order of (timestamp, series)."""
    query = (
        "SELECT id, timestamp_ms, series_id, value, session, clock, priority, chunk "
        "FROM samples INDEXED BY ux_metrics_dedup "
        "WHERE (timestamp_ms, series_id) > (?, ?) AND timestamp_ms < ? ORDER BY timestamp_ms, series_id LIMIT ?"
    )
    return [Raw(*row) for row in connection.execute(query, (*after, before_ms, limit))]


def first_ms(connection: apsw.Connection, since_ms: int = 0) -> int | None:
    """Return the timestamp of the oldest sample that is not older than a time."""
    query = (
        "SELECT timestamp_ms FROM samples INDEXED BY ux_metrics_dedup "
        "WHERE timestamp_ms >= ? ORDER BY timestamp_ms LIMIT 1"
    )
    found: int | None = connection.execute(query, (since_ms,)).get
    return found


def delete(connection: apsw.Connection, rows: Iterable[Raw]) -> None:
    """Delete samples; joins the transaction that is open."""
    connection.executemany("DELETE FROM samples WHERE id = ?", [(row.id,) for row in rows])
