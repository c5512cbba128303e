"""Audit windows: five minutes of sample time each, and what is known of them at the server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import apsw

from buffer.storage import fate
from buffer.storage.samples import StoredSample

# The finest span the server is asked about, and the widest aggregate: each aggregate lies in one window.
WINDOW_MS = 300_000

# What `windows.state` holds; a window without a row has no uploaded samples.
TO_AUDIT = 0
VERIFIED = 1  # the server has what is here
SENT_AGAIN = 2  # it had not; to be audited once more
DIFFERS = 3  # for good
_OPEN = f"state IN ({TO_AUDIT}, {SENT_AGAIN})"


def start_of(timestamp_ms: int) -> int:
    """Return the start of the window that a time lies in."""
    return timestamp_ms // WINDOW_MS * WINDOW_MS


def count(times_ms: Iterable[int]) -> Counter[int]:
    """Count times by the start of their window."""
    return Counter(map(start_of, times_ms))


class AuditWindow(NamedTuple):
    """One window.

    Attributes:
        start_ms: of the window.
        uploaded_ms: when something of it was last marked uploaded.
        resends: how often something of it was sent again.
    """

    start_ms: int
    uploaded_ms: int
    resends: int


class AuditProgress(NamedTuple):
    """How far the audit has come.

    Attributes:
        verified_until_ms: everything uploaded before it is verified; None where nothing was uploaded yet.
        unverified: uploaded samples in windows that are to be audited.
    """

    verified_until_ms: int | None
    unverified: int


class AuditWindows:
    """The table `windows`.

    Args:
        connection: the database; what changes something joins the transaction that is open.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def uploaded(self, times_ms: Iterable[int], now_ms: int) -> None:
        """Count samples that were uploaded; a verified window that gets some is to be audited again."""
        self._connection.executemany(
            "INSERT INTO windows (start_ms, state, uploaded_ms, samples) VALUES (?, ?, ?, ?) ON CONFLICT (start_ms) "
            "DO UPDATE SET uploaded_ms = excluded.uploaded_ms, samples = samples + excluded.samples, "
            f"state = CASE state WHEN {VERIFIED} THEN {TO_AUDIT} ELSE state END",
            [(start_ms, TO_AUDIT, now_ms, samples) for start_ms, samples in count(times_ms).items()],
        )

    def not_uploaded(self, times_ms: Iterable[int]) -> None:
        """Subtract samples that are pending again."""
        self._connection.executemany(
            "UPDATE windows SET samples = max(0, samples - ?) WHERE start_ms = ?",
            [(samples, start_ms) for start_ms, samples in count(times_ms).items()],
        )

    def deleted(self, samples: Iterable[StoredSample]) -> None:
        """Subtract the uploaded ones among samples that are deleted on this device."""
        self.not_uploaded(sample.timestamp_ms for sample in samples if sample.fate.is_uploaded)

    def next_open(self, after_ms: int, closed_ms: int) -> AuditWindow | None:
        """Return the oldest window after a time that is to be audited, and ended and was uploaded before another.

        One of which something is pending again is not asked about before that is uploaded.
        """
        pending = f"SELECT 1 FROM samples WHERE timestamp_ms BETWEEN start_ms AND start_ms + ? AND {fate.IS_PENDING}"
        query = (
            f"SELECT start_ms, uploaded_ms, resends FROM windows WHERE {_OPEN} AND start_ms > ? AND start_ms <= ? "
            f"AND uploaded_ms <= ? AND (state = {TO_AUDIT} AND samples > 0 OR NOT EXISTS ({pending})) "
            "ORDER BY start_ms LIMIT 1"
        )
        bounds = (after_ms, closed_ms - WINDOW_MS, closed_ms, WINDOW_MS - 1)
        row = self._connection.execute(query, bounds).fetchone()
        return None if row is None else AuditWindow(*row)

    def is_open_between(self, start_ms: int, end_ms: int) -> bool:
        """Return whether any window that starts between two times has to be audited."""
        query = f"SELECT 1 FROM windows WHERE {_OPEN} AND start_ms >= ? AND start_ms < ? LIMIT 1"
        return self._connection.execute(query, (start_ms, end_ms)).fetchone() is not None

    def reopen(self, start_ms: int, end_ms: int) -> None:
        """Reopen the verified windows between two times, with no resends counted."""
        update = "UPDATE windows SET state = ?, resends = 0 WHERE state = ? AND start_ms >= ? AND start_ms < ?"
        self._connection.execute(update, (TO_AUDIT, VERIFIED, start_ms, end_ms))

    def forget_resends(self) -> None:
        """Count the resends of open windows from 0: a server that was started again lost samples for a new reason."""
        self._connection.execute(f"UPDATE windows SET resends = 0 WHERE {_OPEN}")

    def newest_first(self) -> list[tuple[int, int]]:
        """Return start and number of uploaded samples of each window; 0 where it is not verified."""
        query = f"SELECT start_ms, CASE state WHEN {VERIFIED} THEN samples ELSE 0 END FROM windows ORDER BY 1 DESC"
        rows: list[Any] = self._connection.execute(query).fetchall()
        return rows

    def get(self, start_ms: int) -> AuditWindow | None:
        """Return a window, None where there is none."""
        query = "SELECT start_ms, uploaded_ms, resends FROM windows WHERE start_ms = ?"
        row = self._connection.execute(query, (start_ms,)).fetchone()
        return None if row is None else AuditWindow(*row)

    def is_verified(self, start_ms: int) -> bool:
        """Return whether the server has all samples of a window."""
        query = "SELECT state FROM windows WHERE start_ms = ?"
        return bool(self._connection.execute(query, (start_ms,)).get == VERIFIED)

    def is_sent_again(self, start_ms: int) -> bool:
        """Return whether samples of a window were sent again and have to be audited once more."""
        query = "SELECT state FROM windows WHERE start_ms = ?"
        return bool(self._connection.execute(query, (start_ms,)).get == SENT_AGAIN)

    def set(self, start_ms: int, state: int, resends: int) -> None:
        """Store the state of a window."""
        update = "UPDATE windows SET state = ?, resends = ? WHERE start_ms = ?"
        self._connection.execute(update, (state, resends, start_ms))

    def series(self, start_ms: int, end_ms: int) -> list[tuple[int, int]]:
        """Return id and number of uploaded samples of each series between two times.

        They are counted here, row by row: SQLite would sort all of them in memory first, 47 MB for a million.
        """
        rows = self._uploaded("series_id", start_ms, end_ms)
        return sorted(Counter(series_id for (series_id,) in rows).items())

    def assert_whole(self, start_ms: int, found: int) -> None:
        """Fail where the index gave fewer uploaded samples of a window than the table has; else believe the index.

        The chunks that reach into the window say which rows to count: a large table is not read as a whole.

        Raises:
            apsw.CorruptError: the index is out of order, and hides some.
        """
        if found >= int(self._connection.execute("SELECT samples FROM windows WHERE start_ms = ?", (start_ms,)).get):
            return
        bounds = (start_ms, start_ms + WINDOW_MS)
        chunks = "FROM upload_checkpoints WHERE last_uploaded_timestamp >= ?1 AND first_uploaded_timestamp < ?2"
        query = (
            f"SELECT count(*) FROM samples NOT INDEXED WHERE id >= (SELECT min(first_uploaded_id) {chunks}) "
            f"AND id <= (SELECT max(last_uploaded_id) {chunks}) AND timestamp_ms >= ?1 AND timestamp_ms < ?2 "
            f"AND {fate.IS_UPLOADED}"
        )
        hidden = int(self._connection.execute(query, bounds).get) - found
        if hidden > 0:
            raise apsw.CorruptError(f"ux_metrics_dedup hides {hidden} samples")
        self._connection.execute("UPDATE windows SET samples = ? WHERE start_ms = ?", (found, start_ms))

    def times(self, start_ms: int, end_ms: int) -> Iterator[tuple[int, int]]:
        """Yield series and timestamp of each uploaded sample between two times."""
        yield from self._uploaded("series_id, timestamp_ms", start_ms, end_ms)

    def _uploaded(self, columns: str, start_ms: int, end_ms: int) -> Iterable[Any]:
        query = f"SELECT {columns} FROM samples WHERE timestamp_ms >= ? AND timestamp_ms < ? AND {fate.IS_UPLOADED}"
        return self._connection.execute(query, (start_ms, end_ms))

    def progress(self) -> AuditProgress:
        """Return how far the audit has come."""
        query = f"SELECT min(start_ms), sum(samples) FROM windows WHERE {_OPEN}"
        open_from_ms, samples = self._connection.execute(query).get
        newest_ms: int | None = self._connection.execute("SELECT max(start_ms) FROM windows").get
        if open_from_ms is None and newest_ms is not None:
            open_from_ms = newest_ms + WINDOW_MS
        return AuditProgress(open_from_ms, samples or 0)

    def with_samples(self) -> list[int]:
        """Return the start of each window with uploaded samples: verified ones first, the oldest of each first."""
        query = f"SELECT start_ms FROM windows WHERE samples > 0 ORDER BY state != {VERIFIED}, start_ms"
        return [start_ms for (start_ms,) in self._connection.execute(query)]

    def forget(self, before_ms: int) -> int:
        """Delete the windows that start before a time; return how many."""
        with self._connection:
            self._connection.execute("DELETE FROM windows WHERE start_ms < ?", (before_ms,))
        return self._connection.changes()
