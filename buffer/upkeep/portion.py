"""Some samples of one window on their way into aggregates: read, folded as a whole, then deleted.

A slice that folded what it read would write the aggregate of a series again with each of its samples. So a
portion is read first, its aggregates are written once, series by series, and only then it is deleted. Each
transaction that writes aggregates leaves a mark that says which samples they hold; after a kill it is
enough to delete these and no others. What comes late has a greater id, what was pending is listed: neither
is in the aggregates, and neither is deleted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import apsw

from buffer import slices, windows
from buffer.marks import Marks
from buffer.slices import Key, Raw
from buffer.upkeep import aggregates
from buffer.upkeep.aggregates import MINUTE_MS, Groups

MOST_ROWS = 10_000  # samples held in memory, 3 MB: a minute of the busiest device; it ends with a slice
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
        folded, expired: how many samples become aggregates, and how many are only deleted.
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
        self._groups = Groups(MINUTE_MS)
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
        return not self.is_last and len(self._rows) < MOST_ROWS and len(self._kept) < MOST_KEPT

    def write(self, limit: int) -> bool:
        """Write the aggregates of the next series; return True for "more"."""
        found = self._groups.take(limit)
        if found:
            with self._connection:
                aggregates.merge(self._connection, found)
                mark = [self._first, self.after, self._top, self._kept, found[-1].series_id]
                self._marks.set_text(MARK, json.dumps(mark))
        return len(self._groups) > 0

    def folded_rows(self) -> list[Raw]:
        """Return what is to be deleted when all aggregates are written, in order of id."""
        return sorted(self._rows)

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


def left_by_a_kill(connection: apsw.Connection, marks: Marks) -> list[Raw]:
    """Return the samples that are in aggregates and were not deleted, in order of id."""
    text = marks.get_text(MARK)
    if text is None:
        return []
    first, after, top, kept, series_id = json.loads(text)
    rows = slices.read(connection, tuple(first), after[0] + 1, MOST_ROWS + MOST_KEPT + slices.MOST_ROWS)
    return sorted(
        row
        for row in rows
        if row.key <= tuple(after) and row.id <= top and row.series_id <= series_id and row.id not in kept
    )


def delete(connection: apsw.Connection, marks: Marks, rows: Sequence[Raw], limit: int) -> Sequence[Raw]:
    """Delete the first of some samples; return the rest. With the last of them the mark goes.

    In order of id: as long as the greatest is there, no sample that comes late can be given one of them. What
    became pending again meanwhile stays.
    """
    with connection:
        connection.executemany(
            "DELETE FROM samples WHERE id = ? AND chunk IS NOT NULL", [(row.id,) for row in rows[:limit]]
        )
        windows.forget(connection, rows[:limit])
        if len(rows) <= limit:
            marks.set_text(MARK, None)
    return rows[limit:]
