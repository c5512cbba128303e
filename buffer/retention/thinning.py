"""Thinning: every other pending sample of each series of a span is given up, up to four times, then the rest.

`ThinningQueue` orders the spans so that resolution falls with age: a span twice as old as another is halved once
more. The freshest samples stay whole for as long as anything else can go, and history fades instead of
ending in a cliff.
"""

from __future__ import annotations

import heapq

from buffer.storage.audit_windows import WINDOW_MS
from buffer.storage.progress import Thinned
from buffer.storage.store import Store

SPAN_MS = WINDOW_MS  # 60 days of pending samples are 17,000 spans, 3 MB while they are ordered
MOST_HALVINGS = 4  # one sample in 16 left: a series of 5 s has one in 80 s


class ThinningQueue:
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
        """Insert a span in order."""
        age_ms = max(self._now_ms - start_ms, SPAN_MS)  # a span of the future is as young as one can be
        heapq.heappush(self._heap, (-age_ms / 2**state.halvings, start_ms, state))

    def pop(self) -> tuple[int, Thinned]:
        """Take out the span that has more detail for its age than every other; of equals, the oldest."""
        _, start_ms, state = heapq.heappop(self._heap)
        return start_ms, state


class Halving:
    """One pass through the pending samples of a priority in a span.

    Args:
        store: the database, where it is noted, slice by slice.
        priority: 0-3.
        start_ms: start of the span.
        state: what was done before; a pass that was interrupted goes on where it was.

    Attributes:
        state: what is done by now.
        deletes: this pass deletes what is left.
        finished: all of the span has been looked at.
    """

    def __init__(self, store: Store, priority: int, start_ms: int, state: Thinned) -> None:
        self._store = store
        self._priority = priority
        self._start_ms = start_ms
        self._last_was_kept: dict[int, bool] = {}  # by series; a pass that is taken up again begins with a kept one
        self.state = state
        self.deletes = state.halvings >= MOST_HALVINGS
        self.finished = False

    def slice(self, limit: int) -> int:
        """Look at the next samples, at most so many; return how many were given up."""
        after = self.state.upto or (self._start_ms, -1)
        with self._store.transaction():
            rows = self._store.pending.slice(self._priority, after, self._start_ms + SPAN_MS, limit)
            gone = {row_id for _, row_id, series_id in rows if self.deletes or not self._keeps(series_id)}
            if gone:
                self._store.samples.delete_scattered(gone)
            state = self._state_after(rows, limit)
            self._store.progress.set_thinned(self._priority, self._start_ms, state)
        self._store.pending.counts[self._priority] -= len(gone)
        self.state = state
        self.finished = state.upto is None
        return len(gone)

    def _state_after(self, rows: list[tuple[int, int, int]], limit: int) -> Thinned:
        if len(rows) == limit:
            return Thinned(self.state.halvings, rows[-1][:2])
        return Thinned(0 if self.deletes else self.state.halvings + 1)  # deleted: what comes late begins again

    def _keeps(self, series_id: int) -> bool:
        kept = not self._last_was_kept.get(series_id, False)
        self._last_was_kept[series_id] = kept
        return kept
