"""What the server had taken when the buffer ended before it was told.

Reads: what the shipper says with its `hello`: chunks, by series and timestamps. Emits: marks, as if it had been told
in time. Comes before any lease: a clock that was set meanwhile would have these samples dated anew, and sent a second
time. Fails with what a malformed chunk raises (KeyError, TypeError, ValueError) and with apsw.Error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from buffer.pending import Row
from buffer.series import canonical_tags, series_key
from buffer.store import Store

PENDING_AT = (
    "SELECT samples.id, timestamp_ms, series_id, value FROM samples JOIN series ON series.id = series_id "
    "WHERE series_key = ? AND timestamp_ms = ? AND priority = ? AND chunk IS NULL"
)


def mark(store: Store, chunks: Sequence[Any]) -> int:
    """Mark as uploaded what is pending of some chunks; return how many samples that was."""
    return sum(_mark(store, *chunk) for chunk in chunks)


def _mark(store: Store, priority: int, batch_id: str, chunk_index: int, groups: Sequence[Any]) -> int:
    rows = [row for group in groups for row in _pending(store, priority, *group)]
    return store.pending.mark_uploaded(priority, rows, batch_id, chunk_index) if rows else 0


def _pending(
    store: Store, priority: int, name: str, device_id: str, tags: Mapping[str, str], timestamps: Iterable[int]
) -> Iterable[Row]:
    key = series_key(name, device_id, canonical_tags(tags), is_text=False)
    for timestamp_ms in timestamps:
        yield from (Row(*row) for row in store.connection.execute(PENDING_AT, (key, timestamp_ms, priority)))
