"""Batches to rows: where each sample belongs in time and series, and what of it is new.

Joins the transaction that is open. What was there already is left as it is; what has the time of a sample
by another clock, and is none, is entered a millisecond later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import apsw

from buffer import schema
from buffer.clocks import MAX_BUMPS, Clocks
from buffer.series import Book
from common.sample import PRIORITIES, Batch

INSERT = (
    "INSERT OR IGNORE INTO samples (timestamp_ms, series_id, value, clock, priority, chunk) VALUES (?, ?, ?, ?, ?, ?)"
)
EXACT_FLOAT = 2.0**53  # whole floats below it are stored as integers: 1-6 bytes instead of 8


class Row(NamedTuple):
    """A sample as it is entered, in the order of `INSERT`."""

    timestamp_ms: int
    series_id: int
    value: float | str
    clock: int | None
    priority: int
    chunk: int | None


@dataclass
class Entered:
    """What became of some batches.

    Attributes:
        samples: how many there were.
        inserted: how many of them are new.
        pending: how many of each priority are new and wait for their upload.
        moved: how many were given another time, by reason.
    """

    samples: int = 0
    inserted: int = 0
    pending: list[int] = field(default_factory=lambda: [0] * len(PRIORITIES))
    moved: Counter[str] = field(default_factory=Counter)


def enter(connection: apsw.Connection, book: Book, clocks: Clocks, device_id: str, batches: Iterable[Batch]) -> Entered:
    """Enter batches.

    Raises:
        apsw.Error: the database refuses; the transaction is to be rolled back and the book to forget.
    """
    entered = Entered()
    rows = _rows(book, clocks, device_id, batches, entered.moved)
    entered.samples = len(rows)
    before = connection.total_changes()
    connection.executemany(INSERT, [row for row in rows if row.chunk is not None])
    for priority in PRIORITIES:
        waiting = [row for row in rows if row.chunk is None and row.priority == priority]
        entered.pending[priority] = _insert(connection, waiting)
    entered.inserted = connection.total_changes() - before
    return entered


def _rows(book: Book, clocks: Clocks, device_id: str, batches: Iterable[Batch], moved: Counter[str]) -> list[Row]:
    """Turn batches into rows, making series as they appear; count what is given another time."""
    rows = []
    for batch in batches:
        placed = clocks.place(batch)
        if placed.moved:
            moved[placed.moved] += len(batch.samples)
        for name, value, tags in batch.samples:
            is_text = isinstance(value, str)
            series = book.find(name, device_id, tags, is_text=is_text)
            chunk = schema.LOCAL if is_text else None
            rows.append(Row(placed.timestamp_ms, series.id, _compact(value), placed.clock, series.priority, chunk))
    return rows


def _insert(connection: apsw.Connection, rows: list[Row]) -> int:
    """Insert rows; return how many of them are new."""
    before = connection.total_changes()
    connection.executemany(INSERT, rows)
    if connection.total_changes() - before < len(rows):
        _give_way(connection, rows)
    return connection.total_changes() - before


def _give_way(connection: apsw.Connection, rows: Iterable[Row]) -> None:
    """Insert a little later what is no duplicate but has the time of a sample by another clock."""
    query = "SELECT clock FROM samples WHERE timestamp_ms = ? AND series_id = ?"
    for row in rows:
        for bump_ms in range(MAX_BUMPS):
            later = row._replace(timestamp_ms=row.timestamp_ms + bump_ms)
            connection.execute(INSERT, later)
            there: Any = connection.execute(query, (later.timestamp_ms, later.series_id)).get
            if there is None or row.clock is None or there == row.clock:
                break


def _compact(value: float | str) -> float | str:
    """Store a whole float as the integer it is; it reads back equal."""
    if isinstance(value, float) and value.is_integer() and -EXACT_FLOAT < value < EXACT_FLOAT:
        return int(value)
    return value
