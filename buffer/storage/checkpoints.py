"""Checkpoints: a row of `upload_checkpoints` for each chunk that the server accepted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import apsw

from buffer.storage.fate import Fate, uploaded_in


class Extent(NamedTuple):
    """The samples of a chunk: the range of their ids, and their fate."""

    first_id: int
    last_id: int
    fate: Fate


class Checkpoints:
    """The table `upload_checkpoints`.

    Args:
        connection: the database; what changes something joins the transaction that is open.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def add(self, batch_id: str, chunk_index: int, samples: Sequence[tuple[int, int]], now_ms: int) -> int:
        """Write down a chunk, of samples by id and timestamp; return its id."""
        ids, times_ms = zip(*samples, strict=True)
        self._connection.execute(
            "INSERT INTO upload_checkpoints (batch_id, chunk_index, first_uploaded_id, last_uploaded_id, "
            "first_uploaded_timestamp, last_uploaded_timestamp, upload_time, metrics_count) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (batch_id, chunk_index, min(ids), max(ids), min(times_ms), max(times_ms), now_ms, len(ids)),
        )
        return self._connection.last_insert_rowid()

    def uploaded_before(self, until_ms: int, grace_ms: int) -> list[Extent]:
        """Return the chunks of the last upload before a time, and of a grace before that.

        The rows of a salvaged chunk have new ids, which nobody wrote down: they are found by their times.
        """
        newest = "SELECT max(upload_time) FROM upload_checkpoints WHERE upload_time <= ?"
        rows_of_it = (
            "FROM samples WHERE timestamp_ms BETWEEN first_uploaded_timestamp AND last_uploaded_timestamp "
            "AND chunk = upload_checkpoints.id"
        )
        query = (
            f"SELECT ifnull(first_uploaded_id, (SELECT min(id) {rows_of_it})), "
            f"ifnull(last_uploaded_id, (SELECT max(id) {rows_of_it})), id FROM upload_checkpoints "
            f"WHERE upload_time BETWEEN ({newest}) - ? AND ?"
        )
        rows: list[Any] = self._connection.execute(query, (until_ms, grace_ms, until_ms)).fetchall()
        return [Extent(first, last, uploaded_in(checkpoint)) for first, last, checkpoint in rows]

    def ids(self) -> range:
        """Return the ids in use."""
        first, last = self._connection.execute("SELECT min(id), max(id) FROM upload_checkpoints").get
        return range(0) if first is None else range(first, last + 1)

    def forget(self, ids: range, before_ms: int) -> int:
        """Delete those of some ids whose samples are all older than a time; return how many."""
        statement = "DELETE FROM upload_checkpoints WHERE id >= ? AND id < ? AND last_uploaded_timestamp < ?"
        with self._connection:
            self._connection.execute(statement, (ids.start, ids.stop, before_ms))
        return self._connection.changes()
