"""Write batches as rows: find the time, series and session of each sample, and drop duplicates.

Works inside the open transaction. A duplicate (same series and timestamp) is dropped by INSERT OR IGNORE against the
unique index `ux_metrics_dedup`. Two different samples of a series with the same timestamp are both kept: the second is
stored up to 50 ms later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from buffer.storage import fate
from buffer.storage.clocks import MAX_BUMPS, Clocks, Placed
from buffer.storage.events import EventTable, is_event
from buffer.storage.series import SeriesIndex
from buffer.storage.sessions import Sessions, is_session
from common.sample import CRITICAL, PRIORITIES, Batch, Sample

INSERT = (
    "INSERT OR IGNORE INTO samples (timestamp_ms, series_id, value, session, clock, priority, chunk) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)"
)
AT = "SELECT value, clock FROM samples WHERE timestamp_ms = ? AND series_id = ?"
EXACT_FLOAT = 2.0**53  # whole floats below it are stored as integers: 1-6 bytes instead of 8


class _Row(NamedTuple):
    """A sample as it is inserted, in the order of `INSERT`."""

    timestamp_ms: int
    series_id: int
    value: float | str
    session: int | None
    clock: int | None
    priority: int
    chunk: int | None  # `Fate.code`


@dataclass
class Entered:
    """How some batches were entered.

    Attributes:
        samples: how many there were.
        inserted: how many of them are new.
        pending: how many of each priority are new and wait for their upload.
        moved: how many were given another time, by reason.
        refused: how many events and sessions could not be understood.
    """

    samples: int = 0
    inserted: int = 0
    pending: list[int] = field(default_factory=lambda: [0] * len(PRIORITIES))
    moved: Counter[str] = field(default_factory=Counter)
    refused: int = 0


class SampleWriter:
    """Insert batches, with the series, clocks, sessions and events that they need.

    Args:
        connection: the database.
        device_id: label of every sample.
        sync_wait_s: how long after boot samples wait for an unsynchronised clock.
        directory: where the sessions' files go.
    """

    def __init__(self, connection: apsw.Connection, device_id: str, sync_wait_s: float, directory: Path) -> None:
        self._connection = connection
        self._device_id = device_id
        self._sync_wait_s = sync_wait_s
        self._directory = directory
        self.series = SeriesIndex(connection)
        self.forget()

    def forget(self) -> None:
        """Drop cached rows of a transaction that was rolled back."""
        self.series.forget()
        self.clocks = Clocks(self._connection, self._sync_wait_s)
        self.sessions = Sessions(self._connection, self._directory)
        self.events = EventTable(self._connection)

    def enter(self, batches: Iterable[Batch]) -> Entered:
        """Enter batches.

        Raises:
            apsw.Error: the database refuses; the transaction is to be rolled back, then `forget`.
        """
        entered = Entered()
        rows = self._rows(batches, entered)
        self._insert([row for row in rows if row.chunk is not None], entered)
        for priority in PRIORITIES:
            waiting = [row for row in rows if row.chunk is None and row.priority == priority]
            entered.pending[priority] = self._insert(waiting, entered)
        entered.pending[CRITICAL] += self._enter_totals()
        return entered

    def _insert(self, rows: list[_Row], entered: Entered) -> int:
        """Insert rows; return how many of them are new."""
        before = self._connection.total_changes()
        rows.sort(key=itemgetter(0, 1))  # in the order of the index, which then grows at its end
        self._connection.executemany(INSERT, rows)
        if self._connection.total_changes() - before < len(rows):
            entered.moved["same_time"] += sum(map(self._insert_later, rows))
        new = self._connection.total_changes() - before
        entered.inserted += new
        return new

    def _insert_later(self, row: _Row) -> bool:
        """On a key collision with another sample, insert the row up to 50 ms later; return whether it was inserted.

        It is a redelivery if the value that is there is equal, and its clock is the same or was set to the same time.
        """
        for bump_ms in range(MAX_BUMPS):
            later = row._replace(timestamp_ms=row.timestamp_ms + bump_ms)
            there: Any = self._connection.execute(AT, (later.timestamp_ms, later.series_id)).fetchone()
            if there is None:
                self._connection.execute(INSERT, later)
                return True
            is_same_clock = row.clock is None or there[1] is None or self.clocks.is_alike(there[1])
            if there[0] == row.value and is_same_clock:
                return False
        return False

    def _rows(self, batches: Iterable[Batch], entered: Entered) -> list[_Row]:
        """Turn batches into rows, making series as they appear; enter events and sessions."""
        rows = []
        for batch in batches:
            placed = self.clocks.place(batch)
            if placed.moved:
                entered.moved[placed.moved] += len(batch.samples)
            entered.samples += len(batch.samples)
            earlier = self.clocks.earlier_places(placed)
            for sample in batch.samples:
                if is_event(sample) or is_session(sample):
                    self._enter_special(sample, placed, entered)
                else:
                    row = self._row(sample, placed)
                    rows += [] if self._is_at_one_of(earlier, row) else [row]
        return rows

    def _is_at_one_of(self, places: dict[int, set[int]], row: _Row) -> bool:
        """Return whether a sample is stored at one of some times, by a clock that goes with it or by none."""
        for at_ms, clocks in places.items():
            there: Any = self._connection.execute(AT, (at_ms, row.series_id)).fetchone()
            if there is not None and there[0] == row.value and (there[1] is None or there[1] in clocks):
                return True
        return False

    def _row(self, sample: Sample, placed: Placed) -> _Row:
        is_text = isinstance(sample.value, str)
        series = self.series.find(sample.name, self._device_id, sample.tags, is_text=is_text)
        session = self.sessions.at(placed.timestamp_ms)
        became = fate.LOCAL if is_text else fate.PENDING
        return _Row(
            placed.timestamp_ms, series.id, _compact(sample.value), session, placed.clock, series.priority, became.code
        )

    def _enter_special(self, sample: Sample, placed: Placed, entered: Entered) -> None:
        """Enter an event or the state of a session."""
        if is_session(sample):
            is_new = self.sessions.enter(sample)
        else:
            session = self.sessions.at(placed.timestamp_ms)
            is_new = self.events.enter(sample, placed.timestamp_ms, placed.clock, session)
        entered.refused += is_new is None
        entered.inserted += bool(is_new)

    def _enter_totals(self) -> int:
        """Enter how many events there are by now, each total as the newest of its series."""
        count = 0
        for total in self.events.totals():
            row = self._row(total.sample, Placed(total.timestamp_ms, total.clock))
            for bump_ms in range(MAX_BUMPS):  # two events of a kind in a millisecond, in two transactions
                self._connection.execute(INSERT, row._replace(timestamp_ms=row.timestamp_ms + bump_ms))
                if self._connection.changes():
                    count += 1
                    break
        return count


def _compact(value: float | str) -> float | str:
    """Store a whole float as the integer it is; it reads back equal."""
    if isinstance(value, float) and value.is_integer() and -EXACT_FLOAT < value < EXACT_FLOAT:
        return int(value)
    return value
