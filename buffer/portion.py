"""Some samples of one window on their way into aggregates: read, folded as a whole, then deleted in slices.

A slice that folded what it read would write the aggregate of a series again with each of its samples. So
the aggregates of a portion are written once, in one transaction with a mark that says which samples they
hold; after a kill the mark is enough to delete these and no others. What comes late has a greater id, what
was pending is listed; neither is in the aggregates, and neither is deleted.
"""

from __future__ import annotations

import json
from typing import Any

import apsw

from buffer import aggregates, slices, windows
from buffer.aggregates import MINUTE_MS
from buffer.marks import Marks
from buffer.slices import Key, Raw

# Together the longest transaction: 1,000 series at 10,000 samples a minute are 1,000 aggregates, 10 ms.
MOST_GROUPS = 1_500  # aggregates; a portion ends with the slice that exceeds one of these
MOST_ROWS = 20_000  # samples held in memory, 4 MB
MOST_KEPT = 500  # ids in the mark
MARK = "portion"


class Portion:
    """The samples that follow a key, up to the end of a window or as many as fit.

    Args:
        connection: the one that writes.
        marks: where it is noted what the aggregates hold.
        after: the key.
        end_ms: end of the window.
        texts_are_due: what has no mean is deleted too.

    Attributes:
        after: key of the last sample that was read.
        is_last: there are no more samples in the window.
        folded, expired: how many samples became aggregates, and how many were only deleted.
    """

    def __init__(
        self, connection: apsw.Connection, marks: Marks, after: Key, end_ms: int, *, texts_are_due: bool
    ) -> None:
        self._connection = connection
        self._marks = marks
        self._first = self.after = after
        self._end_ms = end_ms
        self._texts_are_due = texts_are_due
        self._top: int = connection.execute("SELECT coalesce(max(id), 0) FROM samples").get
        self._groups = aggregates.Groups(MINUTE_MS)
        self._rows: list[Raw] = []
        self._kept: list[int] = []
        self.is_last = False
        self.folded = self.expired = 0

    def read(self, limit: int) -> bool:
        """Read a slice; return True for "more"."""
        rows = slices.read(self._connection, self.after, self._end_ms, limit)
        for row in rows:
            if row.id <= self._top:
                self._take(row)
        self.is_last = len(rows) < limit
        self.after = rows[-1].key if rows else self.after
        is_full = len(self._groups) >= MOST_GROUPS or len(self._rows) >= MOST_ROWS or len(self._kept) >= MOST_KEPT
        return not self.is_last and not is_full

    def write(self) -> list[int]:
        """Write the aggregates; return the ids of the samples that are to be deleted now."""
        if not self._rows:
            return []
        with self._connection:
            aggregates.merge(self._connection, self._groups.aggregates())
            windows.forget(self._connection, self._rows)
            self._marks.set_text(MARK, json.dumps([self._first, self.after, self._top, self._kept]))
        return sorted(row.id for row in self._rows)

    def _take(self, row: Raw) -> None:
        if row.chunk is not None and aggregates.is_foldable(row.value):
            self._groups.add(row)
            self.folded += 1
        elif row.chunk is not None and self._texts_are_due:
            self.expired += 1
        else:
            self._kept.append(row.id)
            return
        self._rows.append(row)


def left_by_a_kill(connection: apsw.Connection, marks: Marks) -> list[int]:
    """Return the ids of samples that are in aggregates and were not deleted."""
    text = marks.get_text(MARK)
    if text is None:
        return []
    first, after, top, kept = json.loads(text)
    query = (
        "SELECT id FROM samples INDEXED BY ux_metrics_dedup WHERE (timestamp_ms, series_id) > (?, ?) "
        "AND (timestamp_ms, series_id) <= (?, ?) AND id <= ?"
    )
    rows: list[Any] = connection.execute(query, (*first, *after, top)).fetchall()
    return sorted({row_id for (row_id,) in rows}.difference(kept))


def delete(connection: apsw.Connection, marks: Marks, ids: list[int], limit: int) -> list[int]:
    """Delete the first of some samples; return the rest. With the last of them the mark goes.

    In order of id: as long as the greatest is there, no sample that comes late can be given one of them. What
    became pending again meanwhile stays.
    """
    with connection:
        connection.executemany(
            "DELETE FROM samples WHERE id = ? AND chunk IS NOT NULL", [(row_id,) for row_id in ids[:limit]]
        )
        if len(ids) <= limit:
            marks.set_text(MARK, None)
    return ids[limit:]
