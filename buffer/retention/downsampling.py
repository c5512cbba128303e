"""Some samples of one audit window on their way into aggregates: read, aggregated as a whole, then deleted.

A slice that aggregated what it read would write the aggregate of a series again with each of its samples. So samples
are read first, their aggregates are written once, series by series, and only then they are deleted. Each transaction
that writes aggregates notes which samples they hold; after a kill it is enough to delete these and no others. What
comes late has a greater id, what stays is listed: neither is in the aggregates, and neither is deleted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from buffer.pace import MOST_ROWS as MOST_SLICE_ROWS
from buffer.storage.aggregates import MINUTE_MS, Groups, has_mean
from buffer.storage.samples import Key, StoredSample
from buffer.storage.store import Store

MOST_ROWS = 10_000  # samples held in memory, 3 MB: a minute of the busiest device; it ends with a slice
MOST_KEPT = 500  # ids in the note
NOTE = "portion"  # the name in files that are in use


class Downsampling:
    """The samples that follow a key, up to the end of a window or as many as fit.

    Args:
        store: the database.
        after: the key.
        end_ms: end of the window.
        others_are_due: what is in no aggregate is deleted too: texts, and what the server refused.

    Attributes:
        after: key of the last sample that was read.
        is_last: there are no more samples in the window.
        aggregated, expired: how many samples become aggregates, and how many are only deleted.
    """

    def __init__(self, store: Store, after: Key, end_ms: int, *, others_are_due: bool) -> None:
        self._store = store
        self._first = self.after = after
        self._end_ms = end_ms
        self._others_are_due = others_are_due
        self._top = store.samples.greatest_id()
        self._groups = Groups(MINUTE_MS)
        self._rows: list[StoredSample] = []
        self._kept: list[int] = []
        self.is_last = False
        self.aggregated = self.expired = 0

    def read(self, limit: int) -> bool:
        """Read a slice; return True for "more"."""
        rows = self._store.samples.read(self.after, self._end_ms, limit)
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
            with self._store.transaction():
                self._store.aggregates.merge(found)
                note = [self._first, self.after, self._top, self._kept, found[-1].series_id]
                self._store.progress.set(NOTE, json.dumps(note))
        return len(self._groups) > 0

    def aggregated_rows(self) -> list[StoredSample]:
        """Return what is to be deleted when all aggregates are written, in order of id."""
        return sorted(self._rows)

    def _take(self, row: StoredSample) -> None:
        if row.fate.is_uploaded and has_mean(row.value):
            self._groups.add(row)
            self.aggregated += 1
        elif not row.fate.is_pending and self._others_are_due:
            self.expired += 1
        else:
            self._kept.append(row.id)
            return
        self._rows.append(row)


def left_by_a_kill(store: Store) -> list[StoredSample]:
    """Return the samples that are in aggregates and were not deleted, in order of id."""
    text = store.progress.get_text(NOTE)
    if text is None:
        return []
    first, after, top, kept, series_id = json.loads(text)
    rows = store.samples.read(tuple(first), after[0] + 1, MOST_ROWS + MOST_KEPT + MOST_SLICE_ROWS)
    return sorted(
        row
        for row in rows
        if row.key <= tuple(after) and row.id <= top and row.series_id <= series_id and row.id not in kept
    )


def delete(store: Store, rows: Sequence[StoredSample], limit: int) -> Sequence[StoredSample]:
    """Delete the first of some samples; return the rest. With the last of them the note is deleted.

    In order of id: as long as the greatest is there, no sample that comes late can be given one of them. What
    became pending again meanwhile stays.
    """
    with store.transaction():
        store.samples.delete_settled(row.id for row in rows[:limit])
        store.windows.deleted(rows[:limit])
        if len(rows) <= limit:
            store.progress.set(NOTE, None)
    return rows[limit:]
