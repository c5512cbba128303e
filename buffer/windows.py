"""The spans of time in which samples are audited, rolled up and given up: five minutes each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import apsw

from buffer.slices import Raw

# The finest span the server is asked about, and the widest aggregate: each aggregate lies in one window.
WINDOW_MS = 300_000

# What `windows.state` says; a window without a row has not been looked at.
TO_AUDIT = 0
VERIFIED = 1  # the server has what is here
SENT_AGAIN = 2  # it had not; to be audited once more
DIFFERS = 3  # for good


def start_of(timestamp_ms: int) -> int:
    """Return the start of the window that a time lies in."""
    return timestamp_ms // WINDOW_MS * WINDOW_MS


# What was verified and gets something more is to be audited again.
UPLOADED = (
    "INSERT INTO windows (start_ms, state, uploaded_ms, samples) VALUES (?, 0, ?, ?) ON CONFLICT (start_ms) DO "
    "UPDATE SET uploaded_ms = excluded.uploaded_ms, samples = samples + excluded.samples, "
    "state = CASE state WHEN 1 THEN 0 ELSE state END"
)
PENDING_AGAIN = "UPDATE windows SET samples = max(0, samples - ?) WHERE start_ms = ?"


def count(times_ms: Iterable[int]) -> Counter[int]:
    """Count times by the start of their window."""
    return Counter(map(start_of, times_ms))


def forget(connection: apsw.Connection, rows: Iterable[Raw]) -> None:
    """Take uploaded samples that are deleted here out of what waits for the audit; joins the open transaction."""
    spans = count(row.timestamp_ms for row in rows if row.chunk is not None and row.chunk > 0).items()
    connection.executemany(PENDING_AGAIN, [(samples, start_ms) for start_ms, samples in spans])
