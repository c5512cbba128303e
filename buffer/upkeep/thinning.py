"""Thinning: every other pending sample of each series of a span is given up, up to four times, then the rest.

`Queue` orders the spans so that resolution falls with age: a span twice as old as another is halved once
more. The freshest samples stay whole for as long as anything else can go, and history fades instead of
ending in a cliff.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from collections.abc import Set as AbstractSet

import apsw

from buffer import windows
from buffer.marks import Marks, Thinned

SPAN_MS = windows.WINDOW_MS  # 60 days of pending samples are 17,000 spans, 3 MB while they are ordered
PAGE_ROWS = 55  # pending samples in a page's worth of table and indexes: 74 bytes each, measured
FREED_ENOUGH = 0.5  # of the pages that the deleted rows took
REWRITE_BELOW = 0.8  # of the rows a page had: four rows at most are written for the room of one
REWRITE_MOST = 10  # rows read for one that goes, at most: a class this rare leaves no gaps worth closing
MOST_HALVINGS = 4  # one sample in 16 left: a series of 5 s has one in 80 s


class Queue:
    """Spans, the one that is to be thinned next first.

    Args:
        now_ms: wall clock, Unix milliseconds.
    """

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms
        self._heap: list[tuple[float, int, Thinned]] = []

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, start_ms: int, state: Thinned) -> None:
        """Put a span in its place."""
        age_ms = max(self._now_ms - start_ms, SPAN_MS)  # a span of the future is as young as one can be
        heapq.heappush(self._heap, (-age_ms / 2**state.halvings, start_ms, state))

    def pop(self) -> tuple[int, Thinned]:
        """Take out the span that has more detail for its age than every other; of equals, the oldest."""
        _, start_ms, state = heapq.heappop(self._heap)
        return start_ms, state


def spans(connection: apsw.Connection, priority: int) -> Iterator[int]:
    """Yield the start of each span that has pending samples of a priority, oldest first."""
    query = (
        "SELECT timestamp_ms FROM samples INDEXED BY idx_uploaded "
        "WHERE chunk IS NULL AND priority = ? AND timestamp_ms >= ? ORDER BY timestamp_ms LIMIT 1"
    )
    found = connection.execute(query, (priority, 0)).get
    while found is not None:
        start_ms = found - found % SPAN_MS
        yield start_ms
        found = connection.execute(query, (priority, start_ms + SPAN_MS)).get


class Halving:
    """One pass through the pending samples of a priority in a span.

    Args:
        connection: the one that writes.
        marks: where it is noted, slice by slice.
        priority: 0-3.
        start_ms: start of the span.
        state: what was done before; a pass that was interrupted goes on where it was.

    Attributes:
        state: what is done by now.
        deletes: this pass deletes what is left.
        finished: all of the span has been looked at.
    """

    def __init__(self, connection: apsw.Connection, marks: Marks, priority: int, start_ms: int, state: Thinned) -> None:
        self._connection = connection
        self._marks = marks
        self._priority = priority
        self._start_ms = start_ms
        self._last_was_kept: dict[int, bool] = {}  # by series; a pass that is taken up again begins with a kept one
        self.state = state
        self.deletes = state.halvings >= MOST_HALVINGS
        self.finished = False

    def slice(self, limit: int) -> int:
        """Look at the next samples, at most so many; return how many were given up."""
        query = (
            "SELECT timestamp_ms, id, series_id FROM samples INDEXED BY idx_uploaded WHERE chunk IS NULL "
            "AND priority = ? AND (timestamp_ms, id) > (?, ?) AND timestamp_ms < ? ORDER BY timestamp_ms, id LIMIT ?"
        )
        after = self.state.upto or (self._start_ms, -1)
        with self._connection:
            found = self._connection.execute(query, (self._priority, *after, self._start_ms + SPAN_MS, limit))
            rows = [(int(timestamp_ms), int(row_id), int(series_id)) for timestamp_ms, row_id, series_id in found]
            gone = {row_id for _, row_id, series_id in rows if self.deletes or not self._keeps(series_id)}
            take_out(self._connection, gone)
            state = self._state_after(rows, limit)
            self._marks.set_thinned(self._priority, self._start_ms, state)
        self.state = state
        self.finished = state.upto is None
        return len(gone)

    def _state_after(self, rows: list[tuple[int, int, int]], limit: int) -> Thinned:
        if len(rows) == limit:
            return Thinned(self.state.halvings, rows[-1][:2])
        return Thinned(0 if self.deletes else self.state.halvings + 1)  # deleted: who comes late begins anew

    def _keeps(self, series_id: int) -> bool:
        kept = not self._last_was_kept.get(series_id, False)
        self._last_was_kept[series_id] = kept
        return kept


def take_out(connection: apsw.Connection, gone: AbstractSet[int]) -> None:
    """Delete samples by id, and close the gaps where that leaves pages in use.

    SQLite frees a page when it is empty and merges pages when two thirds of them are: a class of samples that
    lies scattered among others could be given up as a whole without any room being made. Joins the
    transaction that is open.
    """
    before = _used_pages(connection)
    connection.executemany("DELETE FROM samples WHERE id = ?", [(row_id,) for row_id in gone])
    if (before - _used_pages(connection)) * PAGE_ROWS >= FREED_ENOUGH * len(gone):
        return
    first, last = min(gone), max(gone)
    if last - first + 1 > REWRITE_MOST * len(gone):
        return
    rows = connection.execute("SELECT * FROM samples WHERE id BETWEEN ? AND ? ORDER BY id", (first, last)).fetchall()
    if rows and len(rows) <= REWRITE_BELOW * (last - first + 1):  # ids are given without gaps: so full are the pages
        connection.execute("DELETE FROM samples WHERE id BETWEEN ? AND ?", (first, last))
        connection.executemany(f"INSERT INTO samples VALUES ({', '.join('?' * len(rows[0]))})", rows)


def _used_pages(connection: apsw.Connection) -> int:
    return int(connection.pragma("page_count") - connection.pragma("freelist_count"))
